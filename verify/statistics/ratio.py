"""How much faster one thing is than another, when both were measured in turns.

Both series are measured block by block, one after the other, so that what the machine does meets
both alike. The blocks are the units: whole pairs of blocks are drawn again (a block bootstrap),
which keeps the dependence inside a block and the pairing between the two. Source: B. Efron and
R. J. Tibshirani, *An Introduction to the Bootstrap* (1993), sections 8.5 and 13.3; H. R. Künsch,
*The jackknife and the bootstrap for general stationary observations*, Annals of Statistics 17
(1989) 1217-1241.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..errors import VerifyError

Floats = npt.NDArray[np.float64]
MIN_BLOCKS = 6


@dataclass(frozen=True, kw_only=True)
class RatioInterval:
    """A ratio ``baseline / candidate`` with its confidence interval: above 1 is faster.

    Parameters
    ----------
    ratio : float or None
        Ratio of the sample quantiles; None when there is too little to compare.
    low, high : float or None
        Two-sided confidence interval.
    confidence : float
        Its confidence.
    quantile : float
        The quantile compared, 0.5 for the median.
    blocks : int
        Number of pairs of blocks.
    reason : str
        Why there is no interval, or empty.
    """

    ratio: float | None
    low: float | None
    high: float | None
    confidence: float
    quantile: float
    blocks: int
    reason: str = ""


def ratio_interval(
    baseline: Sequence[Sequence[float]],
    candidate: Sequence[Sequence[float]],
    *,
    quantile: float = 0.5,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 1,
) -> RatioInterval:
    """Compare two series that were measured in turns, block by block.

    Parameters
    ----------
    baseline, candidate : sequence of blocks
        Block ``i`` of one was measured next to block ``i`` of the other. Values in any unit
        above 0. Blocks are cut to the shortest one.
    quantile : float
        The quantile whose ratio is wanted, in (0, 1).
    confidence : float
        Two-sided confidence, in (0, 1).
    resamples : int
        Number of bootstrap resamples.
    seed : int
        Seed of the resampling, so that a report judged again says the same.

    Returns
    -------
    RatioInterval
        Without an interval below six pairs of blocks.

    Raises
    ------
    VerifyError
        If the two have different numbers of blocks.
    """
    if len(baseline) != len(candidate):
        raise VerifyError(
            f"Blocks measured in turns must come in pairs, but there are {len(baseline)} and "
            f"{len(candidate)}.",
            hint="The samples file is damaged: measure again.",
        )
    blocks = len(baseline)
    sizes = [len(block) for side in (baseline, candidate) for block in side]
    shortest = min(sizes, default=0)
    empty = RatioInterval(
        ratio=None, low=None, high=None, confidence=confidence, quantile=quantile, blocks=blocks
    )
    if blocks == 0 or shortest == 0:
        return _because(empty, "There are no samples to compare.")
    slow = np.array([block[:shortest] for block in baseline], dtype=np.float64)
    fast = np.array([block[:shortest] for block in candidate], dtype=np.float64)
    both = np.concatenate([slow, fast])
    if not np.isfinite(both).all() or both.min() <= 0:
        return _because(empty, "Some samples are no durations (not finite, or not above 0).")
    ratio = float(np.quantile(slow, quantile) / np.quantile(fast, quantile))
    if blocks < MIN_BLOCKS:
        return _because(
            empty,
            f"{blocks} pairs of blocks are too few for an interval ({MIN_BLOCKS} needed).",
            ratio=ratio,
        )

    def log_ratio(index: npt.NDArray[np.intp], axis: int = -1) -> Floats:
        drawn = np.moveaxis(np.asarray(index), axis, -1)
        shape = (*drawn.shape[:-1], drawn.shape[-1] * shortest)
        over = np.quantile(slow[drawn].reshape(shape), quantile, axis=-1)
        under = np.quantile(fast[drawn].reshape(shape), quantile, axis=-1)
        return np.asarray(np.log(over / under), dtype=np.float64)

    drawn = stats.bootstrap(
        (np.arange(blocks),),
        log_ratio,
        n_resamples=resamples,
        confidence_level=confidence,
        method="percentile",
        vectorized=True,
        batch=250,
        rng=np.random.default_rng(seed),
    )
    # The bootstrap of B blocks spreads sqrt((B - 1) / B) too little and uses the normal instead
    # of Student's distribution; with a dozen blocks that matters.
    centre = math.log(ratio)
    tail = 0.5 + confidence / 2.0
    widen = math.sqrt(blocks / (blocks - 1.0)) * float(
        stats.t.ppf(tail, blocks - 1) / stats.norm.ppf(tail)
    )
    low = centre + (float(drawn.confidence_interval.low) - centre) * widen
    high = centre + (float(drawn.confidence_interval.high) - centre) * widen
    return RatioInterval(
        ratio=ratio,
        low=math.exp(min(low, centre)),
        high=math.exp(max(high, centre)),
        confidence=confidence,
        quantile=quantile,
        blocks=blocks,
    )


def _because(empty: RatioInterval, reason: str, *, ratio: float | None = None) -> RatioInterval:
    return RatioInterval(
        ratio=ratio,
        low=None,
        high=None,
        confidence=empty.confidence,
        quantile=empty.quantile,
        blocks=empty.blocks,
        reason=reason,
    )
