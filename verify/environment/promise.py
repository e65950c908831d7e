"""What a wheel promises by its name: the version, the processors, the oldest system.

A platform tag is a promise to whoever installs the wheel (PyPA, "Platform compatibility tags";
PEP 600 for ``manylinux_X_Y``: it runs where glibc is X.Y or newer). A wheel is held to its own.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

System = Literal["macos", "linux", ""]
_MACOS = re.compile(r"macosx_(\d+)_(\d+)_(\w+)")
_LINUX = re.compile(r"(?:manylinux_(\d+)_(\d+)|manylinux(1|2010|2014)|linux)_(\w+)")
_LEGACY = {"1": (2, 5), "2010": (2, 12), "2014": (2, 17)}
_BOTH = ("arm64", "x86_64")
_OURS = b'"ortmill:origin"'


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What the tags of a wheel's name promise.

    Parameters
    ----------
    version : str
        The upstream version, without a local part.
    system : {"macos", "linux", ""}
        Empty for any other platform, and for none.
    architectures : tuple of str
        Processors; both of them for ``universal2``.
    oldest : (int, int) or None
        The oldest macOS, or the oldest glibc; ``None`` where a tag names none (``linux_x86_64``).
    pythons : tuple of str
        Interpreters, ``cp311``.
    """

    version: str
    system: System
    architectures: tuple[str, ...] = ()
    oldest: tuple[int, int] | None = None
    pythons: tuple[str, ...] = ()

    def keeps(self, minimum: tuple[int, int]) -> bool:
        """Return whether a binary that asks for this macOS keeps the promise.

        Since macOS 11 installers know whole versions alone: ``macosx_13_0`` is the only tag that
        they take on any macOS 13, and delocate writes it for binaries that ask for 13.3.
        """
        if self.oldest is None or minimum <= self.oldest:
            return True
        major, minor = self.oldest
        return major >= 11 and minor == 0 and minimum[0] == major

    def to_macos(self) -> str:
        """Return the oldest macOS for people, ``13.0``."""
        return ".".join(str(part) for part in self.oldest or ())


def read_promise(name: str) -> Promise:
    """Return what a wheel's file name promises; nothing for what is no wheel's name."""
    try:
        _, version, _, tags = parse_wheel_filename(name)
    except InvalidWheelFilename:
        return Promise(version="", system="")
    macos = [found for tag in tags if (found := _MACOS.fullmatch(tag.platform))]
    linux = [found for tag in tags if (found := _LINUX.fullmatch(tag.platform))]
    system: System = "macos" if macos and not linux else "linux" if linux and not macos else ""
    processors = {found[found.re.groups] for found in macos or linux}
    oldest: list[tuple[int, int]] = [(int(found[1]), int(found[2])) for found in macos]
    for found in linux if system == "linux" else ():
        if found[1]:
            oldest.append((int(found[1]), int(found[2])))
        elif found[3]:
            oldest.append(_LEGACY[found[3]])
    return Promise(
        version=version.public,
        system=system,
        architectures=tuple(sorted({each for name in processors for each in _processors(name)})),
        oldest=min(oldest, default=None),
        pythons=tuple(sorted({tag.interpreter for tag in tags})),
    )


def _processors(name: str) -> Iterable[str]:
    return _BOTH if name == "universal2" else (name,)


def is_own(path: Path, *, described: bool) -> bool:
    """Return whether ortmill made a wheel, so that ortmill's own standards are its.

    By the manifest that names it (``described``), by the local part of its version, or by its list
    of parts. The wheel may be damaged or missing.
    """
    try:
        _, version, _, _ = parse_wheel_filename(path.name)
    except InvalidWheelFilename:
        return described
    if described or (version.local or "").startswith("ortmill"):
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return any(
                ".dist-info/sboms/" in name and _OURS in archive.read(name)
                for name in archive.namelist()
            )
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError):
        return False  # whoever reads it next says what is wrong with it


def older_than(version: str, other: str) -> bool:
    """Return whether one version of ONNX Runtime came before another."""
    return bool(version) and Version(version) < Version(other)
