"""The Debian packages that make up the emulator and the emulated system, each by its hash.

Formats: ``pins.toml`` beside this module; a repository's ``Packages`` index and ``InRelease`` as
the Debian wiki's "DebianRepository/Format" tells them (stanzas of ``Name: value``, RFC 822 style).
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from tests.emulation.errors import EmulationError

PINS_FILE = Path(__file__).resolve().parent / "pins.toml"
PIN_COMMAND = "python -m tests.emulation.run --pin"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[a-z0-9][a-z0-9+.-]*")
_ARCHITECTURES = ("amd64", "arm64")
_HEAD = """\
# The emulator and the arm64 system that a wheel runs in, as files of Debian's archive.
# Paths start at the archive's root; the mirror is the one that the machine's apt is set up with.
# Debian replaces files at its point releases. Write the pins again with
#     {command}
# and read the difference before it is committed.
"""


@dataclass(frozen=True, kw_only=True)
class Package:
    """One binary package.

    Parameters
    ----------
    name : str
    architecture : {"amd64", "arm64"}
        ``amd64`` packages run here (the emulator), ``arm64`` ones are the emulated system.
    path : str
        Below the archive's root, ``pool/…``.
    size : int
        Bytes.
    sha256 : str
    only : tuple of str
        Members to unpack; all of them when empty.
    """

    name: str
    architecture: str
    path: str
    size: int
    sha256: str
    only: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Pins:
    """All packages, and the suite whose index the pins were taken from."""

    suite: str
    packages: tuple[Package, ...]

    @property
    def digest(self) -> str:
        """A name for what the packages unpack to."""
        rows = sorted(f"{p.architecture} {p.name} {p.sha256} {p.only}" for p in self.packages)
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def read_pins(path: Path = PINS_FILE) -> Pins:
    """Read the pins; every mistake is told at once.

    Raises
    ------
    EmulationError
        The file cannot be read, or a package is not pinned whole.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EmulationError(
            f"{path} cannot be read: {error}", hint=f"check it out again, or run {PIN_COMMAND}"
        ) from None
    rows = data.get("package", [])
    wrong = [] if isinstance(data.get("suite"), str) else ["suite is missing"]
    wrong += [f"there is no such key: {key}" for key in data.keys() - {"suite", "package"}]
    for number, row in enumerate(rows):
        wrong += [f"package {row.get('name', number)}: {text}" for text in _mistakes(row)]
    names = [(row.get("architecture"), row.get("name")) for row in rows]
    wrong += [f"package {n} stands twice" for _, n in {x for x in names if names.count(x) > 1}]
    if not rows:
        wrong.append("it names no package")
    if wrong:
        raise EmulationError(
            f"{path} is wrong: {'; '.join(wrong)}", hint=f"correct it, or run {PIN_COMMAND}"
        )
    packages = tuple(Package(**{**row, "only": tuple(row.get("only", ()))}) for row in rows)
    return Pins(suite=data["suite"], packages=packages)


def _mistakes(row: Mapping[str, Any]) -> list[str]:
    known = {"name", "architecture", "path", "size", "sha256", "only"}
    found = [f"there is no such key: {key}" for key in sorted(row.keys() - known)]
    if not _WORD.fullmatch(str(row.get("name", ""))):
        found.append("name is missing or no package's name")
    if row.get("architecture") not in _ARCHITECTURES:
        found.append(f"architecture must be one of {', '.join(_ARCHITECTURES)}")
    path = str(row.get("path", ""))
    if not path.startswith("pool/") or not path.endswith(".deb") or ".." in path:
        found.append("path must lead from pool/ to a .deb file")
    if not isinstance(row.get("size"), int) or row["size"] <= 0:
        found.append("size must be a number of bytes")
    if not _SHA256.fullmatch(str(row.get("sha256", ""))):
        found.append("sha256 must be 64 lower-case hex digits")
    only = row.get("only", [])
    if not isinstance(only, list) or not all(isinstance(item, str) for item in only):
        found.append("only must be a list of members")
    return found


def write_pins(pins: Pins, path: Path = PINS_FILE) -> None:
    """Write the pins, sorted by architecture and name."""
    lines = [_HEAD.format(command=PIN_COMMAND), f'suite = "{pins.suite}"']
    for package in sorted(pins.packages, key=lambda item: (item.architecture, item.name)):
        lines += [
            "",
            "[[package]]",
            f'name = "{package.name}"',
            f'architecture = "{package.architecture}"',
            f'path = "{package.path}"',
            f"size = {package.size}",
            f'sha256 = "{package.sha256}"',
        ]
        if package.only:
            lines.append("only = [" + ", ".join(f'"{item}"' for item in package.only) + "]")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def parse_index(text: str) -> dict[str, dict[str, str]]:
    """Return the stanzas of a ``Packages`` index by package name; continued lines are left out.

    Where a name stands twice, the later stanza wins.
    """
    found: dict[str, dict[str, str]] = {}
    for stanza in text.split("\n\n"):
        fields = dict(
            line.split(": ", 1)
            for line in stanza.splitlines()
            if ": " in line and not line.startswith((" ", "\t"))
        )
        if "Package" in fields:
            found[fields["Package"]] = fields
    return found


def release_hashes(text: str) -> dict[str, tuple[int, str]]:
    """Return size and sha256 of the files that an ``InRelease`` file lists, by path."""
    section = re.search(r"^SHA256:\n((?: .*\n)+)", text, re.MULTILINE)
    rows = [line.split() for line in section[1].splitlines()] if section else []
    return {path: (int(size), digest) for digest, size, path in rows}


def renewed(pins: Pins, indexes: Mapping[str, Mapping[str, Mapping[str, str]]]) -> Pins:
    """Return the same packages with what the indexes say of them now.

    Parameters
    ----------
    pins : Pins
    indexes : Mapping
        By architecture: :func:`parse_index` of its index.

    Raises
    ------
    EmulationError
        The suite has a package no more.
    """
    missing = [p.name for p in pins.packages if p.name not in indexes[p.architecture]]
    if missing:
        raise EmulationError(
            f"{pins.suite} has no package {', '.join(missing)}",
            hint="name another suite or package in pins.toml, then run it again",
        )
    packages = []
    for package in pins.packages:
        row = indexes[package.architecture][package.name]
        packages.append(
            replace(package, path=row["Filename"], size=int(row["Size"]), sha256=row["SHA256"])
        )
    return replace(pins, packages=tuple(packages))


def differences(old: Pins, new: Pins) -> Sequence[str]:
    """Tell in one line for each package what changed."""
    before = {(p.architecture, p.name): p for p in old.packages}
    lines = []
    for package in new.packages:
        known = before.get((package.architecture, package.name))
        if known is None or known.sha256 != package.sha256:
            was = PurePosixPath(known.path).name if known else "nothing"
            lines.append(f"{package.name}: {was} -> {PurePosixPath(package.path).name}")
    return lines
