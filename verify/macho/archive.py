"""``macho.wheel``: the archive around the binaries.

The wheel format (PyPA specification "Binary distribution format"): ``RECORD`` lists every file with
its SHA-256 in unpadded URL-safe base64 and its size; ``WHEEL`` repeats the tags of the file's name.
The rules about libraries are those of ``delocate-wheel --require-archs=arm64``, read again here.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import posixpath
import re
import zipfile
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from .binaries import ROLES, Binaries, role_of
from .findings import Outcome
from .image import Image

CHECK = "macho.wheel"
_SYSTEM = ("/usr/lib/", "/System/Library/")
_TAG = re.compile(r"macosx_(\d+)_(\d+)_(\w+)")
_UNHASHED = ("RECORD", "RECORD.jws", "RECORD.p7s")
_MOST_TOLD = 3


def check_archive(ours: Binaries, manifest: Mapping[str, Any] | None) -> Outcome:
    """Judge name, tags, RECORD, the files that lie inside and where libraries come from."""
    problems: list[str] = []
    with zipfile.ZipFile(ours.wheel) as archive:
        files = {
            entry.filename: archive.read(entry)
            for entry in archive.infolist()
            if not entry.is_dir()
        }
        names = [entry.filename for entry in archive.infolist()]
    problems += _names(names)
    info = sorted({name.split("/")[0] for name in files if ".dist-info/" in name})
    if len(info) != 1:
        problems.append(f"the wheel holds {len(info)} .dist-info folders")
        info = [*info, "missing.dist-info"]
    problems += _record(files, f"{info[0]}/RECORD")
    problems += tags(ours.wheel.name, files.get(f"{info[0]}/WHEEL", b""), ours.images)
    problems += _libraries(ours, files)
    problems += _roles(ours)
    if manifest is not None:
        problems += _as_built(files, manifest)
    return Outcome(
        check=CHECK,
        compared=f"{len(files)} files as RECORD says, tags honest, every library inside or the "
        "system's",
        problems=problems,
        evidence={
            "files": len(files),
            "manifest": manifest is not None,
            "binaries": [image.name for image in ours.images],
        },
    )


def tags(name: str, metadata: bytes, images: tuple[Image, ...]) -> list[str]:
    """Return what is dishonest in the tags of a wheel's name and of its WHEEL file."""
    try:
        _, _, _, named = parse_wheel_filename(name)
    except InvalidWheelFilename:
        return [f"{name} is not the name of a wheel"]
    problems = []
    lines = metadata.decode("utf-8", "replace").splitlines()
    written = {line.partition(":")[2].strip() for line in lines if line.startswith("Tag:")}
    if written != {str(tag) for tag in named}:
        problems.append(
            f"WHEEL says {', '.join(sorted(written)) or 'no tag'}, the name "
            f"{', '.join(sorted(str(tag) for tag in named))}"
        )
    if "Root-Is-Purelib: false" not in lines:
        problems.append("WHEEL does not say Root-Is-Purelib: false")
    for tag in named:
        found = _TAG.fullmatch(tag.platform)
        if not found:
            problems.append(f"the platform {tag.platform} is not macOS")
            continue
        if found[3] != "arm64":
            problems.append(f"the platform {tag.platform} promises more than arm64")
        promised = (int(found[1]), int(found[2]))
        problems += [
            f"the tag promises macOS {promised[0]}.{promised[1]}, but {image.name} needs "
            f"{image.minimum_os[0]}.{image.minimum_os[1]}"
            for image in images
            if image.minimum_os > promised
        ]
    return problems


def _names(names: list[str]) -> list[str]:
    problems = []
    for name in sorted(set(names)):
        if names.count(name) > 1:
            problems.append(f"{name} stands in the archive twice")
        if name.startswith("/") or "\\" in name or ".." in PurePosixPath(name).parts:
            problems.append(f"{name} leads out of the wheel")
    outside = sorted(
        {
            name.split("/")[0]
            for name in names
            if not re.match(r"onnxruntime(-[^/]*\.(dist-info|data))?/", name)
        }
    )
    if outside:
        problems.append(f"files outside onnxruntime/: {', '.join(outside[:_MOST_TOLD])}")
    return problems


def _record(files: Mapping[str, bytes], path: str) -> list[str]:
    if path not in files:
        return [f"{path} is missing"]
    problems = []
    rows = list(csv.reader(io.StringIO(files[path].decode("utf-8", "replace"))))
    listed = {}
    for row in rows:
        if len(row) != 3:
            problems.append(f"RECORD has a line with {len(row)} fields")
            continue
        listed[row[0]] = (row[1], row[2])
    for name, content in sorted(files.items()):
        if name not in listed:
            if PurePosixPath(name).name not in _UNHASHED[1:]:
                problems.append(f"{name} is not in RECORD")
            continue
        digest, size = listed.pop(name)
        if name == path:
            continue
        wanted = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        if digest != f"sha256={wanted}" or size != str(len(content)):
            problems.append(f"{name} differs from its line in RECORD")
    problems += [f"RECORD lists {name}, which is not there" for name in sorted(listed)]
    return problems


def _libraries(ours: Binaries, files: Mapping[str, bytes]) -> list[str]:
    """Every library must be the system's or lie where its path says, inside the wheel."""
    problems = []
    for image in ours.images:
        folder = posixpath.dirname(image.name)
        for library in image.libraries:
            if library.name.startswith(_SYSTEM):
                continue
            start, _, rest = library.name.partition("/")
            places = [
                posixpath.normpath(posixpath.join(folder, path.removeprefix("@loader_path"), rest))
                for path in (("@loader_path",) if start == "@loader_path" else image.rpaths)
                if path.startswith("@loader_path")
            ]
            if start not in ("@loader_path", "@rpath") or not set(places) & files.keys():
                problems.append(f"{image.name} needs {library.name}, which is not in the wheel")
    return problems


def _roles(ours: Binaries) -> list[str]:
    problems = [f"the wheel has no {role}" for role in ROLES if ours.of(role) is None]
    problems += [
        f"{image.name} is a binary that the official wheel has not"
        for image in ours.images
        if role_of(image.name) is None
    ]
    return problems


def _as_built(files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> list[str]:
    described = manifest["wheel"]["files"]
    found = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    odd = sorted(
        name for name in described.keys() | found.keys() if described.get(name) != found.get(name)
    )
    if not odd:
        return []
    return [f"{len(odd)} files differ from the manifest, such as {', '.join(odd[:_MOST_TOLD])}"]
