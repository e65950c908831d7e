"""How many independent samples a run of dependent ones is worth.

The variance of a mean of ``n`` stationary samples is ``tau / n`` times that of one sample, with
the integrated autocorrelation time ``tau = 1 + 2 * sum(rho_k)``; so the effective size is
``n / tau``. The sum is cut by the initial positive sequence estimator of C. J. Geyer, *Practical
Markov Chain Monte Carlo*, Statistical Science 7 (1992) 473-483, section 3.3: pairs
``rho_2k + rho_2k+1`` are added for as long as they are positive.

Four choices keep it on the careful side:

- ``tau`` is never below 1: alternation is not paid as extra samples.
- Taking the sample mean away hides slow correlation: it lowers every ``rho_k`` by about
  ``tau / n``. That share is added back over the window.
- ``tau`` is itself uncertain, by ``sqrt(2 (2 W + 1) / n)`` of its value for a window of ``W`` lags
  (A. Sokal, *Monte Carlo Methods in Statistical Mechanics*, 1996, equation 3.19); a margin of that
  size is added.
- What counts for a bound on a quantile is the dependence of "this call is among the slowest", not
  that of the times: a slow drift of the median leaves the tail alone, and a burst in the tail
  hardly shows in the times. So the indicators of several tails around the quantile's own are
  looked at (7.5 %, 5 %, 2.5 % and 1.25 % for P95), and the largest ``tau`` counts. The wider one
  sees slow waves in short runs; the narrower ones are there because a run that happens to hold
  few bursts looks good and independent at the same time.

``python -m tests.bench.gate_error`` measures what comes of these choices.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft

Floats = npt.NDArray[np.float64]
MIN_FOR_TAU = 8
# Tails to look at, as fractions of the quantile's own, and how many samples a tail must hold.
TAILS = (1.5, 1.0, 0.5, 0.25)
MIN_TAIL = 4
MARGIN = 1.5


def autocorrelation_times(series: Floats) -> Floats:
    """Estimate the integrated autocorrelation times of several series, with a margin.

    Parameters
    ----------
    series : ndarray of float64, shape (m, n)
        Finite values, each row in the order of measurement.

    Returns
    -------
    ndarray of float64, shape (m,)
        ``tau`` of each row plus `MARGIN` standard errors, at least 1 and at most ``n``; 1 for a
        constant row and for fewer than eight columns, where nothing can be estimated.
    """
    rows, n = series.shape
    if n < MIN_FOR_TAU:
        return np.ones(rows)
    length = fft.next_fast_len(2 * n, real=True)
    spectrum = fft.rfft(series - series.mean(axis=1, keepdims=True), length)
    covariance = fft.irfft(spectrum.real**2 + spectrum.imag**2, length)[:, :n]
    variance = covariance[:, :1].copy()
    constant = variance[:, 0] <= n * np.finfo(np.float64).eps * np.square(series).max(axis=1)
    variance[constant] = 1.0
    # Divide by the number of pairs, not by n: the estimate must not shrink with the lag.
    rho = covariance / np.arange(n, 0, -1) / (variance / n)
    usable = (n // 2) // 2 * 2
    pairs = rho[:, :usable:2] + rho[:, 1:usable:2]
    ended = np.logical_or.accumulate(pairs <= 0.0, axis=1)
    kept = np.count_nonzero(~ended, axis=1)
    tau = np.maximum(1.0, 2.0 * np.where(ended, 0.0, pairs).sum(axis=1) - 1.0)
    window = 2.0 * kept
    tau *= 1.0 + 2.0 * window / n + MARGIN * np.sqrt((4.0 * window + 2.0) / n)
    tau[constant] = 1.0
    return np.asarray(np.minimum(tau, n), dtype=np.float64)


def midranks(values: Floats) -> Floats:
    """Give each value its rank, equal values their common middle rank (from 0.5 upwards)."""
    ordered = np.sort(values)
    left = np.searchsorted(ordered, values, "left")
    return (left + np.searchsorted(ordered, values, "right")) / 2.0


def effective_size(
    values: Floats, *, quantile: float = 0.95, processes: npt.NDArray[np.intp] | None = None
) -> float:
    """Estimate the effective number of samples behind a sample quantile.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        Finite values in the order of their measurement.
    quantile : float
        The quantile of interest, between 0 and 1.
    processes : ndarray of int, shape (n,), optional
        The process that each value comes from. The series is then also looked at process by
        process, so that what differs between processes counts as dependence.

    Returns
    -------
    float
        Between 1 and ``n`` (0 for no values). Invariant under any increasing transformation of
        the values.
    """
    n = values.size
    if n == 0:
        return 0.0
    ranks = midranks(values)
    series = []
    for fraction in TAILS:
        tail = int((1.0 - quantile) * fraction * n + 1e-9)
        if tail >= MIN_TAIL or fraction == 1.0:
            series.append((ranks >= n - tail).astype(np.float64))
    rows = np.stack(series)
    if processes is not None and np.ptp(processes) > 0:
        rows = np.concatenate([rows, rows[:, np.argsort(processes, kind="stable")]])
    return n / float(autocorrelation_times(rows).max())
