"""What the machine brings: a compiler, cores, memory and disk."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from packaging.version import InvalidVersion, Version

from ..errors import ResourceError, ToolchainError
from ..recipe.format import Platform
from ..system.environment import plain_environment
from ..system.process import ask

GIB = 1 << 30
# A whole cold build of 1.21.0 leaves 1.4 GB in the cache; as much again is room for what compilers
# and linkers write meanwhile, and for another version's tree.
DISK_NEEDED = 3 * GIB
_MEMORY_PER_JOB = int(1.5 * GIB)


@dataclass(frozen=True, kw_only=True)
class Compiler:
    """A C and C++ compiler pair.

    ``family`` is ``gcc``, ``clang`` or ``apple-clang``; ``identity`` is the first line of
    ``--version``, on a Mac with the SDK's version: it is in the manifest and decides with the rest
    whether a compile is done again. ``variables`` are added to the build's environment and to the
    manifest; ``note`` is something that the user should hear of the choice.
    """

    c: Path
    cxx: Path
    family: str
    version: str
    identity: str
    variables: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a compiler says of itself; ``line`` is the first one of its answer."""

    family: str
    version: str
    line: str


def find_compiler(env: Mapping[str, str], requirements: Platform) -> Compiler:
    """Return the compiler that the build will use: ``$CC``/``$CXX``, or the machine's own.

    Not for a Mac: see :func:`build.toolchain.apple.find_apple_compiler`.

    Raises
    ------
    ToolchainError
        There is none, it does not work, or it is older than the recipe allows.
    """
    cxx = _program(env, "CXX", ("c++", "g++", "clang++"))
    counterpart = beside(cxx)
    # The one beside it first: CXX alone may name a compiler that is not on the PATH.
    c = _program(env, "CC", (str(counterpart), counterpart.name, "cc", "gcc", "clang"))
    who = identify(cxx, env)
    check_minimum(cxx, who, requirements)
    return Compiler(c=c, cxx=cxx, family=who.family, version=who.version, identity=who.line)


def beside(cxx: Path) -> Path:
    """Return where the C compiler is that belongs to a C++ compiler."""
    name = cxx.name.replace("clang++", "clang").replace("g++", "gcc").replace("c++", "cc")
    return cxx.with_name(name)


def identify(program: Path, env: Mapping[str, str]) -> Identity:
    """Ask a compiler which one it is.

    Raises
    ------
    ToolchainError
        It does not work, or does not say.
    """
    text = _first_answer(program, env)
    family = "apple-clang" if "Apple" in text else "clang" if "clang" in text else "gcc"
    found = re.search(r"(?:version |\) )(\d+(?:\.\d+)*)", text) or re.search(
        r"(\d+(?:\.\d+)+)", text
    )
    if not found:
        raise ToolchainError(
            f"{program} does not say which compiler it is",
            hint="name a compiler with CC and CXX",
            context={"`--version` said": text[:200] or "nothing"},
        )
    return Identity(family=family, version=found.group(1), line=text.splitlines()[0])


def check_minimum(cxx: Path, who: Identity, requirements: Platform) -> None:
    """Refuse a compiler that is older than the recipe allows.

    Raises
    ------
    ToolchainError
        It is.
    """
    # The keys are a Literal to mypy; a family that is none of them has no minimum.
    minimum = requirements.compiler_minimum.get(who.family)  # type: ignore[call-overload]
    if minimum and Version(who.version) < Version(minimum):
        raise ToolchainError(
            f"{cxx} is {who.family} {who.version}; the recipe needs {who.family} {minimum} or "
            "newer",
            hint="install a newer compiler, or name one with CC and CXX",
        )


def _program(env: Mapping[str, str], variable: str, names: tuple[str, ...]) -> Path:
    asked = env.get(variable, "").strip()
    for name in (asked,) if asked else names:
        if path := shutil.which(name, path=env.get("PATH")):
            return Path(path)
    what = f"{variable}={asked} is not a program" if asked else "there is no C++ compiler"
    raise ToolchainError(
        f"{what} on the PATH",
        hint="install one (Debian: g++, Fedora: gcc-c++, macOS: xcode-select --install) "
        "or name it with CC and CXX",
    )


def _first_answer(program: Path, env: Mapping[str, str]) -> str:
    answer = ask([str(program), "--version"], env=plain_environment(env), seconds=60)
    if answer.code:
        raise ToolchainError(
            f"{program} does not answer `--version`: {answer.err.strip() or answer.code}",
            hint="reinstall the compiler",
        )
    return answer.out.strip() or answer.err.strip()


def check_cmake(version_text: str, minimum: str) -> str:
    """Return the version in CMake's answer to ``--version``.

    Raises
    ------
    ToolchainError
        It is older than ``minimum``, or no answer of CMake's.
    """
    found = re.search(r"cmake version (\d+(?:\.\d+)+)", version_text)
    try:
        version = Version(found.group(1) if found else "")
    except InvalidVersion:
        raise ToolchainError(
            "the program called cmake does not answer like CMake",
            hint="remove the tools folder below ORTMILL_CACHE; the next build makes it anew",
            context={"it said": version_text[:200]},
        ) from None
    if version < Version(minimum):
        raise ToolchainError(
            f"CMake {version} is too old; this version of ONNX Runtime needs {minimum} or newer",
            hint="raise `tools.cmake` in the recipe and compile the lock again with `nox -s lock`",
        )
    return str(version)


def parallel_jobs(*, cores: int | None = None, memory: int | None = None) -> int:
    """Return how many compilers may run at once: the cores, at 1.5 GiB of memory each."""
    cores = cores or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    cores = cores or os.cpu_count() or 1
    memory = psutil.virtual_memory().available if memory is None else memory
    return max(1, min(cores, memory // _MEMORY_PER_JOB))


def check_disk(folder: Path, *, already: int = 0, needed: int = DISK_NEEDED) -> None:
    """Check that the file system of a folder, which need not exist yet, has room for a build.

    ``already`` are the bytes that an earlier, unfinished build has written there, ``needed`` those
    of a whole build.

    Raises
    ------
    ResourceError
        There is less room than the build needs.
    """
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    missing = needed - already - free
    if missing > 0:
        raise ResourceError(
            f"the disk of {folder} has {free / GIB:.1f} GiB free; the build needs "
            f"{max(needed - already, 0) / GIB:.1f} GiB",
            hint="free some space (`python -m build clean` removes old trees), or set "
            "ORTMILL_CACHE to a folder on another disk",
        )
