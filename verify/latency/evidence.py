"""What the latency checks say of their samples: a judgement, and what it rests on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from ..environment.context import TargetContext
from ..statistics.gate import Judgement, early
from .interference import Blame, judge_fairly
from .series import SeriesSamples

NS_PER_MS = 1e6


def judge(series: SeriesSamples, context: TargetContext, *, to_end: bool = False) -> Blame:
    """Judge one series by the policy's limits, and say whose a failure would be.

    ``to_end`` asks whether measuring may end, with the confidence that this needs.
    """
    limits = context.policy.limits
    return judge_fairly(
        series.conditions(),
        budget_ms=limits.latency_p95_ms,
        min_samples=limits.latency_min_samples,
        confidence=early(limits.latency_confidence) if to_end else limits.latency_confidence,
    )


def judgement_json(judged: Judgement) -> dict[str, Any]:
    """Return a judgement as JSON values; times in milliseconds."""
    return {
        **asdict(judged),
        "n_effective": round(judged.n_effective, 1),
        "instability": [
            {
                "what": split.describe(),
                "p_value": split.p_value,
                "level": split.level,
                "shares_above": list(split.shares),
            }
            for split in judged.instability
        ],
    }


def process_p95(series: SeriesSamples) -> list[float]:
    """Return each process's own P95 in milliseconds."""
    values, slots = np.array(series.values), np.array(series.process)
    return [
        float(np.quantile(values[slots == slot], 0.95, method="inverted_cdf")) / NS_PER_MS
        for slot in np.unique(slots)
    ]


def stage_table(series: SeriesSamples) -> dict[str, dict[str, float]]:
    """Return median and P95 of each stage in milliseconds."""
    return {
        name: {
            "p50": float(np.quantile(values, 0.5, method="inverted_cdf")) / NS_PER_MS,
            "p95": float(np.quantile(values, 0.95, method="inverted_cdf")) / NS_PER_MS,
        }
        for name, values in series.stages.items()
        if values
    }
