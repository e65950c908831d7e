"""Measure latency in several processes and environments that take turns.

The host starts one process (`verify.latency.sampler_inside`) per series and slot and asks them in
turn for a block of calls each; only one works at a time. A slow minute of the machine thus meets
all series alike, and a process with an unlucky memory layout is one among several.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from ..encoder.prepared.choice import Precision
from ..encoder.settings import Tuning
from ..environment.channel import Answer, Worker, call
from ..environment.context import Provider, Role, TargetContext
from ..errors import VerifyError
from ..sentence import Say
from .calibration import CalibrationProcess
from .interference import Conditions
from .machine import Counters, Machine, between, others_share, read_counters, stolen_share

SAMPLER = ".latency.sampler_inside:serve"
START_SECONDS = 180.0
BLOCK_SECONDS = 300.0
_ORDER_SEED = 7


class WorkerFailed(VerifyError):
    """A measuring process died, hung, or could not do what it was asked for."""

    title = "measuring"


@dataclass(frozen=True, kw_only=True)
class SeriesSpec:
    """One thing to measure: a workload on a provider in an environment.

    ``tuning`` is what its sessions are set to; None leaves the embedder's own default.
    """

    target: Role
    provider: Provider = "cpu"
    precision: Precision = "fp32"
    workload: str = "mix"
    tuning: Tuning | None = None

    @property
    def embedder(self) -> tuple[Role, Provider, Precision, Tuning | None]:
        """What a process is started for; it measures every workload."""
        return (self.target, self.provider, self.precision, self.tuning)

    @property
    def name(self) -> str:
        """Name of the series in ``verify.json``."""
        return f"{self.target}/{self.provider}/{self.precision}/{self.workload}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to measure, and for how long.

    Parameters
    ----------
    series : tuple of SeriesSpec
        They take turns in a new random order every second block, and back in the one after it.
    processes : int
        Processes for each environment, provider, precision and tuning.
    rounds : int
        Rounds wanted; in each, every series gets one block in every process.
    calls : Mapping[str, int]
        Calls in a block by workload; 0 (or a workload left out) means each text once.
    warmup : int
        Blocks per series and process before the first round, kept apart.
    settle : int
        Calls at the start of each block that are kept apart as warm-ups.
    least : int
        Rounds made whatever they cost.
    seconds : float
        After the `least` rounds none is begun after this time, counted from the first one.
    sampler : str
        Function that measures in the environment; by default :data:`SAMPLER`.
    payload : Mapping
        What it is given beside provider and precision.
    """

    series: tuple[SeriesSpec, ...]
    processes: int = 3
    rounds: int = 4
    least: int = 1
    calls: Mapping[str, int] = field(default_factory=dict)
    warmup: int = 1
    settle: int = 2
    seconds: float = 20.0
    sampler: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class SeriesSamples:
    """Every sample of one series, in the order of measurement; times in nanoseconds.

    ``block`` counts the blocks of this series: blocks with one number belong together in all
    series of a plan (same process slot, same texts, measured next to each other).
    """

    spec: SeriesSpec
    values: list[int] = field(default_factory=list)
    process: list[int] = field(default_factory=list)
    block: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    warmup: list[int] = field(default_factory=list)
    stages: dict[str, list[int]] = field(default_factory=dict)
    recorded: dict[str, Any] = field(default_factory=dict)
    machine: Machine | None = None

    def add(
        self, answer: Mapping[str, Any], *, slot: int, block: int, meanwhile: Mapping[str, Any]
    ) -> None:
        """Append one block's answer, and what the machine did ``meanwhile``."""
        for name, values in answer["conditions"].items():
            self.recorded.setdefault(name, []).extend(values)
        for name, value in meanwhile.items():
            self.recorded.setdefault(name, []).extend([value] * len(answer["values"]))
        self.warmup.extend(answer["warmup"])
        self.values.extend(answer["values"])
        self.tokens.extend(answer["tokens"])
        self.process.extend([slot] * len(answer["values"]))
        self.block.extend([block] * len(answer["values"]))
        for name, values in answer["stages"].items():
            self.stages.setdefault(name, []).extend(values)

    def conditions(self) -> Conditions:
        """Return what the machine did during each sample."""
        return Conditions.of(self.values, self.process, self.recorded)

    def blocks(self) -> list[list[int]]:
        """Return the samples block by block."""
        found: dict[int, list[int]] = {}
        for block, value in zip(self.block, self.values, strict=True):
            found.setdefault(block, []).append(value)
        return [found[block] for block in sorted(found)]

    def to_json(self) -> dict[str, Any]:
        """Return the series as it is in ``samples.latency`` of ``verify.json``."""
        return {
            "series": self.spec.name,
            "role": self.spec.target,
            "provider": self.spec.provider,
            "precision": self.spec.precision,
            "workload": self.spec.workload,
            "unit": "ns",
            "process": list(self.process),
            "tokens": list(self.tokens),
            "warmup": list(self.warmup),
            "values": list(self.values),
            "stages": {name: list(values) for name, values in self.stages.items()},
            "conditions": dict(self.recorded),
        }


def coreml_cannot_execute(context: TargetContext) -> str | None:
    """Say why CoreML cannot execute here, or None when it embeds a text."""
    if not context.host.startswith("macos"):
        return f"{context.host or 'this host'} has no CoreML runtime"
    spec = SeriesSpec(target="candidate", provider="coreml")
    plan = Plan(series=(spec,))
    answer = call(_sampler(context, plan, spec, "sampler-probe"), START_SECONDS)
    return answer.error.rstrip(".") or answer.failure or None


def measure(
    context: TargetContext,
    plan: Plan,
    *,
    enough: Callable[[Sequence[SeriesSamples]], bool] | None = None,
    more_seconds: float | None = None,
    say: Say | None = None,
) -> tuple[SeriesSamples, ...]:
    """Measure every series of a plan, block by block in turns; return them in the plan's order.

    After the planned rounds ``enough`` is asked with all samples so far; while it says no, rounds
    go on for at most ``more_seconds``, by default as long again as was planned. It is asked anew
    each time that there are half as many rounds more, and should want
    :func:`~verify.statistics.gate.early`'s confidence.

    Raises
    ------
    WorkerFailed
        If a process dies, hangs or cannot run its provider.
    """
    with ExitStack() as stack:
        turns = _Turns(
            plan=plan,
            workers=_start(context, plan, stack),
            samples=tuple(SeriesSamples(spec=spec) for spec in plan.series),
            generator=np.random.default_rng(_ORDER_SEED),
            calibration=stack.enter_context(CalibrationProcess(context.work)),
            begun=read_counters(),
        )
        turns.warm_up()
        more = plan.seconds if more_seconds is None else more_seconds
        began = time.monotonic()
        rounds = asked = 0
        more_until: float | None = None
        while True:
            turns.one_round(rounds)
            turns.look_around()
            rounds += 1
            now = time.monotonic()
            if say is not None:
                say(f"round {rounds}, {len(turns.samples[0].values)} samples")
            late = rounds >= plan.least and now - began >= plan.seconds
            if more_until is None and (late or rounds >= plan.rounds):
                more_until = now + more
            if more_until is None:
                continue
            if enough is None or now >= more_until:
                return turns.samples
            if 2 * rounds >= 3 * asked:
                asked = rounds
                if enough(turns.samples):
                    return turns.samples


_Key = tuple[tuple[Role, Provider, Precision, Tuning | None], int]


def _start(context: TargetContext, plan: Plan, stack: ExitStack) -> dict[_Key, Worker]:
    """Start all workers at once, then wait for each: start-up is not what is measured here."""
    workers: dict[_Key, Worker] = {}
    for slot in range(plan.processes):
        for spec in plan.series:
            key = (spec.embedder, slot)
            if key not in workers:
                kind = f"{spec.target}-{spec.provider}-{spec.precision}"
                turn = slot if spec.tuning is None else f"tuned-{len(workers)}"
                name = f"sampler-{kind}-{turn}"
                workers[key] = stack.enter_context(_sampler(context, plan, spec, name))
    for worker in workers.values():
        _value(worker.answer(START_SECONDS))
    return workers


def _sampler(context: TargetContext, plan: Plan, spec: SeriesSpec, name: str) -> Worker:
    payload = {
        **plan.payload,
        "provider": spec.provider,
        "precision": spec.precision,
        "tuning": None if spec.tuning is None else spec.tuning.to_json(),
    }
    log = context.work / "logs" / f"{name}.log"
    return context.worker(plan.sampler or SAMPLER, payload, role=spec.target, log=log)


def _value(answer: Answer) -> Any:
    if answer.failure:
        raise WorkerFailed(
            f"The measuring process {answer.failure.rstrip('.')}.",
            hint=answer.hint or "Its log says more. Is the machine overloaded?",
            context={"last lines": answer.tail},
        )
    return answer.value


@dataclass(kw_only=True)
class _Turns:
    """The processes of one measurement and what they have measured so far."""

    plan: Plan
    workers: Mapping[_Key, Worker]
    samples: tuple[SeriesSamples, ...]
    generator: np.random.Generator
    calibration: CalibrationProcess
    begun: Counters
    loop: int | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    block: int = 0
    turn: list[int] = field(default_factory=list)

    def warm_up(self) -> None:
        """Run every series in every process, and learn how many texts each workload has."""
        for series in self.samples:
            for slot in range(self.plan.processes):
                for _ in range(max(1, self.plan.warmup)):
                    answer = self._ask(series.spec, slot, {})
                    series.warmup.extend(answer["values"])
                    self.sizes[series.spec.workload] = len(answer["values"])
        self.loop = self.calibration.time().get("processor")

    def look_around(self) -> None:
        """Tell every series what the whole machine did since the start."""
        machine = between(self.begun, read_counters())
        for series in self.samples:
            series.machine = machine
            series.recorded["alone"] = machine.alone

    def one_round(self, number: int) -> None:
        """Give every series one block in every process; each round begins with another one."""
        others = others_share()
        for turn in range(self.plan.processes):
            slot = (turn + number) % self.plan.processes
            orders = {workload: self._order(workload) for workload in self.sizes}
            even = self.block % 2 == 0
            self.turn = list(self.generator.permutation(len(self.samples))) if even else self.turn
            for series in (self.samples[place] for place in self.turn[:: 1 if even else -1]):
                order = {"order": orders[series.spec.workload], "settle": self.plan.settle}
                stolen = stolen_share()
                answer = self._ask(series.spec, slot, order)
                meanwhile = {"loop": self._slower_loop(), "stolen": stolen()}
                series.add(answer, slot=slot, block=self.block, meanwhile=meanwhile)
            self.block += 1
        share = others()
        for series in self.samples:
            known = series.recorded.setdefault("others", [])
            known.extend([share] * (len(series.values) - len(known)))

    def _slower_loop(self) -> int | None:
        """Run the loop after a block; return the slower of the loops around that block, ns."""
        before, self.loop = self.loop, self.calibration.time().get("processor")
        return None if before is None or self.loop is None else max(before, self.loop)

    def _order(self, workload: str) -> list[int]:
        """Shuffle the texts; all come equally often before any comes again."""
        size = self.sizes[workload]
        calls = self.plan.calls.get(workload, 0) or size
        order: list[int] = []
        while len(order) < calls:
            order.extend(int(index) for index in self.generator.permutation(size))
        return order[:calls]

    def _ask(self, spec: SeriesSpec, slot: int, how: Mapping[str, Any]) -> Mapping[str, Any]:
        worker = self.workers[spec.embedder, slot]
        answer = worker.ask({"workload": spec.workload, **how}, BLOCK_SECONDS)
        return cast("Mapping[str, Any]", _value(answer))
