"""Measured numbers against a policy's limits: one rule, used by the checks and by ``judge``."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .limits import Limits

LOWER_BOUNDS = frozenset(
    {
        "min_cosine",
        "agreement_min_cosine",
        "agreement_rank_min",
        "coverage_nodes_min",
        "conversion_exact_min",
        "conversion_half_min",
        "speedup_over_cpu_min",
        "speedup_over_official_min",
    }
)
"""Limits that a number must reach; every other limit must not be exceeded."""


def violations(judged: Mapping[str, float | str], limits: Limits) -> list[str]:
    """Return one phrase for each number that breaks its limit; NaN breaks every limit.

    Parameters
    ----------
    judged : Mapping[str, float or str]
        Name of a limit to the number measured, or to ``"nan"``.
    limits : Limits
        The policy's numbers.
    """
    broken = []
    for name, stored in judged.items():
        value = float(stored)  # JSON holds NaN as its name
        limit = getattr(limits, name)
        lower = name in LOWER_BOUNDS
        good = value >= limit if lower else value <= limit
        if math.isnan(value) or not good:
            relation = "below" if lower else "above"
            broken.append(f"{value:.9g} is {relation} {name} = {limit:g}")
    return broken
