"""A straight trend through points, robust against steps and outliers; needs numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Z = 1.959963984540054  # two-sided 95 % of the normal distribution
MIN_POINTS = 10


@dataclass(frozen=True, kw_only=True)
class Trend:
    """Slope of y over x with its 95 % interval, in units of y per unit of x."""

    slope: float
    low: float
    high: float


def trend(x: Sequence[float], y: Sequence[float]) -> Trend | None:
    """Estimate a slope by the median of all pairwise slopes (Theil and Sen).

    The interval comes from Kendall's statistic: P. K. Sen, *Estimates of the regression
    coefficient based on Kendall's tau*, JASA 63 (1968) 1379-1389. It takes the deviations from
    the line as independent. Memory grows in steps that last, so they are not: the rank range is
    widened by the square root of the autocorrelation time of the deviations (first-order, from
    their lag-one correlation).

    Parameters
    ----------
    x : sequence of float, shape (n,)
        Strictly increasing.
    y : sequence of float, shape (n,)
        Finite values.

    Returns
    -------
    Trend or None
        None below ten points.
    """
    n = len(x)
    if n < MIN_POINTS:
        return None
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    later, earlier = np.tril_indices(n, -1)
    slopes = np.sort((ys[later] - ys[earlier]) / (xs[later] - xs[earlier]))
    slope = float(np.median(slopes))
    deviation = ys - slope * xs
    deviation -= deviation.mean()
    power = float(deviation @ deviation)
    lag_one = float(deviation[1:] @ deviation[:-1]) / power if power > 0 else 0.0
    correlation = min(max(lag_one, 0.0), 0.95)
    tau = (1.0 + correlation) / (1.0 - correlation)
    spread = Z * np.sqrt(tau * n * (n - 1) * (2 * n + 5) / 18.0)
    last = slopes.size - 1
    low = int(np.clip(np.floor((slopes.size - spread) / 2.0), 0, last))
    high = int(np.clip(np.ceil((slopes.size + spread) / 2.0), 0, last))
    return Trend(slope=slope, low=float(slopes[low]), high=float(slopes[high]))
