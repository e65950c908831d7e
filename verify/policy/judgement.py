"""Measured numbers against a policy's limits: one rule, used by the checks and by ``judge``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .limits import Limits

Measured = float | str | Sequence[float] | None
"""A number, its name where JSON has none (``"nan"``), an interval, or None for not measured."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What numbers say about limits, with one phrase for each number that breaks its limit.

    ``inconclusive`` where an interval holds its limit, or there is no number.
    """

    status: Literal["passed", "failed", "inconclusive"]
    broken: tuple[str, ...]


def judge_numbers(judged: Mapping[str, Measured], limits: Limits) -> Judgement:
    """Compare numbers, by the names of their limits, with these; NaN breaks every limit.

    An interval passes when both its ends do, and fails when neither does.
    """
    broken, undecided = [], False
    for name, measured in judged.items():
        if measured is None:
            undecided = True
            continue
        ends = [float(end) for end in _ends(measured)]
        limit = getattr(limits, name)
        least = Limits.relation(name) == "at least"
        good = [end >= limit if least else end <= limit for end in ends]
        if not any(good):
            relation = "below" if least else "above"
            found = " to ".join(f"{end:.9g}" for end in ends)
            broken.append(f"{found} is {relation} {name} = {limit:g}")
        elif not all(good):
            undecided = True
    if broken:
        return Judgement(status="failed", broken=tuple(broken))
    return Judgement(status="inconclusive" if undecided else "passed", broken=())


def _ends(measured: float | str | Sequence[float]) -> Sequence[float | str]:
    return [measured] if isinstance(measured, (int, float, str)) else measured


def violations(judged: Mapping[str, Measured], limits: Limits) -> list[str]:
    """Return one phrase for each number that breaks its limit."""
    return list(judge_numbers(judged, limits).broken)
