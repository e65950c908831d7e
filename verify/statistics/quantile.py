"""Distribution-free confidence bounds on a quantile, by order statistics.

The number of samples at or below the true ``p`` quantile is binomial, whatever the distribution.
So the order statistic of rank ``k`` is an upper confidence bound when
``P(Binomial(n, p) >= k) <= 1 - confidence``, and a lower one when
``P(Binomial(n, p) <= k - 1) <= 1 - confidence``. Source: H. A. David and H. N. Nagaraja, *Order
Statistics*, 3rd edition (2003), section 7.1; W. J. Conover, *Practical Nonparametric Statistics*,
3rd edition (1999), section 3.2. ``scipy.stats.quantile_test`` gives the same bounds for
independent samples.

Dependent samples are worth fewer: with an effective size ``m < n`` the count behaves like
``n / m`` times a binomial of size ``m``. ``m`` is rarely whole, so the binomial tail is written
as the regularised incomplete beta function, which equals it at whole numbers and joins them
smoothly.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import special

from ..errors import VerifyError

Floats = npt.NDArray[np.float64]


def smallest_sample(*, quantile: float = 0.95, confidence: float = 0.95) -> int:
    """Give the smallest sample that has an upper confidence bound on the quantile at all.

    Parameters
    ----------
    quantile, confidence : float
        Both strictly between 0 and 1.

    Returns
    -------
    int
        59 for P95 at 95 %: ``0.95 ** 59`` is the first power below 0.05.

    Raises
    ------
    VerifyError
        If an argument lies outside of (0, 1).
    """
    _check(quantile, confidence)
    return max(1, math.ceil(math.log(1.0 - confidence) / math.log(quantile) - 1e-12))


def upper_rank(
    n: int, *, quantile: float = 0.95, confidence: float = 0.95, effective: float | None = None
) -> int | None:
    """Give the rank of the order statistic that bounds the quantile from above.

    Parameters
    ----------
    n : int
        Number of samples.
    quantile, confidence : float
        Both strictly between 0 and 1.
    effective : float, optional
        Effective number of samples, at most `n`; `n` when left out.

    Returns
    -------
    int or None
        Rank between 1 and `n` (1 is the smallest sample), or None when there are too few
        effective samples for any bound.

    Raises
    ------
    VerifyError
        If `quantile` or `confidence` lies outside of (0, 1).
    """
    _check(quantile, confidence)
    size = _size(n, effective)
    if n < 1 or size < smallest_sample(quantile=quantile, confidence=confidence):
        return None
    alpha = 1.0 - confidence
    low, high = 0, n  # invariant: rank `high` is far enough, rank `low` is not
    while high - low > 1:
        middle = (low + high) // 2
        if at_least(size * middle / n, size, quantile) <= alpha:
            high = middle
        else:
            low = middle
    return high


def lower_rank(
    n: int, *, quantile: float = 0.95, confidence: float = 0.95, effective: float | None = None
) -> int | None:
    """Give the rank of the order statistic that bounds the quantile from below.

    Parameters, errors and the meaning of None are those of `upper_rank`.
    """
    _check(quantile, confidence)
    size = _size(n, effective)
    if n < 1 or size < 1.0:
        return None
    alpha = 1.0 - confidence
    low, high = 0, n + 1  # invariant: rank `low` is low enough, rank `high` is not
    while high - low > 1:
        middle = (low + high) // 2
        # `middle - 1` samples or fewer at or below the quantile, in units of effective samples.
        if 1.0 - at_least(size * (middle - 1) / n + 1.0, size, quantile) <= alpha:
            low = middle
        else:
            high = middle
    return low or None


def sample_quantile(ordered: Floats, quantile: float) -> float:
    """Give the sample quantile as an order statistic, without interpolation.

    Parameters
    ----------
    ordered : ndarray of float64, shape (n,)
        Sorted ascending, n at least 1.
    quantile : float
        Strictly between 0 and 1.

    Returns
    -------
    float
        The smallest sample with at least ``quantile * n`` samples at or below it: always a value
        that was measured.
    """
    rank = max(1, math.ceil(quantile * ordered.size - 1e-9))
    return float(ordered[min(rank, ordered.size) - 1])


def at_least(count: float, size: float, quantile: float) -> float:
    """Give P(Binomial(size, quantile) >= count), joined smoothly between whole numbers."""
    if count <= 0.0:
        return 1.0
    if count >= size + 1.0:
        return 0.0
    return float(special.betainc(count, size - count + 1.0, quantile))


def _size(n: int, effective: float | None) -> float:
    return float(n) if effective is None else min(float(effective), float(n))


def _check(quantile: float, confidence: float) -> None:
    for name, value in (("quantile", quantile), ("confidence", confidence)):
        if not 0.0 < value < 1.0:
            raise VerifyError(
                f"The {name} of a latency bound must lie between 0 and 1, but it is {value}.",
                hint="Correct the limits in the policy file, for example 0.95.",
            )
