"""Hold the built wheel beside the official one: the same files, and binaries no weaker."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..binary.elf import elf_facts
from ..binary.macho import macho_facts
from ..binary.rules import compare_elf, compare_macho
from ..errors import WheelError
from .archive import read_wheel
from .file_list import Difference, compare_file_lists
from .mac_wheel import oldest_macos

_ARCHITECTURE = "arm64"
Facts = TypeVar("Facts")


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What the comparison found.

    ``differences`` are files that only one wheel has; ``weaknesses`` maps each of our libraries
    that is weaker than its official counterpart to what is weak; ``binaries`` counts the
    libraries compared.
    """

    differences: tuple[Difference, ...]
    weaknesses: Mapping[str, list[str]]
    binaries: int

    @property
    def faults(self) -> list[str]:
        """What must not be: differences that nothing explains, and weaker libraries."""
        unexplained = [
            f"{each.path} is only in {'our' if each.only_in == 'ours' else 'the official'} wheel"
            for each in self.differences
            if each.explanation is None
        ]
        return unexplained + [
            f"{name}: {clause}" for name, found in self.weaknesses.items() for clause in found
        ]


def inspect_wheels(ours: Path, official: Path) -> Inspection:
    """Compare file lists and the hardening of every shared library.

    A library of ours with no official counterpart of the same stem is compared with the official
    extension module.

    Raises
    ------
    WheelError
        One of the files is no readable wheel, or the official one holds no library.
    """
    mine, theirs = read_wheel(ours), read_wheel(official)
    compared = {**_compare_elf(mine, theirs), **_compare_macho(mine, theirs, ours.name)}
    return Inspection(
        differences=tuple(compare_file_lists(ours, official)),
        weaknesses={name: found for name, found in compared.items() if found},
        binaries=len(compared),
    )


def _compare_elf(ours: Mapping[str, bytes], official: Mapping[str, bytes]) -> dict[str, list[str]]:
    mine, theirs = elf_facts(ours.items()), elf_facts(official.items())
    return {name: compare_elf(facts, _counterpart(name, theirs)) for name, facts in mine.items()}


def _compare_macho(
    ours: Mapping[str, bytes], official: Mapping[str, bytes], filename: str
) -> dict[str, list[str]]:
    """Compare with the same architecture of the official libraries, which hold two."""
    mine = macho_facts(ours.items(), architecture=_ARCHITECTURE)
    theirs = macho_facts(official.items(), architecture=_ARCHITECTURE)
    return {
        name: compare_macho(
            facts,
            _counterpart(name, theirs),
            architecture=_ARCHITECTURE,
            minimum_os=oldest_macos(filename),
            file=name,
        )
        for name, facts in mine.items()
    }


def _counterpart(name: str, theirs: Mapping[str, Facts]) -> Facts:
    stem = _stem(name)
    same = [facts for other, facts in theirs.items() if _stem(other) == stem]
    module = [facts for other, facts in theirs.items() if "pybind11_state" in other]
    if not theirs:
        raise WheelError(
            f"the official wheel holds no library of the kind of {name}",
            hint="compare with the official wheel of the same platform",
        )
    return (same or module or list(theirs.values()))[0]


def _stem(name: str) -> str:
    """Return a library's name without folder, ABI suffix and version."""
    return re.split(r"\.(?:cpython|so|dylib|\d)", Path(name).name)[0]
