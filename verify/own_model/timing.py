"""How long a user's model takes on the CPU provider, by the gate's own statistics."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..environment.context import TargetContext
from ..latency.evidence import judgement_json
from ..latency.interference import Blame, judge_fairly
from ..latency.series import Plan, SeriesSamples, SeriesSpec, measure
from ..policy.limits import Limits
from ..policy.result import CheckResult
from ..sentence import Say
from ..statistics.gate import Judgement, early, judge_p95

_PROCESSES = 3
_CALLS = 32
_ANY_MS = 1e9
_CLOSE = "The P95 is too near the budget to tell: give another, or take an idle machine."
_WHOSE = {"wheel": "the model on this processor", "machine": "the machine"}


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The samples of the fixed model, and of the file as exported where it was measured."""

    series: tuple[SeriesSamples, ...]
    quick: bool = False

    def result(self, check: str, limits: Limits, budget_ms: float | None) -> CheckResult:
        """Judge the fixed model's P95 against a budget; without one it is measured alone."""
        fixed = self.series[0]
        quantiles = {each.spec.workload: summary(each) for each in self.series}
        evidence: dict[str, Any] = {
            name: {"p50 ms": one.p50, "p95 ms": one.p95, "calls": one.n}
            for name, one in quantiles.items()
        }
        plain = quantiles[fixed.spec.workload]
        bound = "none" if plain.upper_bound is None else f"{plain.upper_bound:.3g} ms"
        told = (
            f"P50 {plain.p50 or 0:.3g} ms, P95 {plain.p95 or 0:.3g} ms, its upper bound {bound} "
            f"({plain.n} calls)"
        )
        again = "Leave --quick out, or run it" if self.quick else "Run it"
        if budget_ms is None:
            enough = plain.upper_bound is not None
            return CheckResult(
                id=check,
                status="passed" if enough else "inconclusive",
                summary=told
                if enough
                else f"{told}: they depend on one another and are worth {plain.n_effective:.0f}, "
                "too few for a bound",
                measured=plain.upper_bound,
                unit="ms",
                evidence=evidence,
                hint="" if enough else f"{again} on an idle machine, or ask about a smaller input.",
            )
        blame = self.blame(limits, budget_ms)
        judged = blame.judgement
        whose = {"party": _WHOSE[blame.party]} if blame.party in _WHOSE else {}
        return CheckResult(
            id=check,
            status=judged.status,
            summary=told if judged.status == "passed" else f"{told}: {judged.reason}",
            measured=judged.upper_bound,
            limit=budget_ms,
            unit="ms",
            evidence={
                **whose,
                **evidence,
                "judgement": judgement_json(judged),
                "interference": blame.evidence,
            },
            hint=self._hint(blame),
        )

    def settled(self, limits: Limits, budget_ms: float | None) -> bool:
        """Whether more calls would not change what is said: of a budget, or of the bound alone."""
        if budget_ms is None:
            return summary(self.series[0]).upper_bound is not None
        enough = early(limits.latency_confidence)
        return self.blame(limits, budget_ms, enough).judgement.status != "inconclusive"

    def blame(self, limits: Limits, budget_ms: float, confidence: float | None = None) -> Blame:
        """Judge the fixed model's P95 against a budget, and tell its part from the machine's."""
        return judge_fairly(
            self.series[0].conditions(),
            budget_ms=budget_ms,
            min_samples=limits.latency_min_samples,
            confidence=confidence or limits.latency_confidence,
        )

    def _hint(self, blame: Blame) -> str:
        if blame.judgement.status == "passed":
            return ""
        if blame.party == "wheel":
            return "A smaller model, or another budget; CoreML is measured on a Mac alone."
        machine = self.series[0].machine
        busiest = ", ".join(machine.busiest) if machine else ""
        more = "Leave --quick out for more calls" if self.quick else ""
        if blame.party == "machine":
            stop = f"stop what else computes ({busiest})" if busiest else "take an idle machine"
            more = f"{more}, and {stop}" if more else f"{stop[:1].upper()}{stop[1:]}"
        return f"{more}, and run it again." if more else _CLOSE


def summary(series: SeriesSamples) -> Judgement:
    """Return the quantiles of a series and the bounds of its P95, whatever they are."""
    processes = [int(slot) for slot in series.process]
    return judge_p95(series.values, budget_ms=_ANY_MS, min_samples=1, processes=processes)


def time_on_cpu(
    context: TargetContext,
    graphs: Mapping[str, Path],
    feeds: Path,
    options: argparse.Namespace,
    *,
    say: Say,
) -> Timing:
    """Measure graphs on the CPU provider: three processes that take turns, a block of calls each.

    ``graphs`` maps a name to its file; ``feeds`` is a file of inputs that all of them take;
    ``options`` holds ``quick`` and ``budget_ms``. While the first graph's calls tell no bound, or
    leave a budget open, rounds go on for as long again as was planned at most.

    Raises
    ------
    VerifyError
        When a process dies, or the runtime refuses a graph.
    """
    quick, budget_ms, limits = options.quick, options.budget_ms, context.policy.limits
    seconds = 3.0 if quick else 12.0
    plan = Plan(
        series=tuple(SeriesSpec(target="candidate", workload=name) for name in graphs),
        processes=_PROCESSES,
        rounds=4 if quick else 12,
        least=1 if quick else 2,
        calls=dict.fromkeys(graphs, _CALLS),
        seconds=seconds,
        sampler=".own_model.timing_inside:serve",
        payload={
            "graphs": {name: str(path.resolve()) for name, path in graphs.items()},
            "feeds": str(feeds),
        },
    )

    def enough(so_far: Sequence[SeriesSamples]) -> bool:
        return Timing(series=tuple(so_far)).settled(limits, budget_ms)

    series = measure(
        context,
        plan,
        enough=enough,
        say=lambda text: say(f"latency: {text}"),
    )
    return Timing(series=series, quick=quick)
