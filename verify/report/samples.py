"""Latency samples of a document as arrays in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .text import is_number

STAGES = ("tokenise", "tensors", "inference", "pool", "normalise")
_MILLISECONDS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
_WORKLOADS = ("mix", "worst")

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One latency series of ``verify.json``.

    Parameters
    ----------
    name, role, provider, precision, workload : str
        As in the document; empty where it says nothing.
    values : ndarray of float64 [n]
        Milliseconds per call, in the order measured.
    process : ndarray of int64 [n]
        Which process made the call.
    tokens : ndarray of int64 [n]
        Tokens of each call's text; zeros where the document does not say.
    warmup : ndarray of float64 [m]
        Warm-up calls, milliseconds.
    stages : Mapping[str, ndarray of float64]
        Milliseconds per stage and call.
    """

    name: str
    role: str = ""
    provider: str = ""
    precision: str = ""
    workload: str = ""
    values: Array
    process: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int64]
    warmup: Array
    stages: Mapping[str, Array] = field(default_factory=dict)

    @property
    def processes(self) -> int:
        """Number of processes that took part."""
        return int(np.unique(self.process).size)

    def quantile(self, q: float) -> float:
        """Return the order statistic at ``q`` (inverse of the empirical distribution), in ms."""
        return float(np.quantile(self.values, q, method="inverted_cdf"))


def latency_series(document: Mapping[str, Any]) -> tuple[Series, ...]:
    """Read every latency series that holds at least one usable sample.

    Values that are no finite numbers are left out together with their process; a document
    without samples gives an empty tuple.
    """
    samples = document.get("samples")
    entries = samples.get("latency") if isinstance(samples, Mapping) else None
    found = [_series(entry) for entry in _list(entries) if isinstance(entry, Mapping)]
    return tuple(series for series in found if series.values.size)


def gate_series(series: Sequence[Series], named: str = "") -> tuple[Series, ...]:
    """Pick the series that the gate judges: one provider and precision, each workload.

    Parameters
    ----------
    series : sequence of Series
        All of a document's series.
    named : str
        The series that the check ``latency.p95`` names, if it does.

    Returns
    -------
    tuple of Series
        The candidate's series; CoreML before the CPU, fp32 before fp16. The judged one comes
        first, then the worst case. Series that took turns with others are left out.
    """
    candidates = [one for one in series if one.role in ("candidate", "")] or list(series)
    if not candidates:
        return ()
    first = next((one for one in candidates if named and one.name == named), None)
    if first is None:
        first = min(
            candidates,
            key=lambda one: (one.provider != "coreml", one.precision != "fp32"),
        )
    same = [
        one
        for one in candidates
        if (one.provider, one.precision) == (first.provider, first.precision)
        and (one is first or one.workload in _WORKLOADS)
    ]
    return tuple(sorted(same, key=lambda one: (one.name != named, _rank(one.workload), one.name)))


def _rank(workload: str) -> int:
    return _WORKLOADS.index(workload) if workload in _WORKLOADS else len(_WORKLOADS)


def _series(entry: Mapping[str, Any]) -> Series:
    scale = _MILLISECONDS.get(str(entry.get("unit", "ns")), 1e-6)
    raw = _list(entry.get("values"))
    keep = [index for index, value in enumerate(raw) if is_number(value)]
    process, tokens = _list(entry.get("process")), _list(entry.get("tokens"))
    stages = entry.get("stages")
    known = {
        str(stage): _array(values, scale)
        for stage, values in (stages.items() if isinstance(stages, Mapping) else ())
    }
    order = [stage for stage in STAGES if stage in known] + sorted(set(known) - set(STAGES))
    return Series(
        name=str(entry.get("series") or "unnamed"),
        role=str(entry.get("role") or ""),
        provider=str(entry.get("provider") or ""),
        precision=str(entry.get("precision") or ""),
        workload=str(entry.get("workload") or ""),
        values=_array([raw[index] for index in keep], scale),
        process=np.array([_whole(process, index) for index in keep], dtype=np.int64),
        tokens=np.array([_whole(tokens, index) for index in keep], dtype=np.int64),
        warmup=_array(_list(entry.get("warmup")), scale),
        stages={stage: known[stage] for stage in order if known[stage].size},
    )


def _whole(values: Sequence[Any], index: int) -> int:
    return int(values[index]) if index < len(values) and is_number(values[index]) else 0


def _array(values: Any, scale: float) -> Array:
    return np.array([float(v) for v in _list(values) if is_number(v)], dtype=np.float64) * scale


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
