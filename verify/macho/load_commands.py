"""``macho.load``: what the loader reads first, by rules and compared with the official binary."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from .binaries import Binaries, pairs
from .findings import Outcome
from .image import Image

CHECK = "macho.load"
MINIMUM_OS = (13, 3)
DYLIB = 6
_REQUIRED_FLAGS = frozenset({"DYLDLINK", "TWOLEVEL"})
_BAD_FLAGS = frozenset({"ALLOW_STACK_EXECUTION", "FORCE_FLAT"})
_WRITE, _EXECUTE = 2, 4
_SYSTEM = ("/usr/lib/", "/System/Library/Frameworks/")
_BUILD_PATH = re.compile(
    rb"/(?:home|root|Users|work|tmp|private/tmp|opt|build|github|runner|mnt|srv|var/folders)/"
    rb"[\x21-\x7e]{3,200}"
)
_FROM_THE_SOURCES = {"/tmp/model.mlmodel"}  # noqa: S108 - a text to look for, nothing is opened
"""Part of a path that core/providers/coreml/builders/model_builder.cc puts together at run time."""
_MOST_PATHS = 3
_LIBRARY = re.compile(r"(libonnxruntime)\.(\d+)\.(\d+)\.\d+\.dylib")
_MAJOR_ALONE = (1, 26)
"""The first version whose install name has the major version alone (onnxruntime#28094)."""


def check_load_commands(ours: Binaries, official: Binaries) -> Outcome:
    """Judge header and load commands of every image."""
    found = Outcome(check=CHECK)
    for image in ours.images:
        found.add_problems(image, rules(image))
    for role, mine, theirs in pairs(ours, official, found.problems):
        found.compare(role, _items(mine), _items(theirs))
        found.add_problems(mine, _versions(mine, theirs))
        found.evidence[role] = {"ours": facts(mine), "official": facts(theirs)}
    libraries = len({library.name for image in ours.images for library in image.libraries})
    return replace(
        found,
        compared=f"arm64, macOS {'.'.join(map(str, MINIMUM_OS))}, {libraries} libraries as linked "
        "officially",
    )


def rules(image: Image) -> list[str]:
    """Return what breaks a rule that holds whatever the official binary does."""
    problems = []
    if image.architectures != ("arm64",):
        problems.append(f"holds {', '.join(image.architectures)}, not arm64 alone")
    if image.platform != "macOS":
        problems.append(f"is for {image.platform}, not macOS")
    if image.minimum_os != MINIMUM_OS:
        wanted = ".".join(map(str, MINIMUM_OS))
        problems.append(f"needs macOS {_dotted(image.minimum_os)}, not {wanted}")
    if image.file_type != DYLIB:
        problems.append(f"has file type {image.file_type}, not {DYLIB} (MH_DYLIB)")
    elif image.install_name != (wanted := install_name(image.name)):
        problems.append(f'has the install name "{image.install_name}", not {wanted}')
    problems += [
        f'has the rpath "{path}", not @loader_path'
        for path in image.rpaths
        if path != "@loader_path"
    ]
    problems += [
        f'links "{library.name}", neither a system library nor beside it'
        for library in image.libraries
        if not library.name.startswith((*_SYSTEM, "@rpath/", "@loader_path/"))
    ]
    problems += [f"lacks the flag MH_{flag}" for flag in sorted(_REQUIRED_FLAGS - image.flags)] + [
        f"has the flag MH_{flag}" for flag in sorted(_BAD_FLAGS & image.flags)
    ]
    problems += [
        f"its segment {segment.name} may be written and executed"
        for segment in image.segments
        if (segment.maximum | segment.initial) & _WRITE
        and (segment.maximum | segment.initial) & _EXECUTE
    ]
    found = {match.group().decode("ascii") for match in _BUILD_PATH.finditer(image.data)}
    paths = sorted(found - _FROM_THE_SOURCES)
    if paths:
        problems.append(f"holds {len(paths)} build paths, such as {', '.join(paths[:_MOST_PATHS])}")
    return problems


def install_name(file: str) -> str:
    """Return the install name that a file must have: its own name, or with less of its version."""
    name = PurePosixPath(file).name
    found = _LIBRARY.fullmatch(name)
    if found and (int(found[2]), int(found[3])) >= _MAJOR_ALONE:
        name = f"{found[1]}.{found[2]}.dylib"
    return f"@rpath/{name}"


def facts(image: Image) -> dict[str, Any]:
    """Return what the report shows of an image's load commands."""
    return {
        "file": image.name,
        "architectures": list(image.architectures),
        "platform": image.platform,
        "minimum_os": _dotted(image.minimum_os),
        "sdk": _dotted(image.sdk),
        "install_name": image.install_name,
        "rpaths": list(image.rpaths),
        "flags": sorted(image.flags),
        "libraries": [
            f"{library.name} {_dotted(library.current)} (compatible with "
            f"{_dotted(library.compatibility)})"
            for library in image.libraries
        ],
    }


def _items(image: Image) -> list[str]:
    return [
        f"install name {image.install_name}",
        *(f"library {library.name}{' (weak)' * library.weak}" for library in image.libraries),
        *(f"rpath {path}" for path in image.rpaths),
        *(f"flag MH_{flag}" for flag in image.flags),
        *(f"read-only segment {segment.name}" for segment in image.segments if segment.read_only),
    ]


def _versions(mine: Image, theirs: Image) -> list[str]:
    """Compare compatibility versions: dyld refuses a library older than the one asked for."""
    allowed = {library.name: library.compatibility for library in theirs.libraries}
    return [
        f"asks for {library.name} compatible with {_dotted(library.compatibility)}, the official "
        f"binary for {_dotted(allowed[library.name])}"
        for library in mine.libraries
        if library.name in allowed and library.compatibility > allowed[library.name]
    ]


def _dotted(version: Sequence[int]) -> str:
    return ".".join(str(part) for part in version)
