"""Tell a real difference between two latency series from the noise of a machine.

Calls are drawn again many times and the ratio of the quantiles is taken each time. Three things
make this fit for latency samples:

- Calls that follow one another are alike, so whole blocks are drawn, not single calls (H. R.
  Künsch, *The jackknife and the bootstrap for general stationary observations*, Annals of
  Statistics 17 (1989) 1217-1241; circular blocks: D. N. Politis and J. P. Romano, 1992).
- Both runs send the same texts, so the texts are no source of chance. Where they did, what is
  drawn is each call's departure from the median of its text length, on the logarithmic scale (a
  residual bootstrap: B. Efron and R. J. Tibshirani, *An Introduction to the Bootstrap* (1993),
  section 9.4). Otherwise a mix of short and long texts would hide a slowdown of a third.
- Processes differ from one another. The variance between them beyond what calls explain is added
  as in a one-way random-effects model, with Satterthwaite's degrees of freedom.

A difference is called real when its interval leaves 1 out *and* the ratio is further from 1 than
``SMALLEST_EFFECT``: two runs are never measured in turns, so a machine's slow changes between them
(temperature, neighbours) cannot be told from a small difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..statistics.effective import effective_size
from .samples import Series

Outcome = Literal["slower", "faster", "no real difference", "too few samples"]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SMALLEST_EFFECT = 0.02
QUANTILES = (("median", 0.5), ("P95", 0.95))
_SMALLEST_SAMPLE = {0.5: 30, 0.95: 100}
_SMALLEST_GROUP = 8
_SAME_TEXTS = 0.05
_RESAMPLES = 2000
_BATCH_ELEMENTS = 4_000_000
_SEED = 20_240_229


@dataclass(frozen=True, kw_only=True)
class LatencyDifference:
    """One quantile of one series in both runs.

    Parameters
    ----------
    series : str
        Name of the series.
    statistic : str
        ``median`` or ``P95``.
    before, after : float
        Milliseconds in the first and in the second run.
    ratio : float
        ``after / before``: above 1 is slower.
    low, high : float or None
        Confidence interval of the ratio, corrected for the number of comparisons; None with too
        few samples.
    outcome : {"slower", "faster", "no real difference", "too few samples"}
        The conclusion.
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


@dataclass(frozen=True, kw_only=True)
class _Spread:
    """How a log quantile varies: resampled values, variance between processes, counts."""

    resampled: Floats
    between: Floats
    processes: int
    blocks: int


def differences(a: Series, b: Series, *, confidence: float) -> tuple[LatencyDifference, ...]:
    """Compare the median and the P95 of two series.

    Parameters
    ----------
    a, b : Series
        The same series in the first and in the second run.
    confidence : float
        Two-sided confidence of each interval, in (0, 1).

    Returns
    -------
    tuple of LatencyDifference
        One per quantile; deterministic.
    """
    smallest = min(a.values.size, b.values.size)
    usable = min(a.values.min(), b.values.min()) > 0
    intervals: dict[float, tuple[float, float]] = {}
    if usable and smallest >= min(_SMALLEST_SAMPLE.values()):
        intervals = _intervals(a, b, confidence)
    found = []
    for statistic, q in QUANTILES:
        before, after = a.quantile(q), b.quantile(q)
        ratio = after / before if before > 0 else math.nan
        interval = intervals.get(q) if smallest >= _SMALLEST_SAMPLE[q] else None
        outcome: Outcome = "too few samples"
        if interval is not None:
            outcome = _outcome(ratio, *interval)
        found.append(
            LatencyDifference(
                series=a.name,
                statistic=statistic,
                before=before,
                after=after,
                ratio=ratio,
                low=interval[0] if interval else None,
                high=interval[1] if interval else None,
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


def _intervals(a: Series, b: Series, confidence: float) -> dict[float, tuple[float, float]]:
    generator = np.random.default_rng(_SEED)
    groups = _text_groups(a, b)
    spreads = [_spread(one, group, generator) for one, group in zip((a, b), groups, strict=True)]
    tail = 0.5 + confidence / 2
    found = {}
    for column, (_, q) in enumerate(QUANTILES):
        draws = spreads[1].resampled[:, column] - spreads[0].resampled[:, column]
        within = float(draws.var())
        between = sum(float(one.between[column]) for one in spreads)
        low, middle, high = np.quantile(draws, [1 - tail, 0.5, tail])
        blocks = min(one.blocks for one in spreads)
        widen = math.sqrt(blocks / (blocks - 1)) if blocks > 1 else 2.0
        if within > 0:
            widen *= math.sqrt((within + between) / within)
        widen *= float(stats.t.ppf(tail, _freedom(within, column, spreads)) / stats.norm.ppf(tail))
        centre = math.log(b.quantile(q) / a.quantile(q))
        found[q] = (
            math.exp(centre - float(middle - low) * widen),
            math.exp(centre + float(high - middle) * widen),
        )
    return found


def _freedom(within: float, column: int, spreads: list[_Spread]) -> float:
    """Satterthwaite's degrees of freedom of a sum of variances."""
    total = within + sum(float(one.between[column]) for one in spreads)
    blocks = sum(one.blocks for one in spreads)
    parts = [within**2 / max(1, blocks - 2)]
    parts += [float(one.between[column]) ** 2 / max(1, one.processes - 1) for one in spreads]
    return total**2 / sum(parts) if sum(parts) > 0 else 1.0


def _text_groups(a: Series, b: Series) -> tuple[Ints, Ints]:
    """Group calls by text length where both runs sent the same lengths; else one group."""
    one_group = (np.zeros(a.values.size, np.int64), np.zeros(b.values.size, np.int64))
    lengths = np.union1d(a.tokens, b.tokens)
    counts = np.array([[int((run.tokens == n).sum()) for n in lengths] for run in (a, b)])
    shares = counts / counts.sum(axis=1, keepdims=True)
    if float(np.abs(shares[0] - shares[1]).sum()) / 2 > _SAME_TEXTS:
        return one_group
    edges, held = [], np.zeros(2, dtype=np.int64)
    for index in range(lengths.size):
        held = held + counts[:, index]
        rest = counts[:, index + 1 :].sum(axis=1)
        if held.min() >= _SMALLEST_GROUP and rest.min() >= _SMALLEST_GROUP:
            edges.append(lengths[index])
            held = np.zeros(2, dtype=np.int64)
    first, second = (np.searchsorted(edges, run.tokens).astype(np.int64) for run in (a, b))
    return first, second


def _block(values: Floats) -> int:
    """Choose a block length: the cube root of n, and longer than the calls' memory."""
    n = values.size
    memory = 2 * n / max(1.0, effective_size(values))
    wanted = math.ceil(max(math.pow(n, 1 / 3), memory))
    return max(1, min(wanted, n // 4))


def _spread(series: Series, groups: Ints, generator: np.random.Generator) -> _Spread:
    """Draw circular blocks of calls within each process, each call around its text's median."""
    logs = np.log(series.values)
    kinds = np.unique(groups)
    middle = np.zeros(logs.size)
    for kind in kinds:
        middle[groups == kind] = np.median(logs[groups == kind])
    # Residuals around fitted medians are a little too small.
    rest = (logs - middle) * math.sqrt(logs.size / max(1, logs.size - kinds.size + 1))
    parts = [np.flatnonzero(series.process == label) for label in np.unique(series.process)]
    length = max(_block(rest[part]) for part in parts)
    levels = [q for _, q in QUANTILES]
    fitted = np.concatenate([middle[part] for part in parts])
    whole, alone = [], []
    batch = max(1, _BATCH_ELEMENTS // logs.size)
    for begin in range(0, _RESAMPLES, batch):
        draws = min(batch, _RESAMPLES - begin)
        drawn = [rest[part[_blocks(part.size, length, draws, generator)]] for part in parts]
        together = fitted + np.concatenate(drawn, axis=1)
        whole.append(np.quantile(together, levels, axis=1, method="inverted_cdf").T)
        alone.append(
            np.stack([np.quantile(one, levels, axis=1, method="inverted_cdf").T for one in drawn])
        )
    between = np.zeros(len(levels))
    if len(parts) > 1:
        own = np.array([np.quantile(rest[p], levels, method="inverted_cdf") for p in parts])
        explained = np.concatenate(alone, axis=1).var(axis=1).mean(axis=0)
        between = np.maximum(0.0, own.var(axis=0, ddof=1) - explained) / len(parts)
    return _Spread(
        resampled=np.concatenate(whole),
        between=between,
        processes=len(parts),
        blocks=sum(max(1, part.size // length) for part in parts),
    )


def _blocks(n: int, length: int, draws: int, generator: np.random.Generator) -> Ints:
    """Give the indices of ``draws`` resamples of ``n`` calls, made of circular blocks."""
    starts = generator.integers(0, n, size=(draws, math.ceil(n / length), 1))
    index = (starts + np.arange(length)) % n
    return np.asarray(index.reshape(draws, -1)[:, :n], dtype=np.int64)
