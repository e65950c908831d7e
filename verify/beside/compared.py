"""Measure every side in one interleaved run, once it has shown that it computes the same."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..environment.context import TargetContext
from ..errors import VerifyError
from ..latency.machine import Machine
from ..latency.series import Plan, SeriesSamples, SeriesSpec, measure
from ..own_model.timing import summary
from ..sentence import Say
from ..statistics.ratio import RatioInterval, ratio_interval
from .engines import Load
from .sides import OFFICIAL, OURS, Side

MOST_SLOWER = 1.02
"""Median of ours over that of the official wheel of the same version, on the same graph."""
LOADS = (Load(tokens=128), Load(), Load(batch=32))
_CALLS = dict(zip((load.name for load in LOADS), (12, 60, 6), strict=True))
_STARTS = 5
_SECONDS = 600.0


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One load of one side; times in ms for a whole call, bounds one-sided at 95 %.

    ``ours`` is the median of ours in fp32 over this side's, with its interval.
    """

    p50: float
    p95: float
    p95_low: float | None
    p95_high: float | None
    calls: int
    texts_per_second: float
    ours: RatioInterval


@dataclass(frozen=True, kw_only=True)
class Row:
    """One side: why it was not measured, or its ``facts`` (`engines.begin`) and times."""

    title: str
    precision: str
    missing: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    loads: Mapping[str, Timed] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All rows of one run, and what else the machine did meanwhile."""

    encoder: str
    rows: tuple[Row, ...]
    machine: Machine | None

    def goal(self, load: str) -> tuple[str, str]:
        """Say in a word whether ours is as fast as the official wheel, and by what."""
        row = next(row for row in self.rows if row.title == OFFICIAL.title)
        if load not in row.loads:
            return "not measured", row.missing
        found = row.loads[load].ours
        if found.ratio is None or found.low is None or found.high is None:
            return "open", found.reason
        state = "missed" if found.low > MOST_SLOWER else "open"
        state = "held" if found.high <= MOST_SLOWER else state
        return state, f"{found.ratio:.3f} ({found.low:.3f} to {found.high:.3f})"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        goals = {load.name: self.goal(load.name) for load in LOADS}
        return {**asdict(self), "most_slower": MOST_SLOWER, "goals": goals}


def compare(
    context: TargetContext,
    sides: Sequence[Side],
    missing: Mapping[str, str],
    folder: Path,
    *,
    rounds: int,
    say: Say,
) -> Comparison:
    """Start each side, hold its vectors beside the references, and measure those that are right.

    The context has an environment for each role that is not in ``missing``, which says why. The
    sides are in the order of the rows, ours among them; the folder is that of :func:`.hub_folder`.
    In each round every side gets a block of calls in each of two processes.

    Raises
    ------
    VerifyError
        When ours cannot be measured.
    """
    rows = {
        side: Row(title=side.title, precision=side.precision, missing=missing.get(side.role, ""))
        for side in sides
    }
    _begin(context, rows, folder, say)
    if rows[OURS].missing:
        raise VerifyError(f"Ours could not be measured: {rows[OURS].missing}.")
    right = [side for side in sides if not rows[side].missing]
    samples = measure(
        context,
        Plan(
            series=tuple(
                SeriesSpec(target=side.role, precision=side.precision, workload=load.name)
                for side in right
                for load in LOADS
            ),
            processes=2,
            rounds=rounds,
            least=rounds,
            calls=_CALLS,
            sampler=".beside.engines:serve",
            payload={"folder": str(folder)},
        ),
        say=say,
    )
    of = {(each.spec.target, each.spec.precision, each.spec.workload): each for each in samples}
    for side in right:
        loads = {
            load.name: timed(
                of[side.role, side.precision, load.name],
                of[OURS.role, OURS.precision, load.name],
                load.batch,
            )
            for load in LOADS
        }
        rows[side] = replace(rows[side], loads=loads)
    return Comparison(
        encoder=context.encoder.name, rows=tuple(rows.values()), machine=samples[0].machine
    )


def timed(samples: SeriesSamples, ours: SeriesSamples, batch: int) -> Timed:
    """Sum a series up, beside ours of the same load."""
    found = summary(samples)
    return Timed(
        p50=found.p50 or 0.0,
        p95=found.p95 or 0.0,
        p95_low=found.lower_bound,
        p95_high=found.upper_bound,
        calls=found.n,
        texts_per_second=batch * len(samples.values) / (sum(samples.values) / 1e9),
        ours=ratio_interval(ours.blocks(), samples.blocks()),
    )


def _begin(context: TargetContext, rows: dict[Side, Row], folder: Path, say: Say) -> None:
    """Start each side several times in turns; the last time it embeds the references as well."""
    starts: dict[Side, list[tuple[float, float]]] = {side: [] for side in rows}
    limits = context.policy.limits
    for number in range(_STARTS):
        say(f"start {number + 1} of {_STARTS}")
        for side in [*rows][:: 1 if number % 2 else -1]:
            if rows[side].missing:
                continue
            begun = time.perf_counter()
            payload = {"folder": str(folder), "precision": side.precision}
            with context.worker(".beside.engines:begin", payload, role=side.role) as worker:
                answer = worker.answer(_SECONDS)
                took = (time.perf_counter() - begun) * 1e3
                if not answer.failure:
                    starts[side].append((took, answer.value["import_ms"]))
                    answer = worker.ask(None, _SECONDS) if number == _STARTS - 1 else answer
            if answer.failure:
                rows[side] = replace(rows[side], missing=f"it failed: {answer.sentence}")
            elif number == _STARTS - 1:
                start, imported = np.median(np.array(starts[side]), axis=0)
                facts = {"start_ms": start, "import_ms": imported, **answer.value}
                exact = side.precision == "fp32"
                least = limits.min_cosine if exact else limits.agreement_min_cosine
                wrong = f"wrong: worst cosine below {least:g}" if facts["worst"] < least else ""
                rows[side] = replace(rows[side], facts=facts, missing=wrong)
