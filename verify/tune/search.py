"""Try one setting after the other, in turns with what stood before, and keep what is faster.

A setting is kept where the median is faster by its whole interval and the P95 is not slower by its
own. Trying many finds some by chance, so what was kept is measured once more, beside the default
and on texts of another length, and the default stays unless that says the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..encoder.prepared.choice import Precision
from ..encoder.settings import Tuning
from ..environment.context import TargetContext
from ..errors import VerifyError
from ..latency.series import Plan, SeriesSamples, SeriesSpec, measure
from ..sentence import Say
from ..statistics.ratio import RatioInterval, ratio_interval

DEFAULT, CHOSEN = "ortmill's default", "chosen"
LONG = "tokens-128"
SLOWER = 1.02
"""Slower than onnxruntime's own settings by this, and the whole interval: our default's fault."""
WIDEST = 1.1
"""An interval whose ends are further apart says too little to choose by."""
BUSY = 0.25
"""Cores that other programs may keep busy meanwhile: beside them fewer threads look better."""
LEAST_COSINE = 0.9999
"""A setting must not change the vectors; rounding in eight bits may fall otherwise."""
_PROCESSES = 2
_LONG_CALLS = 10
_SECONDS = 600.0


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where and how long to measure.

    Each comparison has so many rounds, and each block so many queries of the mix.
    """

    context: TargetContext
    precision: Precision
    say: Say
    rounds: int = 10
    queries: int = 60

    def in_turns(
        self, what: str, workloads: Sequence[str], rivals: Sequence[Tuning | None]
    ) -> tuple[SeriesSamples, ...]:
        """Measure every rival on the first workload, then on the next, all in the same rounds."""
        plan = Plan(
            series=tuple(
                SeriesSpec(
                    target="candidate", precision=self.precision, workload=workload, tuning=rival
                )
                for workload in workloads
                for rival in rivals
            ),
            processes=_PROCESSES,
            rounds=self.rounds,
            least=self.rounds,
            calls={each: self.queries if each == "mix" else _LONG_CALLS for each in workloads},
        )
        return measure(self.context, plan, say=lambda text: self.say(f"{what}: {text}"))

    def vectors(self, tuning: Tuning) -> Mapping[str, Any]:
        """Return the vectors of some queries, and onnxruntime's version."""
        payload = {"tuning": tuning.to_json(), "precision": self.precision}
        answer = self.context.call(".tune.vectors_inside:embed_some", payload, timeout=_SECONDS)
        if answer.failure:
            raise VerifyError(
                f"The vectors could not be made: {answer.sentence}",
                hint=answer.hint,
                context={"last lines": answer.tail},
            )
        found: Mapping[str, Any] = answer.value
        return found


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One setting beside a baseline in the same rounds; times in ms, ratios above 1 are faster."""

    name: str
    workload: str
    p50_ms: float
    p95_ms: float
    p50: RatioInterval
    p95: RatioInterval
    kept: bool = False

    @classmethod
    def of(cls, name: str, baseline: SeriesSamples, found: SeriesSamples) -> Compared:
        """Compare two series that took turns."""
        middle, tail = (
            ratio_interval(baseline.blocks(), found.blocks(), quantile=quantile)
            for quantile in (0.5, 0.95)
        )
        return cls(
            name=name,
            workload=found.spec.workload,
            p50_ms=float(np.quantile(found.values, 0.5)) / 1e6,
            p95_ms=float(np.quantile(found.values, 0.95)) / 1e6,
            p50=middle,
            p95=tail,
        )

    @property
    def faster(self) -> bool:
        """Whether the median is faster by its interval, and the P95 not slower by its own."""
        slow_tail = self.p95.high is not None and self.p95.high < 1
        return self.p50.low is not None and self.p50.low > 1 and not slow_tail

    @property
    def slower(self) -> bool:
        """Whether the median is slower by its interval."""
        return self.p50.high is not None and self.p50.high < 1


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What was found; the tuning is empty where the default is the fastest.

    ``trials`` has every setting tried, against what stood before it; ``default`` our default
    against onnxruntime's own settings; ``chosen`` what the trials kept against our default, nothing
    where they kept nothing. ``why`` says why that was given up after all. ``onnxruntime`` is its
    version, ``machine`` what the machine did during the last measurement.
    """

    tuning: Tuning
    trials: tuple[Compared, ...]
    default: tuple[Compared, ...]
    chosen: tuple[Compared, ...]
    why: str
    onnxruntime: str
    machine: Mapping[str, Any]

    @property
    def at_fault(self) -> bool:
        """Whether our default is slower than onnxruntime's own settings, by an interval."""
        return any(
            each.p50.high is not None and each.p50.high < 1 / SLOWER for each in self.default
        )

    @property
    def noisy(self) -> bool:
        """Whether the machine was too restless to choose by."""
        ends = [(each.p50.low, each.p50.high) for each in self.default]
        busy = self.machine.get("others", 0.0) > BUSY
        return busy or any(low is None or high is None or high > WIDEST * low for low, high in ends)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def steps(cores: int) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    """Return each setting with the values to try, in the order of what they usually bring."""
    threads = {1, cores // 4, cores // 2, 3 * cores // 4, cores} - {0}
    return (
        ("threads", tuple(sorted(threads))),
        ("spinning", (False,)),
        ("graph", ("extended", "basic")),
        ("arena", (False,)),
        ("memory_pattern", (False,)),
        ("flush_denormals", (True,)),
    )


def search(bench: Bench, *, workload: str, cores: int) -> Tuned:
    """Measure every setting, for the workload that has to become faster, on so many cores.

    Raises
    ------
    VerifyError
        When a process of the measurement fails.
    """
    best: Tuning | None = None
    trials: list[Compared] = []
    todo = steps(cores)
    for number, (name, values) in enumerate(todo, 1):
        rivals = [replace(best or Tuning(), **{name: value}) for value in values]
        what = f"{number} of {len(todo) + 1}, {name}"
        samples = bench.in_turns(what, [workload], [best, *rivals])
        tried = [
            Compared.of(f"{name} {value}", samples[0], found)
            for value, found in zip(values, samples[1:], strict=True)
        ]
        kept = winner(tried)
        if kept is not None:
            best = rivals[kept]
            tried[kept] = replace(tried[kept], kept=True)
        trials += tried
    what = f"{len(todo) + 1} of {len(todo) + 1}, the default and what was kept"
    rivals = [Tuning(), *([best] if best else [])]
    workloads = [workload, LONG if workload != LONG else "mix"]
    samples = bench.in_turns(what, workloads, [None, *rivals])
    count = 1 + len(rivals)
    rows = [samples[start : start + count] for start in range(0, len(samples), count)]
    plain = bench.vectors(Tuning())
    chosen: tuple[Compared, ...] = ()
    why = ""
    if best:
        chosen = tuple(Compared.of(CHOSEN, row[0], row[2]) for row in rows)
        worst = _worst_cosine(plain["vectors"], bench.vectors(best)["vectors"])
        why = reason_against(chosen, worst)
    machine = samples[0].machine
    return Tuned(
        tuning=best if best and not why else Tuning(),
        trials=tuple(trials),
        default=tuple(Compared.of(DEFAULT, row[1], row[0]) for row in rows),
        chosen=chosen,
        why=why,
        onnxruntime=plain["onnxruntime"],
        machine={} if machine is None else machine.to_json(),
    )


def winner(tried: Sequence[Compared]) -> int | None:
    """Return the place of the fastest of those that are faster at all."""
    good = [place for place, each in enumerate(tried) if each.faster]
    return max(good, key=lambda place: tried[place].p50.ratio or 0.0, default=None)


def reason_against(chosen: Sequence[Compared], cosine: float) -> str:
    """Say why the settings that the trials kept are given up, or nothing.

    ``chosen`` is against our default: the workload that has to become faster, then others;
    ``cosine`` is the worst one between both settings' vectors.
    """
    if not chosen[0].faster:
        return "measured again beside the default they are not faster by an interval"
    for each in chosen[1:]:
        if each.slower:
            return f"they are slower on {each.workload}"
    if not cosine >= LEAST_COSINE:
        return f"they change the vectors (worst cosine {cosine:.6f})"
    return ""


def _worst_cosine(*sides: Sequence[Sequence[float]]) -> float:
    one, two = (np.array(side, dtype=np.float64) for side in sides)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    return float((np.einsum("nh,nh->n", one, two) / lengths).min())
