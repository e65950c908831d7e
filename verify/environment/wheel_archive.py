"""A wheel as an archive: its names, its RECORD and what WHEEL says of its tags.

The wheel format (PyPA specification "Binary distribution format"): ``RECORD`` lists every file with
its SHA-256 in unpadded URL-safe base64 and its size; ``WHEEL`` repeats the tags of the file's name.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath
from typing import Any

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

_UNHASHED = ("RECORD", "RECORD.jws", "RECORD.p7s")
_MOST_TOLD = 3
_BUILD_PATH = re.compile(
    rb"/(?:home|root|Users|work|tmp|private/tmp|opt|build|github|runner|mnt|srv|var/folders)/"
    rb"[\x21-\x7e]{3,200}"
)
_FROM_THE_SOURCES = "/tmp/model.ml"  # noqa: S108 - a text to look for, nothing is opened
"""Begins a path that core/providers/coreml/builders/model_builder.cc puts together at run time."""


def read_archive(path: Path) -> tuple[dict[str, bytes], list[str]]:
    """Return the content of a wheel's files, and what is wrong with names, RECORD and metadata."""
    with zipfile.ZipFile(path) as archive:
        files = {
            entry.filename: archive.read(entry)
            for entry in archive.infolist()
            if not entry.is_dir()
        }
        problems = _names([entry.filename for entry in archive.infolist()])
    info = sorted({name.split("/")[0] for name in files if ".dist-info/" in name})
    if len(info) != 1:
        problems.append(f"the wheel holds {len(info)} .dist-info folders")
        info = [*info, "missing.dist-info"]
    problems += _record(files, f"{info[0]}/RECORD")
    problems += _metadata(path.name, files, info[0])
    return files, problems


def as_built(files: Mapping[str, bytes], manifest: Mapping[str, Any] | None) -> list[str]:
    """Return what differs from the manifest, where there is one."""
    if manifest is None:
        return []
    described = manifest["wheel"]["files"]
    found = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    odd = sorted(
        name for name in described.keys() | found.keys() if described.get(name) != found.get(name)
    )
    if not odd:
        return []
    return [f"{len(odd)} files differ from the manifest, such as {', '.join(odd[:_MOST_TOLD])}"]


def build_paths(data: bytes) -> list[str]:
    """Return what a binary says of the machine that built it."""
    found = {match.group().decode("ascii") for match in _BUILD_PATH.finditer(data)}
    paths = sorted(path for path in found if not path.startswith(_FROM_THE_SOURCES))
    if not paths:
        return []
    return [f"holds {len(paths)} build paths, such as {', '.join(paths[:_MOST_TOLD])}"]


def _metadata(name: str, files: Mapping[str, bytes], info: str) -> list[str]:
    """Compare WHEEL's tags and METADATA's version with the name's."""
    try:
        _, version, _, named = parse_wheel_filename(name)
    except InvalidWheelFilename:
        return [f"{name} is not the name of a wheel"]
    problems = []
    lines = files.get(f"{info}/WHEEL", b"").decode("utf-8", "replace").splitlines()
    written = {line.partition(":")[2].strip() for line in lines if line.startswith("Tag:")}
    if written != {str(tag) for tag in named}:
        problems.append(
            f"WHEEL says {', '.join(sorted(written)) or 'no tag'}, the name "
            f"{', '.join(sorted(str(tag) for tag in named))}"
        )
    if "Root-Is-Purelib: false" not in lines:
        problems.append("WHEEL does not say Root-Is-Purelib: false")
    metadata = HeaderParser().parsestr(
        files.get(f"{info}/METADATA", b"").decode("utf-8", "replace")
    )
    stated = str(metadata.get("Version", ""))
    try:
        same = Version(stated) == version
    except InvalidVersion:
        same = False
    if not same:
        problems.append(f"METADATA says version {stated or '(none)'}, the name {version}")
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
            if not re.match(r"onnxruntime(-[^/]*\.(dist-info|data)|\.libs)?/", name)
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
