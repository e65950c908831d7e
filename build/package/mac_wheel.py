"""What delocate does for a macOS wheel, on a machine that has no delocate: libraries and tag.

Nothing may be copied into the wheel, so every library must be there already. Whether each is for
the right architecture and macOS is asked of the finished wheel (:mod:`build.binary.rules`). The tag
is ours on every machine: delocate leaves the minor version out, and calls a wheel that needs macOS
13.3 one for 13.0.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence

from ..binary.elf import ELF_MAGIC
from ..binary.macho import MachoFacts, macho_facts
from ..binary.rules import is_system_library, version_key
from ..errors import WheelError

_VERSION = re.compile(r"(\d{2})(?:\.(\d{1,2}))?")
_PLATFORM = re.compile(r"macosx_(\d+)_(\d+)_(\w+)")
# Apple silicon begins with macOS 11; since then only the major version is in the tags of pip.
_FIRST_MAJOR = 11
_LOADER, _RPATH = "@loader_path", "@rpath"


def macos_tags(minimum_os: str, architecture: str) -> tuple[str, ...]:
    """Return the platform tags of a wheel that needs a version of macOS, ``13.3`` or ``14``.

    ``packaging.tags.mac_platforms``, by which pip and others choose, knows no minor version since
    macOS 11: on 13.6 it accepts ``macosx_13_0`` and nothing between that and ``macosx_14_0``. A
    wheel that needs 13.3 is for both: its true version, for installers that know it, and
    the oldest tag that promises too little to nobody.

    Raises
    ------
    WheelError
        It is no such version, or one before macOS 11.

    Examples
    --------
    >>> macos_tags("13.3", "arm64")
    ('macosx_13_3_arm64', 'macosx_14_0_arm64')
    >>> macos_tags("14.0", "arm64")
    ('macosx_14_0_arm64',)
    """
    match = _VERSION.fullmatch(minimum_os)
    if not match or int(match[1]) < _FIRST_MAJOR:
        raise WheelError(
            f"{minimum_os or 'nothing'!r} is no version of macOS that a wheel can ask for",
            hint="set the platform's minimum_os in the recipe to one such as 13.3",
        )
    major, minor = int(match[1]), int(match[2] or 0)
    exact = f"macosx_{major}_{minor}_{architecture}"
    return (exact, f"macosx_{major + 1}_0_{architecture}") if minor else (exact,)


def oldest_macos(filename: str) -> str:
    """Return the oldest macOS that a wheel's name promises to work on, empty for no such wheel."""
    platforms = filename.removesuffix(".whl").rpartition("-")[2].split(".")
    found = [match for each in platforms if (match := _PLATFORM.fullmatch(each))]
    return min((f"{match[1]}.{match[2]}" for match in found), key=version_key, default="")


def resolve(dependency: str, *, binary: str, rpaths: Sequence[str]) -> list[str]:
    """Return the places inside the wheel where dyld would look for a library, in its order.

    ``dependency`` is an install name, ``@rpath/x.dylib``, that the file ``binary`` asks for. Of
    its LC_RPATH entries, absolute ones lead nowhere in a wheel.
    """
    start, _, rest = dependency.partition("/")
    folders = {_LOADER: [_LOADER], _RPATH: list(rpaths)}.get(start, [])
    places = []
    for folder in folders:
        head, _, below = folder.partition("/")
        if head == _LOADER:
            place = posixpath.join(posixpath.dirname(binary), below, rest)
            places.append(posixpath.normpath(place))
    return places


def _check_dependencies(name: str, facts: MachoFacts, files: Mapping[str, bytes]) -> None:
    missing = [
        dependency
        for dependency in facts.dependencies
        if not is_system_library(dependency)
        and not any(
            place in files for place in resolve(dependency, binary=name, rpaths=facts.rpaths)
        )
    ]
    if missing:
        raise WheelError(
            f"{name} needs {missing[0]}, which is no part of macOS and not in the wheel",
            hint="link it statically or leave it out: nothing is copied into the wheel",
            context={"all of it": ", ".join(missing), "rpaths": ", ".join(facts.rpaths) or "none"},
        )


def check_mac_wheel(files: Mapping[str, bytes], *, architecture: str) -> None:
    """Make sure that a wheel's libraries are complete, as delocate would.

    Raises
    ------
    WheelError
        There is no library or one of another system, or one that needs what is neither a part of
        macOS nor in the wheel.
    """
    foreign = [name for name in sorted(files) if files[name].startswith(ELF_MAGIC)]
    if foreign:
        raise WheelError(
            f"{foreign[0]} is a library of this machine in a wheel for macOS",
            hint="the compiler of the cross toolchain was not used; remove the tree, build again",
            context={"all of it": ", ".join(foreign)},
        )
    found = macho_facts(sorted(files.items()), architecture=architecture)
    if not found:
        raise WheelError(
            "the wheel for macOS holds no library of macOS at all",
            hint="upstream's setup.py packs .dylib files only where it takes itself to be on macOS",
        )
    for name, facts in found.items():
        _check_dependencies(name, facts, files)
