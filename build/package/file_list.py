"""Our wheel's list of files beside the official one's, with every difference explained."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .archive import read_wheel

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


def _paths(wheel: Path) -> set[str]:
    return {re.sub(r"^[^/]+\.dist-info/", ".dist-info/", name) for name in read_wheel(wheel)}


def _explain(path: str, side: Side, table: Iterable[Explanation]) -> str | None:
    for entry in table:
        if entry.only_in == side and re.fullmatch(entry.pattern, path):
            return entry.why
    return None


def compare_file_lists(
    ours: Path, official: Path, *, explanations: Iterable[Explanation] = EXPLANATIONS
) -> list[Difference]:
    """Return every file that only one of two wheels has, sorted by path.

    Parameters
    ----------
    ours, official : Path
        The wheels.
    explanations : iterable of Explanation, optional
        What is known and meant.

    Raises
    ------
    WheelError
        One of the files is no readable wheel.
    """
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
