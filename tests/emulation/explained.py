"""Which differences another compiler explains, by a table with reasons; the rest are findings."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from verify.differential.comparison import Difference

TABLE = Path(__file__).with_name("explained.toml")
# What the comparison calls a distance between finite values.
_DISTANCE = "ULP"
_OUTPUTS = "outputs"


@dataclass(frozen=True, kw_only=True)
class Explanations:
    """The table.

    Parameters
    ----------
    rounding : Mapping[str, float]
        By element type, the largest distance allowed as a share of the output's largest
        magnitude.
    unspecified : tuple[tuple[str, str], ...]
        Patterns of cases whose values no standard fixes, each with its reason.
    """

    rounding: Mapping[str, float]
    unspecified: tuple[tuple[str, str], ...]


def read_explanations(path: Path = TABLE) -> Explanations:
    """Read the table; KeyError where an entry lacks a part."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    return Explanations(
        rounding=data["rounding"],
        unspecified=tuple((each["cases"], each["why"]) for each in data["unspecified"]),
    )


def _element(case: str) -> str:
    if "float64" in case:
        return "double"
    return "float16" if "float16" in case else "float"


def explain(difference: Difference, table: Explanations) -> str:
    """Return why a difference is none of the wheel's, or an empty text.

    Only other values are ever explained: an error, a missing output, another shape or type never.
    A group of cases without values, such as another verdict against a test's own expected
    outputs, is not explained either.
    """
    if difference.kind != _OUTPUTS or difference.delta is None:
        return ""
    for cases, why in table.unspecified:
        if fnmatchcase(difference.case, cases):
            return why
    delta = difference.delta
    limit = table.rounding[_element(difference.case)]
    if _DISTANCE in delta.reason and delta.max_abs <= limit * delta.scale:
        return f"rounding: {delta.max_abs:.2g} of {delta.scale:.2g}"
    return ""
