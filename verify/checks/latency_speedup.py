"""Speed against the CPU provider of the same wheel, and against the official wheel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..environment.context import TargetContext
from ..latency.evidence import judge, judgement_json
from ..latency.series import Plan, SeriesSamples, SeriesSpec, coreml_cannot_execute, measure
from ..policy.judgement import judge_numbers
from ..policy.limits import Limits
from ..policy.result import CheckResult, Status
from ..statistics.gate import early
from ..statistics.ratio import RatioInterval, ratio_interval

PROCESSES = 2
ROUNDS = 6
CONFIDENCE = 0.95
PAIRED = "paired"
_AGAINST = {
    "coreml over cpu": ("the same wheel's CPU provider", "speedup_over_cpu_min"),
    "candidate over official": ("the official wheel on the CPU", "speedup_over_official_min"),
}
"""Name of a comparison to the baseline in words, and the limit of its ratio."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One ratio with its limit; above 1 the candidate is faster."""

    name: str
    phrase: str
    limit: str
    minimum: float
    status: Literal["passed", "failed", "inconclusive"]
    interval: tuple[float, float] | None
    median: RatioInterval
    p95: RatioInterval

    def sentence(self) -> str:
        """Say the ratio in a few words."""
        found = self.median
        if found.ratio is None:
            return f"Against {self.phrase}: {found.reason}"
        if found.low is None or found.high is None:
            return f"{found.ratio:.2f} times the speed of {self.phrase}: {found.reason}"
        return (
            f"{found.ratio:.2f} times the speed of {self.phrase} "
            f"({found.low:.2f} to {found.high:.2f})."
        )


def latency_speedup(context: TargetContext) -> CheckResult:
    """Compare providers and wheels by the ratio of their medians, measured in turns.

    The ratio of the P95s is in the evidence. While the result is not clear the measurement goes
    on, as `latency.p95`'s does. Where CoreML executes it is compared
    with the CPU provider of the same wheel; the CPU provider is compared with that of the
    official wheel where its environment was made.

    The status is the worst of the comparisons made; ``not-run`` when none could be made, or when
    the policy gates on CoreML and CoreML cannot execute. ``measured`` is the ratio that decides.
    """
    missing = coreml_cannot_execute(context)
    series = [SeriesSpec(target="candidate")]
    not_measured: dict[str, str] = {}
    if missing is None:
        series.insert(0, SeriesSpec(target="candidate", provider="coreml"))
    else:
        not_measured["coreml over cpu"] = missing
    if "official" in context.targets:
        series.append(SeriesSpec(target="official"))
    else:
        not_measured["candidate over official"] = "this run has no official wheel"
    if len(series) == 1:
        reasons = "; ".join(f"{name}: {why}" for name, why in not_measured.items())
        return CheckResult(
            id="latency.speedup",
            status="not-run",
            summary=f"Nothing to compare with ({reasons}).",
            evidence={"not_measured": not_measured},
            hint="Let the run fetch the official wheel.",
        )
    samples = measure(
        context,
        Plan(
            series=tuple(series),
            processes=PROCESSES,
            rounds=ROUNDS,
            least=3,
            seconds=8.0 if context.quick else 20.0,
        ),
        enough=lambda so_far: (
            speedup_result(context, so_far, not_measured, early(CONFIDENCE)).status
            != "inconclusive"
        ),
        more_seconds=context.adaptive_seconds,
        say=lambda text: context.say(text, check="latency.speedup"),
    )
    for one in samples:
        entry = {**one.to_json(), "workload": PAIRED}
        entry["series"] = f"{one.spec.target}/{one.spec.provider}/{one.spec.precision}/{PAIRED}"
        context.add_samples("latency", entry)
    return speedup_result(context, samples, not_measured)


def speedup_result(
    context: TargetContext,
    samples: Sequence[SeriesSamples],
    not_measured: dict[str, str],
    confidence: float = CONFIDENCE,
) -> CheckResult:
    """Turn the samples of series that took turns into the check's result."""
    by_name = {(one.spec.target, one.spec.provider): one for one in samples}
    limits = context.policy.limits
    candidate = by_name[("candidate", "cpu")]
    comparisons = []
    if ("candidate", "coreml") in by_name:
        accelerated = by_name[("candidate", "coreml")]
        comparisons.append(_compare("coreml over cpu", limits, candidate, accelerated, confidence))
    if ("official", "cpu") in by_name:
        official = by_name[("official", "cpu")]
        comparisons.append(
            _compare("candidate over official", limits, official, candidate, confidence)
        )
    order: tuple[Status, ...] = ("failed", "inconclusive", "passed")
    decides = min(comparisons, key=lambda one: order.index(one.status))
    status: Status = decides.status
    if context.policy.gate_provider == "coreml" and "coreml over cpu" in not_measured:
        status = "failed" if status == "failed" else "not-run"
    ratios = " ".join(one.sentence() for one in comparisons)
    unmeasured = "".join(f" Not measured: {name} ({why})." for name, why in not_measured.items())
    evidence: dict[str, Any] = {
        "judged": {one.limit: one.interval for one in (decides, *comparisons)},
        "comparisons": [
            {
                "name": one.name,
                "status": one.status,
                "minimum": one.minimum,
                "median": asdict(one.median),
                "p95": asdict(one.p95),
            }
            for one in comparisons
        ],
        "not_measured": not_measured,
        "judged_by_latency_limits": {
            one.spec.name: judgement_json(judge(one, context).judgement) for one in samples
        },
    }
    return CheckResult(
        id="latency.speedup",
        status=status,
        summary=ratios + unmeasured,
        measured=decides.median.ratio,
        limit=decides.minimum,
        unit="times",
        evidence=evidence,
        hint="" if status == "passed" else _HINTS[status],
    )


_HINTS = {
    "failed": "Use the faster of the two; for CoreML look at coverage.partitions first.",
    "inconclusive": "The interval holds the limit: use `--adaptive 120`, or a quieter machine.",
    "not-run": "CoreML must execute for this comparison: run on a Mac.",
}


def _compare(
    name: str,
    limits: Limits,
    baseline: SeriesSamples,
    candidate: SeriesSamples,
    confidence: float,
) -> Comparison:
    phrase, limit = _AGAINST[name]
    slow, fast = baseline.blocks(), candidate.blocks()
    median = ratio_interval(slow, fast, quantile=0.5, confidence=confidence)
    ends = (median.low, median.high)
    interval = None if ends[0] is None or ends[1] is None else (ends[0], ends[1])
    return Comparison(
        name=name,
        phrase=phrase,
        limit=limit,
        minimum=getattr(limits, limit),
        status=judge_numbers({limit: interval}, limits).status,
        interval=interval,
        median=median,
        p95=ratio_interval(slow, fast, quantile=0.95),
    )
