"""Numbers and intervals against limits."""

from __future__ import annotations

import math
from typing import Any

import pytest

from verify.policy.judgement import judge_numbers, violations
from verify.policy.limits import Limits

LIMITS = Limits(min_cosine=0.9, memory_growth_mb_max=20.0)


@pytest.mark.parametrize(
    ("judged", "status"),
    [
        ({"min_cosine": 0.9}, "passed"),
        ({"min_cosine": 0.89}, "failed"),
        ({"memory_growth_mb_max": 20.0}, "passed"),
        ({"memory_growth_mb_max": 20.5}, "failed"),
        ({"memory_growth_mb_max": (-3.0, 20.0)}, "passed"),
        ({"memory_growth_mb_max": [19.0, 21.0]}, "inconclusive"),
        ({"memory_growth_mb_max": [20.5, 30.0]}, "failed"),
        ({"min_cosine": [0.8, 0.95]}, "inconclusive"),
        ({"min_cosine": None}, "inconclusive"),
        ({"min_cosine": None, "memory_growth_mb_max": 30.0}, "failed"),
        ({"min_cosine": "nan"}, "failed"),
        ({"memory_growth_mb_max": math.nan}, "failed"),
        ({"memory_growth_mb_max": [math.nan, 1.0]}, "inconclusive"),
        ({"memory_growth_mb_max": "inf"}, "failed"),
    ],
)
def test_numbers_and_intervals(judged: dict[str, Any], status: str) -> None:
    found = judge_numbers(judged, LIMITS)
    assert found.status == status
    assert bool(found.broken) == (status == "failed")


def test_the_phrase_names_number_and_limit() -> None:
    assert violations({"min_cosine": 0.5}, LIMITS) == ["0.5 is below min_cosine = 0.9"]
    assert violations({"memory_growth_mb_max": (21, 22)}, LIMITS) == [
        "21 to 22 is above memory_growth_mb_max = 20"
    ]
