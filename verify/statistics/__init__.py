"""The statistics of the latency gate: distribution-free, and honest about dependence.

``judge_p95`` is the gate itself; ``ratio_interval`` compares two interleaved series. The other
names are the parts that these two are made of.
"""

from __future__ import annotations

from verify.statistics.bounds import Bounds
from verify.statistics.effective import autocorrelation_times, effective_size
from verify.statistics.judge import Evidence, Judgement, judge_p95, weigh
from verify.statistics.quantile import (
    lower_rank,
    sample_quantile,
    smallest_sample,
    upper_rank,
)
from verify.statistics.ratio import RatioInterval, ratio_interval
from verify.statistics.stability import Instability, find_instability

__all__ = [
    "Bounds",
    "Evidence",
    "Instability",
    "Judgement",
    "RatioInterval",
    "autocorrelation_times",
    "effective_size",
    "find_instability",
    "judge_p95",
    "lower_rank",
    "ratio_interval",
    "sample_quantile",
    "smallest_sample",
    "upper_rank",
    "weigh",
]
