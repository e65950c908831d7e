"""Latency samples of a document as arrays in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .document import Document, LatencySeries

STAGES = ("tokenise", "tensors", "inference", "pool", "normalise")
_NANOSECONDS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}
_WORKLOADS = ("mix", "worst")

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One latency series of ``verify.json``.

    Parameters
    ----------
    name, role, provider, precision, workload : str
        As in the document.
    values : ndarray of float64 [n]
        Milliseconds per call, in the order measured.
    process : ndarray of int64 [n]
        Which process made the call.
    tokens : ndarray of int64 [n]
        Tokens of each call's text.
    warmup : ndarray of float64 [m]
        Warm-up calls, milliseconds.
    bound : float or None
        Upper confidence bound of the P95, milliseconds.
    stages : Mapping[str, ndarray of float64]
        Milliseconds per stage and call.
    """

    name: str
    role: str
    provider: str
    precision: str
    workload: str
    values: Array
    process: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int64]
    warmup: Array
    bound: float | None
    stages: Mapping[str, Array] = field(default_factory=dict)

    @property
    def processes(self) -> int:
        """Number of processes that took part."""
        return int(np.unique(self.process).size)

    def quantile(self, q: float) -> float:
        """Return the order statistic at ``q`` (inverse of the empirical distribution), in ms."""
        return float(np.quantile(self.values, q, method="inverted_cdf"))


def nanoseconds(series: LatencySeries) -> Array:
    """Return the time of each call, shape (n,)."""
    return np.asarray(series.values, dtype=np.float64) * _NANOSECONDS[series.unit]


def latency_series(document: Document) -> tuple[Series, ...]:
    """Return every latency series that holds at least one sample."""
    return tuple(_series(entry) for entry in document.samples.latency if entry.values)


def gate_series(series: Sequence[Series], named: str = "") -> tuple[Series, ...]:
    """Pick the series that the gate judges: one provider and precision, each workload.

    They are the candidate's; CoreML before the CPU, fp32 before fp16. The judged one, which the
    check ``latency.p95`` may have named, comes first, then the worst case. Series that took turns
    with others are left out.
    """
    candidates = [one for one in series if one.role == "candidate"] or list(series)
    if not candidates:
        return ()
    first = next((one for one in candidates if named and one.name == named), None)
    if first is None:
        first = min(candidates, key=lambda one: (one.provider != "coreml", one.precision != "fp32"))
    same = [
        one
        for one in candidates
        if (one.provider, one.precision) == (first.provider, first.precision)
        and (one is first or one.workload in _WORKLOADS)
    ]
    return tuple(sorted(same, key=lambda one: (one.name != named, _rank(one.workload), one.name)))


def _rank(workload: str) -> int:
    return _WORKLOADS.index(workload) if workload in _WORKLOADS else len(_WORKLOADS)


def _series(entry: LatencySeries) -> Series:
    scale = _NANOSECONDS[entry.unit] / _NANOSECONDS["ms"]
    known = [name for name in STAGES if name in entry.stages]
    order = [*known, *sorted(set(entry.stages) - set(known))]
    return Series(
        name=entry.series,
        role=entry.role,
        provider=entry.provider,
        precision=entry.precision,
        workload=entry.workload,
        values=np.asarray(entry.values, dtype=np.float64) * scale,
        process=np.asarray(entry.process, dtype=np.int64),
        tokens=np.asarray(entry.tokens, dtype=np.int64),
        warmup=np.asarray(entry.warmup, dtype=np.float64) * scale,
        bound=entry.p95_upper_ms,
        stages={name: np.asarray(entry.stages[name], dtype=np.float64) * scale for name in order},
    )
