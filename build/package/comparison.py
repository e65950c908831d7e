"""The built wheel compared with the official one: the same files, and binaries no weaker."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from ..binary.elf import elf_facts
from ..binary.macho import macho_facts
from ..binary.rules import compare_elf, compare_macho
from ..errors import WheelError
from .archive import read_wheel
from .mac_wheel import oldest_macos
from .release import MAC_ARCHITECTURE

Facts = TypeVar("Facts")
Side = Literal["ours", "official"]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why files whose path matches a pattern are on one side alone."""

    pattern: str
    only_in: Side
    why: str


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A file that only one of two wheels has; ``explanation`` is None where nothing explains it.

    ``path`` has the version taken out of the ``.dist-info`` folder's name.
    """

    path: str
    only_in: Side
    explanation: str | None


EXPLANATIONS = (
    Explanation(
        pattern=r"onnxruntime/capi/onnxruntime_pybind11_state\.cpython-\d+t?-[\w-]+\.so",
        only_in="official",
        why="Upstream's setup.py adds the ABI suffix only where it runs auditwheel itself.",
    ),
    Explanation(
        pattern=r"onnxruntime/capi/onnxruntime_pybind11_state\.so",
        only_in="ours",
        why="The same module without the ABI suffix; the wheel's tag names the interpreter.",
    ),
    Explanation(
        pattern=r"\.dist-info/licenses/[^/]+/.+",
        only_in="ours",
        why="Licence texts of the bundled dependencies, one folder each (PEP 639).",
    ),
    Explanation(
        pattern=r"\.dist-info/(licenses/)?(LICENSE|ThirdPartyNotices\.txt)",
        only_in="ours",
        why="A newer setuptools copies upstream's licence files here by itself.",
    ),
    Explanation(
        pattern=r"\.dist-info/sboms/ortmill\.cdx\.json",
        only_in="ours",
        why="The list of everything compiled in (PEP 770).",
    ),
)


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
        differences=tuple(compare_file_lists(mine, theirs)),
        weaknesses={name: found for name, found in compared.items() if found},
        binaries=len(compared),
    )


def compare_file_lists(
    ours: Iterable[str],
    official: Iterable[str],
    *,
    explanations: Iterable[Explanation] = EXPLANATIONS,
) -> list[Difference]:
    """Return every file that only one of two wheels has, sorted by path."""
    table = tuple(explanations)
    mine, theirs = _paths(ours), _paths(official)
    sides: tuple[tuple[Side, set[str]], ...] = (
        ("ours", mine - theirs),
        ("official", theirs - mine),
    )
    return sorted(
        (
            Difference(path=path, only_in=side, explanation=_explain(path, side, table))
            for side, paths in sides
            for path in paths
        ),
        key=lambda difference: (difference.path, difference.only_in),
    )


def _paths(names: Iterable[str]) -> set[str]:
    return {re.sub(r"^[^/]+\.dist-info/", ".dist-info/", name) for name in names}


def _explain(path: str, side: Side, table: Iterable[Explanation]) -> str | None:
    found = (each for each in table if each.only_in == side and re.fullmatch(each.pattern, path))
    return next((each.why for each in found), None)


def _compare_elf(ours: Mapping[str, bytes], official: Mapping[str, bytes]) -> dict[str, list[str]]:
    mine, theirs = elf_facts(ours.items()), elf_facts(official.items())
    return {name: compare_elf(facts, _counterpart(name, theirs)) for name, facts in mine.items()}


def _compare_macho(
    ours: Mapping[str, bytes], official: Mapping[str, bytes], filename: str
) -> dict[str, list[str]]:
    """Compare with the same architecture of the official libraries, which hold two."""
    mine = macho_facts(ours.items(), architecture=MAC_ARCHITECTURE)
    theirs = macho_facts(official.items(), architecture=MAC_ARCHITECTURE)
    return {
        name: compare_macho(
            facts,
            _counterpart(name, theirs),
            architecture=MAC_ARCHITECTURE,
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
