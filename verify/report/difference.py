"""Tell a real difference between two latency series from the noise of a machine.

The ratio of the quantiles gets the interval of `verify.statistics.ratio`, made fit for two runs:

- Blocks are longer than the calls' memory, and each holds the calls of one process.
- Both runs send the same texts, so the texts are no source of chance. Where they did, what is
  drawn is each call's departure from the median of its text length, on the logarithmic scale.
  Otherwise a mix of short and long texts would hide a slowdown of a third.
- What differs between processes widens the interval.

A difference is called real when its interval leaves 1 out *and* the ratio is further from 1 than
``SMALLEST_EFFECT``: two runs are never measured in turns, so a machine's slow changes between them
(temperature, neighbours) look like a small difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..statistics.effective import effective_size
from ..statistics.ratio import Blocks, blocks_interval
from .samples import Series

Outcome = Literal["slower", "faster", "no real difference", "too few samples"]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SMALLEST_EFFECT = 0.02
QUANTILES = (("median", 0.5), ("P95", 0.95))
_SMALLEST_SAMPLE = {0.5: 30, 0.95: 100}
_SMALLEST_GROUP = 8
_SAME_TEXTS = 0.05
_LEAST_BLOCKS = 8
_SEED = 20_240_229


@dataclass(frozen=True, kw_only=True)
class LatencyDifference:
    """One quantile of one series in both runs, in milliseconds.

    The ratio is ``after / before``: above 1 is slower. Its confidence interval is corrected for the
    number of comparisons; None with too few samples.
    """

    series: str
    statistic: str
    before: float
    after: float
    ratio: float
    low: float | None
    high: float | None
    outcome: Outcome

    @property
    def real(self) -> bool:
        """Whether the difference is more than noise."""
        return self.outcome in ("slower", "faster")


def differences(a: Series, b: Series, *, confidence: float) -> tuple[LatencyDifference, ...]:
    """Compare the median and the P95 of two series, the same one in the first and the second run.

    ``confidence`` is that of each two-sided interval, in (0, 1).
    """
    smallest = min(a.values.size, b.values.size)
    sides: list[Blocks] = []
    if smallest >= min(_SMALLEST_SAMPLE.values()) and min(a.values.min(), b.values.min()) > 0:
        sides = [_blocks(*each) for each in zip((b, a), _text_groups(b, a), strict=True)]
    found = []
    for statistic, q in QUANTILES:
        before, after = a.quantile(q), b.quantile(q)
        ratio = after / before if before > 0 else math.nan
        low = high = None
        outcome: Outcome = "too few samples"
        if sides and smallest >= _SMALLEST_SAMPLE[q]:
            interval = blocks_interval(
                *sides, paired=False, quantile=q, confidence=confidence, seed=_SEED
            )
            if interval.ratio and interval.low and interval.high:
                # Blocks leave a few calls over: the ends are laid around the ratio of all calls.
                low, high = (ratio * end / interval.ratio for end in (interval.low, interval.high))
                outcome = _outcome(ratio, low, high)
        found.append(
            LatencyDifference(
                series=a.name,
                statistic=statistic,
                before=before,
                after=after,
                ratio=ratio,
                low=low,
                high=high,
                outcome=outcome,
            )
        )
    return tuple(found)


def _outcome(ratio: float, low: float, high: float) -> Outcome:
    if low > 1 and ratio >= 1 + SMALLEST_EFFECT:
        return "slower"
    if high < 1 and ratio <= 1 / (1 + SMALLEST_EFFECT):
        return "faster"
    return "no real difference"


def _text_groups(a: Series, b: Series) -> tuple[Ints, Ints]:
    """Group calls by text length where both runs sent the same lengths; else one group."""
    one_group = (np.zeros(a.values.size, np.int64), np.zeros(b.values.size, np.int64))
    lengths = np.union1d(a.tokens, b.tokens)
    counts = np.array([[int((run.tokens == n).sum()) for n in lengths] for run in (a, b)])
    shares = counts / counts.sum(axis=1, keepdims=True)
    if float(np.abs(shares[0] - shares[1]).sum()) / 2 > _SAME_TEXTS:
        return one_group
    edges, group = [], np.zeros(2, dtype=np.int64)
    for index in range(lengths.size):
        group = group + counts[:, index]
        rest = counts[:, index + 1 :].sum(axis=1)
        if group.min() >= _SMALLEST_GROUP and rest.min() >= _SMALLEST_GROUP:
            edges.append(lengths[index])
            group = np.zeros(2, dtype=np.int64)
    first, second = (np.searchsorted(edges, run.tokens).astype(np.int64) for run in (a, b))
    return first, second


def _blocks(series: Series, groups: Ints) -> Blocks:
    """Cut each process's calls into blocks, each call around the median of its text length."""
    logs = np.log(series.values)
    level = np.zeros(logs.size)
    kinds = np.unique(groups)
    for kind in kinds:
        level[groups == kind] = np.median(logs[groups == kind])
    # Residuals around fitted medians are a little too small.
    rest = (logs - level) * math.sqrt(logs.size / max(1, logs.size - kinds.size + 1))
    labels = np.unique(series.process)
    parts = [np.flatnonzero(series.process == label) for label in labels]
    length = max(_length(rest[part]) for part in parts)
    length = max(1, min(length, *(part.size for part in parts), logs.size // _LEAST_BLOCKS))
    whole = [part[: part.size // length * length].reshape(-1, length) for part in parts]
    calls = np.concatenate(whole)
    return Blocks(
        values=np.exp(rest[calls]),
        level=np.exp(level[calls]),
        process=np.repeat(labels, [len(part) for part in whole]),
    )


def _length(values: Floats) -> int:
    """Choose a block's length: the cube root of n, and longer than the calls' memory."""
    n = values.size
    memory = 2 * n / max(1.0, effective_size(values))
    return math.ceil(max(math.pow(n, 1 / 3), memory))
