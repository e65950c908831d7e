"""Hold the built wheel beside the official one: the same files, and binaries no weaker."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from build.binaries import ElfFacts, check_hardening, elf_facts
from build.filelist import Difference, compare_file_lists
from build.wheelzip import read_wheel


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
    mine = elf_facts(read_wheel(ours).items())
    theirs = elf_facts(read_wheel(official).items())
    weaknesses = {
        name: found
        for name, facts in mine.items()
        if (found := check_hardening(facts, _counterpart(name, theirs)))
    }
    return Inspection(
        differences=tuple(compare_file_lists(ours, official)),
        weaknesses=weaknesses,
        binaries=len(mine),
    )


def _counterpart(name: str, theirs: Mapping[str, ElfFacts]) -> ElfFacts:
    stem = _stem(name)
    same = [facts for other, facts in theirs.items() if _stem(other) == stem]
    module = [facts for other, facts in theirs.items() if "pybind11_state" in other]
    return (same or module or list(theirs.values()))[0]


def _stem(name: str) -> str:
    """Return a library's name without folder, ABI suffix and version."""
    return re.split(r"\.(?:cpython|so)", Path(name).name)[0]
