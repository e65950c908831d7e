"""``elf.wheel`` and ``elf.standards``: a Linux wheel held to its tags, and ours to our standards.

``manylinux_X_Y`` promises that the wheel runs where glibc is X.Y or newer (PEP 600). So no symbol
may have a newer version, libraries from outside are those that every such system has, and what
belongs to GCC's runtime is no newer than what distributions of that glibc carry.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..environment.promise import Promise
from ..environment.wheel_archive import as_built, build_paths, read_archive
from ..policy.findings import Outcome
from .library import Library, read_libraries

WHEEL, STANDARDS = "elf.wheel", "elf.standards"
_ENTRY_POINT = "PyInit_onnxruntime_pybind11_state"
_EXTENSION = re.compile(r"onnxruntime_pybind11_state\.(?:.+\.)?so")
_ABI = re.compile(r"\.cpython-(\d+t?)-")
_SYSTEM = frozenset(
    f"{name}.so.{number}"
    for name, number in (
        ("libc", 6), ("libm", 6), ("libmvec", 1), ("libdl", 2), ("librt", 1), ("libpthread", 0),
        ("libutil", 1), ("libanl", 1), ("libresolv", 2), ("libnsl", 1), ("libgcc_s", 1),
        ("libstdc++", 6), ("libatomic", 1), ("libz", 1),
    )
)  # fmt: skip
_LOADER = re.compile(r"ld-linux[\w-]*\.so\.\d+")
_RUNTIME: tuple[tuple[tuple[int, int], Mapping[str, tuple[int, ...]]], ...] = (
    ((2, 17), {"GLIBCXX": (3, 4, 19), "CXXABI": (1, 3, 7), "GCC": (4, 8, 0)}),
    ((2, 24), {"GLIBCXX": (3, 4, 22), "CXXABI": (1, 3, 10), "GCC": (4, 8, 0)}),
    ((2, 27), {"GLIBCXX": (3, 4, 24), "CXXABI": (1, 3, 11), "GCC": (7, 0, 0)}),
    ((2, 31), {"GLIBCXX": (3, 4, 28), "CXXABI": (1, 3, 12), "GCC": (7, 0, 0)}),
    ((2, 34), {"GLIBCXX": (3, 4, 29), "CXXABI": (1, 3, 13), "GCC": (11, 0)}),
    ((2, 35), {"GLIBCXX": (3, 4, 30), "CXXABI": (1, 3, 13), "GCC": (12, 0, 0)}),
    ((2, 39), {"GLIBCXX": (3, 4, 33), "CXXABI": (1, 3, 15), "GCC": (14, 0, 0)}),
)
"""From a glibc on: the newest versions of GCC's runtime that distributions carry with it, as
auditwheel's manylinux policies have them."""
_VERSION = re.compile(r"([A-Z]+)_(\d+(?:\.\d+)*)")
_HERE = re.compile(r"\$(ORIGIN|\{ORIGIN\})/?\.?")


def check_promise(wheel: Path, promise: Promise) -> Outcome:
    """Judge a Linux wheel by its own tags.

    Raises
    ------
    ElfUnreadable
        When a library cannot be read.
    """
    files, problems = read_archive(wheel)
    libraries = read_libraries(files)
    if promise.system != "linux":
        problems.append("its tags promise nothing about Linux")
    for library in libraries:
        problems += [f"{library.name} {rule}" for rule in broken(library, promise, files)]
    extensions = [one for one in libraries if _EXTENSION.fullmatch(posixpath.basename(one.name))]
    problems += _extension(extensions, promise)
    glibc = newest(libraries, "GLIBC")
    wanted = (
        f"glibc {_dotted(promise.oldest)} by the tag" if promise.oldest else "no glibc promised"
    )
    return Outcome(
        check=WHEEL,
        compared=f"{len(files)} files as RECORD says; {' and '.join(promise.architectures)}, "
        f"{wanted}, the libraries ask for {_dotted(glibc) or 'none'}",
        problems=problems,
        evidence={
            "files": len(files),
            "libraries": {one.name: _facts(one) for one in libraries},
            "glibc": {"promised": _dotted(promise.oldest), "asked_for": _dotted(glibc)},
        },
    )


def broken(library: Library, promise: Promise, files: Mapping[str, bytes]) -> list[str]:
    """Return what a library asks for that the tags do not promise, as clauses after its name."""
    problems = []
    if promise.architectures and library.machine not in promise.architectures:
        problems.append(f"is for {library.machine}, the tag for {', '.join(promise.architectures)}")
    folder = posixpath.dirname(library.name)
    for needed in library.needed:
        places = {
            posixpath.normpath(posixpath.join(folder, _HERE.sub(".", path, count=1)))
            for path in library.rpaths
            if path.startswith(("$ORIGIN", "${ORIGIN}"))
        }
        inside = any(posixpath.join(place, needed) in files for place in places)
        if needed not in _SYSTEM and not _LOADER.fullmatch(needed) and not inside:
            problems.append(f"needs {needed}, which is neither the system's nor in the wheel")
    if promise.oldest is None:
        return problems
    allowed = {"GLIBC": promise.oldest, **_runtime(promise.oldest)}
    for source, version in library.versions:
        found = _VERSION.fullmatch(version)
        if found and found[1] in allowed:
            number = tuple(int(part) for part in found[2].split("."))
            if number > allowed[found[1]]:
                problems.append(
                    f"asks {source} for {version}, newer than the {_dotted(allowed[found[1]])} of "
                    f"manylinux_{promise.oldest[0]}_{promise.oldest[1]}"
                )
    return problems


def check_standards(wheel: Path, promise: Promise, manifest: Mapping[str, Any] | None) -> Outcome:
    """Judge a Linux wheel of our own by our own standards.

    Raises
    ------
    ElfUnreadable
        When a library cannot be read.
    """
    files, _ = read_archive(wheel)
    libraries = read_libraries(files)
    problems = [f"{one.name} {rule}" for one in libraries for rule in weaknesses(one)]
    if promise.oldest is None:
        problems.append("its tag promises no glibc")
    problems += as_built(files, manifest)
    told = ", every file as the manifest says" if manifest is not None else ""
    return Outcome(
        check=STANDARDS,
        compared=f"{len(libraries)} stripped and hardened files, no build path{told}",
        problems=problems,
        evidence={"manifest": manifest is not None},
    )


def weaknesses(library: Library) -> list[str]:
    """Return what breaks a standard of ours, as clauses after the library's name."""
    found = []
    if library.executable_stack:
        found.append("has an executable stack")
    if library.text_relocations:
        found.append("changes its code while loading (text relocations)")
    if not library.relro:
        found.append("leaves its relocations writable")
    if not library.stripped:
        found.append("is not stripped")
    found += [
        f"looks for libraries in {path}" for path in library.rpaths if not _HERE.fullmatch(path)
    ]
    return found + build_paths(library.data)


def newest(libraries: Sequence[Library], prefix: str) -> tuple[int, ...]:
    """Return the newest version that any library asks for, such as ``(2, 27)`` of ``GLIBC``."""
    return max(
        (
            tuple(int(part) for part in found[2].split("."))
            for library in libraries
            for _, version in library.versions
            if (found := _VERSION.fullmatch(version)) and found[1] == prefix
        ),
        default=(),
    )


def _runtime(glibc: tuple[int, int]) -> Mapping[str, tuple[int, ...]]:
    known = [versions for since, versions in _RUNTIME if since <= glibc]
    return known[-1] if known else {}


def _extension(extensions: Sequence[Library], promise: Promise) -> list[str]:
    if not extensions:
        return ["the wheel has no Python extension"]
    problems = []
    for one in extensions:
        if _ENTRY_POINT not in one.exports:
            problems.append(f"{one.name} does not export {_ENTRY_POINT}")
        abi = _ABI.search(posixpath.basename(one.name))
        if abi and f"cp{abi[1].rstrip('t')}" not in promise.pythons:
            problems.append(f"{one.name} is for another Python than {', '.join(promise.pythons)}")
    return problems


def _facts(library: Library) -> dict[str, Any]:
    return {
        "machine": library.machine,
        "needed": list(library.needed),
        "rpaths": list(library.rpaths),
        "asks_for": {
            prefix: _dotted(newest([library], prefix)) for prefix in ("GLIBC", "GLIBCXX", "CXXABI")
        },
        "executable_stack": library.executable_stack,
        "relro": library.relro,
        "stripped": library.stripped,
    }


def _dotted(version: Sequence[int] | None) -> str:
    return ".".join(str(part) for part in version or ())
