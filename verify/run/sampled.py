"""Stored latency samples judged by a policy's limits."""

from __future__ import annotations

from ..latency.interference import Conditions, judge_fairly
from ..policy.limits import Limits
from ..report.document import LatencySeries
from ..report.samples import nanoseconds
from ..statistics.gate import Judgement


def judge_series(series: LatencySeries, limits: Limits) -> Judgement:
    """Judge one series as the gate does."""
    recorded = series.conditions.model_dump() if series.conditions else None
    return judge_fairly(
        Conditions.of(nanoseconds(series), series.process, recorded),
        budget_ms=limits.latency_p95_ms,
        min_samples=limits.latency_min_samples,
        confidence=limits.latency_confidence,
    ).judgement


def with_bound(series: LatencySeries, limits: Limits) -> LatencySeries:
    """Return the series with the upper bound of its P95, which the report shows."""
    return series.model_copy(update={"p95_upper_ms": judge_series(series, limits).upper_bound})
