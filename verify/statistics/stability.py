"""Whether the machine, or one of the processes, changed while it was measured.

A bound on a quantile speaks of one distribution. When the first half differs from the second, or
one process from another, there is more than one, and a pooled bound means little. The parts are
compared by how many of their samples lie above the pooled median, and how many above the pooled
quantile (a chi-squared test of equal shares, with the counts deflated by each part's own
autocorrelation time).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from .effective import autocorrelation_times, midranks

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

# Four tests at most (two ways of splitting, two levels): together they fire by chance in about 1 %.
LEVEL = 0.0025
MIN_PART = 20


@dataclass(frozen=True, kw_only=True)
class Instability:
    """Parts of a measurement that do not look like one distribution.

    Parameters
    ----------
    kind : str
        ``"halves"`` (the machine drifted) or ``"processes"`` (they differ).
    p_value : float
        Chance of a difference as large in a stable measurement.
    shares : tuple of float
        Share of each part's samples above the pooled level, in the order of the parts.
    level : float
        The pooled quantile at which they differ: 0.5 or the quantile of interest.
    parts : tuple of ndarray of bool, shape (n,)
        Which samples belong to which part.
    """

    kind: str
    p_value: float
    shares: tuple[float, ...]
    level: float
    parts: tuple[Mask, ...]

    def describe(self) -> str:
        """Say in a few words what is unstable."""
        return "the machine drifted" if self.kind == "halves" else "the processes differ"


def find_instability(
    values: Floats, *, quantile: float = 0.95, processes: npt.NDArray[np.intp] | None = None
) -> tuple[Instability, ...]:
    """Compare the halves of a measurement, and its processes.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        Finite values in the order of their measurement.
    quantile : float
        The quantile of interest, between 0 and 1.
    processes : ndarray of int, shape (n,), optional
        The process that each value comes from.

    Returns
    -------
    tuple of Instability
        At most one per kind of split, empty for a stable measurement or one too short to judge.
    """
    n = values.size
    first = np.arange(n) < n // 2
    splits: list[tuple[str, tuple[Mask, ...]]] = [("halves", (first, ~first))]
    if processes is not None:
        labels = np.unique(processes)
        if labels.size > 1:
            splits.append(("processes", tuple(processes == label for label in labels)))
    found = []
    for kind, parts in splits:
        if min(int(part.sum()) for part in parts) < MIN_PART:
            continue
        worst = min(
            _compare(values, kind, parts, (0.5, quantile)),
            key=lambda instability: instability.p_value,
        )
        if worst.p_value < LEVEL:
            found.append(worst)
    return tuple(found)


def _compare(
    values: Floats, kind: str, parts: tuple[Mask, ...], levels: tuple[float, ...]
) -> list[Instability]:
    ordered = np.sort(values)
    above = np.stack(
        [values > ordered[max(0, math.ceil(level * values.size) - 1)] for level in levels]
    ).astype(np.float64)
    overall = above.mean(axis=1)
    spread = np.where(overall > 0, overall * (1.0 - overall), 1.0)
    statistic = np.zeros(len(levels))
    shares = []
    for part in parts:
        inside = above[:, part]
        own = inside.mean(axis=1)
        shares.append(own)
        taus = autocorrelation_times(np.concatenate([inside, midranks(values[part])[None]]))
        tau = np.maximum(taus[:-1], taus[-1])
        statistic += inside.shape[1] / tau * np.square(own - overall) / spread
    chances = stats.chi2.sf(statistic, len(parts) - 1)
    return [
        Instability(
            kind=kind,
            p_value=float(chance),
            shares=tuple(float(share[index]) for share in shares),
            level=level,
            parts=parts,
        )
        for index, (level, chance) in enumerate(zip(levels, chances, strict=True))
    ]
