"""How much faster one thing is than another, from blocks of calls that are drawn whole.

Calls that follow one another are alike, so whole blocks are drawn again and the ratio of the
quantiles is taken each time (a block bootstrap). Two series that took turns are drawn as pairs of
blocks, so that what the machine does meets both alike (:func:`ratio_interval`); two runs are drawn
each for itself (:func:`blocks_interval`). Sources: B. Efron and R. J. Tibshirani, *An Introduction
to the Bootstrap* (1993), sections 8.5, 9.4 and 13.3; H. R. Künsch, *The jackknife and the bootstrap
for general stationary observations*, Annals of Statistics 17 (1989) 1217-1241.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..errors import VerifyError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
MIN_BLOCKS = 6
_MOST_AT_ONCE = 4_000_000


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
        Number of blocks, or of pairs of them; of the side that has fewer.
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


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """One side of a comparison.

    Parameters
    ----------
    values : ndarray of float64, shape (b, n)
        What is drawn, block by block; above 0.
    level : ndarray of float64, shape (b, n), or float
        What stays in its place: a call takes ``level * values``. So texts that both sides sent
        are no source of chance (a residual bootstrap).
    process : ndarray of int, shape (b,), optional
        The process that measured each block. What differs between processes, beyond what their
        calls explain, then widens the interval.
    """

    values: Floats
    level: Floats | float = 1.0
    process: Ints | None = None

    def quantile(self, quantile: float, drawn: Ints | None = None) -> Floats:
        """Return the quantile of all calls, or of each resample: ``drawn`` has shape (…, b)."""
        calls = self.level * (self.values if drawn is None else self.values[drawn])
        flat = calls.reshape(*calls.shape[:-2], -1)
        return np.asarray(np.quantile(flat, quantile, axis=-1), dtype=np.float64)

    def processes_apart(self, quantile: float) -> tuple[float, int]:
        """Return the variance of the log quantile between processes, and degrees of freedom."""
        labels = np.unique(self.process) if self.process is not None else np.zeros(1)
        if labels.size < 2:
            return 0.0, 1
        own = [np.quantile(self.values[self.process == label], quantile) for label in labels]
        return float(np.var(np.log(own), ddof=1)) / labels.size, labels.size - 1


def ratio_interval(
    baseline: Sequence[Sequence[float]],
    candidate: Sequence[Sequence[float]],
    *,
    quantile: float = 0.5,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> RatioInterval:
    """Compare two series that were measured in turns, block by block.

    Parameters
    ----------
    baseline, candidate : sequence of blocks
        Block ``i`` of one was measured next to block ``i`` of the other. Values in any unit
        above 0. Blocks are cut to the shortest one.
    quantile, confidence, resamples
        As in :func:`blocks_interval`.

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
    shortest = min((len(block) for side in (baseline, candidate) for block in side), default=0)
    slow, fast = (
        Blocks(values=np.array([block[:shortest] for block in side], dtype=np.float64))
        for side in (baseline, candidate)
    )
    return blocks_interval(
        slow, fast, paired=True, quantile=quantile, confidence=confidence, resamples=resamples
    )


def blocks_interval(
    baseline: Blocks,
    candidate: Blocks,
    *,
    paired: bool,
    quantile: float = 0.5,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 1,
) -> RatioInterval:
    """Compare two sides by drawing their blocks again.

    Parameters
    ----------
    baseline, candidate : Blocks
        With as many blocks each where they are paired.
    paired : bool
        Whether block ``i`` of one was measured next to block ``i`` of the other.
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
        Without an interval below six blocks on a side.
    """
    counts = [len(side.values) for side in (baseline, candidate)]
    answer = RatioInterval(
        ratio=None,
        low=None,
        high=None,
        confidence=confidence,
        quantile=quantile,
        blocks=min(counts),
    )
    both = np.concatenate([baseline.values.ravel(), candidate.values.ravel()])
    if both.size == 0:
        return replace(answer, reason="There are no samples to compare.")
    if not np.isfinite(both).all() or both.min() <= 0:
        reason = "Some samples are no durations (not finite, or not above 0)."
        return replace(answer, reason=reason)
    ratio = float(baseline.quantile(quantile) / candidate.quantile(quantile))
    if answer.blocks < MIN_BLOCKS:
        what = "pairs of blocks" if paired else "blocks"
        reason = f"{answer.blocks} {what} are too few for an interval ({MIN_BLOCKS} needed)."
        return replace(answer, ratio=ratio, reason=reason)

    def log_ratio(*drawn: Ints, axis: int = -1) -> Floats:
        # A pair of blocks is drawn by one index, which is then the first and the last.
        over, under = (np.moveaxis(np.asarray(index), axis, -1) for index in (drawn[0], drawn[-1]))
        log: Floats = np.log(
            baseline.quantile(quantile, over) / candidate.quantile(quantile, under)
        )
        return log

    drawn = stats.bootstrap(
        [np.arange(count) for count in (counts[:1] if paired else counts)],
        log_ratio,
        n_resamples=resamples,
        confidence_level=confidence,
        method="percentile",
        vectorized=True,
        batch=max(1, min(250, _MOST_AT_ONCE // both.size)),
        rng=np.random.default_rng(seed),
    )
    widen = _widening(baseline, candidate, drawn.bootstrap_distribution, answer)
    centre = math.log(ratio)
    low, high = (
        centre + (float(end) - centre) * widen
        for end in (drawn.confidence_interval.low, drawn.confidence_interval.high)
    )
    return replace(
        answer, ratio=ratio, low=math.exp(min(low, centre)), high=math.exp(max(high, centre))
    )


def _widening(baseline: Blocks, candidate: Blocks, drawn: Floats, answer: RatioInterval) -> float:
    """Return the factor by which the bootstrap's interval is too narrow.

    The bootstrap of B blocks spreads sqrt((B - 1) / B) too little and uses the normal instead of
    Student's distribution; with a dozen blocks that matters. It knows nothing of processes either:
    the variance between them beyond what calls explain is added as in a one-way random-effects
    model, with Satterthwaite's degrees of freedom.
    """
    within, freedom = float(drawn.var()), answer.blocks - 1.0
    factor = math.sqrt(answer.blocks / (answer.blocks - 1.0))
    apart = [side.processes_apart(answer.quantile) for side in (baseline, candidate)]
    found = sum(variance for variance, _ in apart)
    between = max(0.0, found - within)
    if between > 0 and within > 0:
        own = found**2 / sum(variance**2 / count for variance, count in apart)
        total = within + between
        freedom = total**2 / (within**2 / freedom + between**2 / own)
        factor *= math.sqrt(total / within)
    tail = 0.5 + answer.confidence / 2.0
    return factor * float(stats.t.ppf(tail, freedom) / stats.norm.ppf(tail))
