"""``macho.load``: what the loader reads first, by what the wheel's tags promise."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from ..environment.promise import Promise
from ..policy.findings import Outcome
from .binaries import Binaries, pairs
from .image import DYNAMIC, Image

CHECK = "macho.load"
DYLIB, BUNDLE = 6, 8
_REQUIRED_FLAGS = frozenset({"DYLDLINK", "TWOLEVEL"})
_BAD_FLAGS = frozenset({"ALLOW_STACK_EXECUTION", "FORCE_FLAT"})
_WRITE, _EXECUTE = 2, 4
_SYSTEM = ("/usr/lib/", "/System/Library/Frameworks/")
_LIBRARY = re.compile(r"(libonnxruntime)\.(\d+)\.(\d+)\.\d+\.dylib")


def check_load_commands(ours: Binaries, official: Binaries | None, promise: Promise) -> Outcome:
    """Judge header and load commands of every image; note what the official ones have otherwise."""
    found = Outcome(check=CHECK)
    for image in ours.images:
        found.add_problems(image.name, rules(image))
        found.evidence[image.name] = facts(image)
    for role, mine, theirs in pairs(ours, official):
        found.compare(role, _items(mine), _items(theirs))
        found.compare(role, _newer(mine, theirs), ())
        found.evidence[role] = {"ours": facts(mine), "official": facts(theirs)}
    libraries = len({library.name for image in ours.images for library in image.libraries})
    cpus = " and ".join(promise.architectures)
    return replace(
        found,
        compared=f"{cpus}, macOS {promise.to_macos()} by the tag, {libraries} libraries, each the "
        "system's or beside it",
    )


def rules(image: Image) -> list[str]:
    """Return what keeps macOS from loading an image, or from loading it safely."""
    problems = []
    if image.platform != "macOS":
        problems.append(f"is for {image.platform}, not macOS")
    if image.file_type not in (DYLIB, BUNDLE):
        problems.append(f"has file type {image.file_type}, neither {DYLIB} (MH_DYLIB) nor {BUNDLE}")
    elif image.file_type == DYLIB and image.install_name not in (
        wanted := install_names(image.name)
    ):
        problems.append(f'has the install name "{image.install_name}", not {" or ".join(wanted)}')
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
    known = {DYNAMIC, *(library.name for library in image.libraries)}
    problems += [
        f"{symbol} is undefined: {library}"
        for symbol, library in sorted(image.imports.items())
        if library not in known
    ]
    problems += [
        f"binding and symbol table name different libraries for {symbol}"
        for symbol in image.disagreements
    ]
    return problems


def install_names(file: str) -> tuple[str, ...]:
    """Return the install names that a file may have: its own name, or with less of its version.

    Upstream's libraries have the major version alone since 1.26 (onnxruntime#28094). Which of them
    a version has is seen where it is compared with the official one.
    """
    name = PurePosixPath(file).name
    found = _LIBRARY.fullmatch(name)
    shorter = (f"@rpath/{found[1]}.{found[2]}.dylib",) if found else ()
    return (f"@rpath/{name}", *shorter)


def facts(image: Image) -> dict[str, Any]:
    """Return what the report shows of an image's load commands."""
    return {
        "file": image.name,
        "architectures": list(image.architectures),
        "platform": image.platform,
        "minimum_os": {cpu: _dotted(version) for cpu, version in image.minimums.items()},
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


def _newer(mine: Image, theirs: Image) -> list[str]:
    """Compare compatibility versions: dyld refuses a library older than the one asked for."""
    allowed = {library.name: library.compatibility for library in theirs.libraries}
    return [
        f"{library.name} compatible with {_dotted(library.compatibility)}, newer than the official "
        f"{_dotted(allowed[library.name])}"
        for library in mine.libraries
        if library.name in allowed and library.compatibility > allowed[library.name]
    ]


def _dotted(version: Sequence[int]) -> str:
    return ".".join(str(part) for part in version)
