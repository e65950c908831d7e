"""Latency against tokens and batch, throughput against threads, and where each curve bends."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..encoder.prepared.choice import Precision
from ..environment.context import TargetContext
from ..latency.series import Plan, SeriesSpec, measure
from ..sentence import Say
from .engines import Load

TOKENS = (8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
NEAR = 0.95
"""A curve has bent where its rate is this share of its best."""
_BLOCK_TOKENS, _MOST_CALLS = 1500, 20


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One form along one axis: medians and P95 of a call in ms, rates in thousand tokens/s."""

    axis: str
    form: str
    held: str
    x: tuple[int, ...]
    p50: tuple[float, ...]
    p95: tuple[float, ...]
    rate: tuple[float, ...]

    @property
    def bends(self) -> tuple[int, int]:
        """The first and the last x whose rate is near the best one."""
        best = NEAR * max(self.rate)
        near = [x for x, rate in zip(self.x, self.rate, strict=True) if rate >= best]
        return near[0], near[-1]

    @property
    def words(self) -> str:
        """Where it bends."""
        first, last = self.bends
        return (
            f"{self.form}: best {max(self.rate):.1f} thousand tokens/s, within 5 % of it from "
            f"{first} to {last}; {self.rate[0]:.1f} at {self.x[0]}, {self.rate[-1]:.1f} at "
            f"{self.x[-1]}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "bends": self.bends}


def places(tokens: int, max_length: int, cores: int) -> dict[str, dict[int, Load]]:
    """Return the loads along each axis by x; threads go beyond the cores, with 8 texts a call."""
    one, eight = Load(tokens=tokens), Load(tokens=tokens, batch=8)
    threads = sorted({*range(1, cores + 2), 2 * cores, 4 * cores})
    return {
        "tokens": {x: Load(tokens=x) for x in TOKENS if x <= max_length},
        "batch": {x: replace(one, batch=x) for x in BATCHES},
        "threads": {x: replace(eight, threads=x) for x in threads},
    }


def measure_curves(
    context: TargetContext, forms: Sequence[Precision], *, tokens: int, rounds: int, say: Say
) -> tuple[Curve, ...]:
    """Measure all curves in one interleaved run, with one process for each form.

    ``tokens`` is the length of the texts along the axes of batch and threads, ``rounds`` how many
    blocks of calls there are at each place.

    Raises
    ------
    VerifyError
        When a form cannot be made or run.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    axes = places(tokens, context.encoder.max_length, cores or 1)
    loads = {load.name: load for along in axes.values() for load in along.values()}
    samples = measure(
        context,
        Plan(
            series=tuple(
                SeriesSpec(target="candidate", precision=form, workload=name)
                for form in forms
                for name in loads
            ),
            processes=1,
            rounds=rounds,
            least=rounds,
            settle=1,
            calls={name: calls(load) for name, load in loads.items()},
            sampler=".beside.engines:serve",
            # A batch is one run here; the Embedder's own limit stands at 256 padded tokens.
            payload={"session": {"batch_size": 10**6, "batch_tokens": 10**9}},
        ),
        say=say,
    )
    of = {(each.spec.precision, each.spec.workload): each for each in samples}
    held = {"tokens": "one text", "batch": f"{tokens} tokens each"}
    found = []
    for axis, along in axes.items():
        for form in forms:
            series = [of[form, load.name] for load in along.values()]
            p50, p95 = (
                tuple(float(np.quantile(each.values, quantile)) / 1e6 for each in series)
                for quantile in (0.5, 0.95)
            )
            rate = tuple(each.tokens[0] / time for each, time in zip(series, p50, strict=True))
            told = held.get(axis, f"8 texts of {tokens} tokens")
            found.append(
                Curve(axis=axis, form=form, held=told, x=(*along,), p50=p50, p95=p95, rate=rate)
            )
    return tuple(found)


def calls(load: Load) -> int:
    """Return the calls in a block: every place is to cost about the same time."""
    return max(1, min(_MOST_CALLS, _BLOCK_TOKENS // (load.tokens * load.batch)))
