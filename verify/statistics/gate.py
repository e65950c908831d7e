"""The gate: the P95 is within the budget, or beyond it, or the samples leave it open."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..errors import VerifyError
from .bounds import Bounds, bounds_of, envelope
from .quantile import at_least, sample_quantile, smallest_sample
from .stability import Instability, find_instability

Floats = npt.NDArray[np.float64]
NS_PER_MS = 1e6
# A share closer to the quantile than half its standard error does not even show the direction.
DIRECTION_SHOWN = 0.5
MOST_SAMPLES = 2_000_000


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the samples say about a quantile and its budget; every time in milliseconds.

    Parameters
    ----------
    status : {"passed", "failed", "inconclusive"}
        Passed when the upper bound is within the budget, failed when the lower bound is beyond
        it, else inconclusive.
    p50, p95, p99 : float or None
        Sample quantiles (order statistics); ``p95`` is the quantile that was judged. None
        without usable samples.
    upper_bound, lower_bound : float or None
        One-sided confidence bounds on the judged quantile; None where there is none. Of an
        unstable measurement, those of its slowest and its fastest part.
    n : int
        Number of samples.
    n_effective : float
        What they are worth after correction for autocorrelation; of an unstable measurement,
        that of the part with the fewest.
    more_samples : int or None
        For an inconclusive judgement, about how many more samples would settle it; None when
        the samples do not say.
    reason : str
        One sentence for a person.
    instability : tuple of Instability
        What makes the measurement unstable; empty for a stable one.
    """

    status: Literal["passed", "failed", "inconclusive"]
    p50: float | None
    p95: float | None
    p99: float | None
    upper_bound: float | None
    lower_bound: float | None
    n: int
    n_effective: float
    more_samples: int | None
    reason: str
    instability: tuple[Instability, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the samples show before any budget is looked at; see `weigh`.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        Milliseconds in the order of measurement.
    ordered : ndarray of float64, shape (n,)
        The same, sorted.
    bounds : Bounds
        The bounds to judge by: of the whole, or of its slowest and fastest part.
    instability : tuple of Instability
        Empty for a stable measurement.
    quantile, confidence : float
        The levels.
    min_samples, fewest : int
        The policy's and the statistics' own least number of samples.
    """

    values: Floats
    ordered: Floats
    bounds: Bounds
    instability: tuple[Instability, ...]
    quantile: float
    confidence: float
    min_samples: int
    fewest: int

    def judge(self, budget_ms: float) -> Judgement:
        """Judge against a budget in milliseconds; the rules are those of `judge_p95`."""
        _check_budget(budget_ms)
        values, bounds = self.values, self.bounds
        if values.size == 0:
            return _without_numbers(0, max(self.fewest, self.min_samples), "There are no samples.")
        unusable = int(np.count_nonzero(~np.isfinite(values) | (values < 0)))
        if unusable:
            return _without_numbers(
                values.size,
                None,
                f"{unusable} of {values.size} samples are no durations (not finite, or negative).",
            )
        status, reason = _decide(self, budget_ms)
        more: int | None = None
        if status == "inconclusive":
            more = _more_samples(self, budget_ms)
            reason = f"{reason} {_advice(more)}"
        return Judgement(
            status=status,
            p50=sample_quantile(self.ordered, 0.5),
            p95=sample_quantile(self.ordered, self.quantile),
            p99=sample_quantile(self.ordered, 0.99),
            upper_bound=bounds.upper,
            lower_bound=bounds.lower,
            n=values.size,
            n_effective=bounds.effective,
            more_samples=more,
            reason=reason,
            instability=self.instability,
        )


def early(confidence: float) -> float:
    """Return the confidence that a measurement needs to end before its last sample.

    A bound that is looked at again and again until it lies well is wrong more often than once.
    A fifth of the error at each look but the last keeps the whole near its nominal level (J. L.
    Haybittle, British Journal of Radiology 44 (1971) 793-797); ``nox -s bench -- --looks 5``
    measures it.
    """
    return 1.0 - (1.0 - confidence) / 5.0


def judge_p95(
    values_ns: Sequence[float] | npt.NDArray[np.generic],
    *,
    budget_ms: float,
    min_samples: int,
    confidence: float = 0.95,
    quantile: float = 0.95,
    processes: Sequence[Hashable] | None = None,
) -> Judgement:
    """Judge a latency quantile against a budget.

    Parameters
    ----------
    values_ns : sequence of float, shape (n,)
        Every sample in nanoseconds, in the order of measurement, without warm-ups.
    budget_ms : float
        The budget in milliseconds, above 0.
    min_samples : int
        Fewer samples than this are inconclusive, whatever they say.
    confidence : float
        One-sided confidence of both bounds, in (0, 1).
    quantile : float
        The quantile to judge, in (0, 1).
    processes : sequence of hashable, shape (n,), optional
        A label of the process that measured each sample.

    Returns
    -------
    Judgement
        ``passed`` if the upper bound is at most the budget, ``failed`` if the lower bound is
        above it, else ``inconclusive``. A measurement that drifted, or whose processes differ,
        passes or fails only if each of its parts does so alone.

    Raises
    ------
    VerifyError
        If the budget is not a positive number, a level lies outside of (0, 1), or `processes`
        has another length than `values_ns`.
    """
    _check_budget(budget_ms)
    return weigh(
        values_ns,
        min_samples=min_samples,
        confidence=confidence,
        quantile=quantile,
        processes=processes,
    ).judge(budget_ms)


def weigh(
    values_ns: Sequence[float] | npt.NDArray[np.generic],
    *,
    min_samples: int,
    confidence: float = 0.95,
    quantile: float = 0.95,
    processes: Sequence[Hashable] | None = None,
) -> Evidence:
    """Compute bounds, effective size and stability, so that several budgets can be judged.

    Parameters and errors are those of `judge_p95`.
    """
    fewest = smallest_sample(quantile=quantile, confidence=confidence)
    values = np.asarray(values_ns, dtype=np.float64).ravel() / NS_PER_MS
    labels = _labels(processes, values.size)
    bounds = Bounds(upper=None, lower=None, effective=0.0)
    instability: tuple[Instability, ...] = ()
    if values.size and np.isfinite(values).all():
        instability = find_instability(values, quantile=quantile, processes=labels)
        parts = [part for split in instability for part in split.parts]
        if parts:
            bounds = envelope(
                [bounds_of(values[part], None, quantile, confidence) for part in parts]
            )
        else:
            bounds = bounds_of(values, labels, quantile, confidence)
    return Evidence(
        values=values,
        ordered=np.sort(values),
        bounds=bounds,
        instability=instability,
        quantile=quantile,
        confidence=confidence,
        min_samples=min_samples,
        fewest=fewest,
    )


def _check_budget(budget_ms: float) -> None:
    if not (math.isfinite(budget_ms) and budget_ms > 0):
        raise VerifyError(
            f"The latency budget must be a positive number of milliseconds, but it is {budget_ms}.",
            hint="Correct latency_p95_ms in the policy file.",
        )


def _labels(processes: Sequence[Hashable] | None, n: int) -> npt.NDArray[np.intp] | None:
    if processes is None:
        return None
    if len(processes) != n:
        raise VerifyError(
            f"There are {n} latency samples but {len(processes)} process labels.",
            hint="The samples file is damaged: measure again.",
        )
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in processes], dtype=np.intp)


def _without_numbers(n: int, more: int | None, reason: str) -> Judgement:
    return Judgement(
        status="inconclusive",
        p50=None,
        p95=None,
        p99=None,
        upper_bound=None,
        lower_bound=None,
        n=n,
        n_effective=0.0,
        more_samples=more,
        reason=reason,
    )


def _decide(
    evidence: Evidence, budget_ms: float
) -> tuple[Literal["passed", "failed", "inconclusive"], str]:
    bounds, n = evidence.bounds, evidence.values.size
    unstable = " and ".join(split.describe() for split in evidence.instability)
    of_each = f", in each part alone ({unstable})" if unstable else ""
    if n < evidence.min_samples:
        return "inconclusive", (
            f"Too few samples: {n} of the {evidence.min_samples} that the policy asks for."
        )
    if bounds.effective < evidence.fewest:
        whose = f" in the smallest part ({unstable})" if unstable else ""
        return "inconclusive", (
            f"Too few independent samples: {n} are worth only {bounds.effective:.0f}{whose}, and "
            f"a bound needs {evidence.fewest}."
        )
    if bounds.upper is not None and bounds.upper <= budget_ms:
        return "passed", (
            f"The upper bound of {bounds.upper:.2f} ms is within {budget_ms:g} ms{of_each}."
        )
    if bounds.lower is not None and bounds.lower > budget_ms:
        return "failed", (
            f"The lower bound of {bounds.lower:.2f} ms is beyond {budget_ms:g} ms{of_each}."
        )
    if unstable:
        return "inconclusive", f"Too noisy to tell: {unstable}, and the parts do not agree."
    return "inconclusive", f"The bounds enclose the budget of {budget_ms:g} ms."


def _more_samples(evidence: Evidence, budget_ms: float) -> int | None:
    """Estimate the missing samples, on the assumption that the share within the budget stays."""
    n, effective = evidence.values.size, evidence.bounds.effective
    missing = evidence.min_samples - n
    if evidence.instability:
        # More of an unstable measurement need not make it stable: only a plain lack is reported.
        return missing if missing > 0 else None
    quantile, alpha = evidence.quantile, 1.0 - evidence.confidence
    tau = n / effective
    share = float(np.count_nonzero(evidence.values <= budget_ms)) / n
    error = math.sqrt(quantile * (1.0 - quantile) / effective)
    if abs(share - quantile) < DIRECTION_SHOWN * error:
        return None

    def settled(size: float) -> bool:
        if share > quantile:
            return at_least(share * size, size, quantile) <= alpha
        return 1.0 - at_least(share * size + 1.0, size, quantile) <= alpha

    size = max(float(evidence.fewest), effective)
    while not settled(size):
        size *= 1.05
        if size * tau > MOST_SAMPLES:
            return None
    return max(1, math.ceil(size * tau) - n, missing)


def _advice(more: int | None) -> str:
    if more is None:
        return "How many more samples would settle it cannot be told from these."
    return f"About {more} more samples would settle it."
