"""The latency gate; it runs on the host and lets processes in the environments measure.

What is judged is a single query, text in to vector out, through ``Embedder.embed_timed``: the
realistic mix of `verify.latency.queries` on the policy's provider. The padded worst case is a
series of its own and is reported, not judged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..environment.context import Provider, TargetContext
from ..latency.evidence import judge, judgement_json, process_p95, stage_table
from ..latency.interference import Blame
from ..latency.queries import QUERIES
from ..latency.series import Plan, SeriesSamples, SeriesSpec, coreml_cannot_execute, measure
from ..policy.result import CheckResult
from ..statistics.gate import Judgement

PROCESSES = 3


def latency_p95(context: TargetContext) -> CheckResult:
    """Judge the P95 of a single query against the policy's budget.

    Three processes take turns in blocks; each block runs through the whole mix once in a random
    order. Warm-ups are kept apart, every sample is kept and none is averaged. While the result is
    not clear sampling goes on, for ``context.adaptive_seconds`` or as long again as was planned.

    ``measured`` is the one-sided upper confidence bound of P95 in ms. ``not-run`` when the policy's
    provider cannot execute here; ``evidence["fallback"]`` then holds the CPU's judgement.
    """
    provider: Provider = "cpu"
    wanted = context.policy.gate_provider
    missing = coreml_cannot_execute(context) if wanted == "coreml" else None
    if wanted == "coreml" and missing is None:
        provider = "coreml"
    precision = context.policy.cpu_precision if provider == "cpu" else "fp32"
    limits = context.policy.limits
    per_round = PROCESSES * len(QUERIES)
    least = math.ceil(limits.latency_min_samples / per_round)
    rounds = max(least, 2 if context.quick else 5)
    plan = Plan(
        series=(
            SeriesSpec(target="candidate", provider=provider, precision=precision),
            SeriesSpec(
                target="candidate", provider=provider, precision=precision, workload="worst"
            ),
        ),
        processes=PROCESSES,
        rounds=rounds,
        least=least,
        calls={"worst": 4 if context.quick else 8},
        seconds=5.0 if context.quick else 15.0,
    )
    mix, worst = measure(
        context,
        plan,
        enough=lambda samples: (
            judge(samples[0], context, to_end=True).judgement.status != "inconclusive"
        ),
        more_seconds=context.adaptive_seconds,
        say=lambda text: context.say(text, check="latency.p95"),
    )
    for series in (mix, worst):
        context.add_samples("latency", series.to_json())
    return p95_result(context, mix, worst, missing=missing)


def p95_result(
    context: TargetContext, mix: SeriesSamples, worst: SeriesSamples, *, missing: str | None = None
) -> CheckResult:
    """Turn the samples into the check's result; the worst case is only reported.

    ``missing`` says why the policy's provider could not be measured; the mix is then the
    fallback's.
    """
    budget = context.policy.limits.latency_p95_ms
    blame = judge(mix, context)
    judged, extreme = blame.judgement, judge(worst, context).judgement
    evidence: dict[str, Any] = {
        "series": mix.spec.name,
        "provider": mix.spec.provider,
        **judgement_json(judged),
        "party": blame.party,
        "interference": blame.evidence,
        "machine": mix.machine.to_json() if mix.machine else None,
        "confidence": context.policy.limits.latency_confidence,
        "processes": len(set(mix.process)),
        "process_p95_ms": process_p95(mix),
        "stages_ms": stage_table(mix),
        "tokens": {"median": float(np.median(mix.tokens)), "largest": max(mix.tokens)},
        "worst_case": {"tokens": max(worst.tokens), **judgement_json(extreme)},
        "garbage_collector": "enabled, and run before each block",
        "quick": context.quick,
    }
    if missing is not None:
        evidence["fallback"] = {"budget_ms": budget, "provider": "cpu", **judgement_json(judged)}
        return CheckResult(
            id="latency.p95",
            status="not-run",
            summary=(
                f"CoreML cannot execute here ({missing}). The CPU provider: {_sentence(judged)}"
            ),
            limit=budget,
            unit="ms",
            evidence=evidence,
            hint="Run the gate on a Mac, or take a policy that gates on the CPU provider.",
        )
    return CheckResult(
        id="latency.p95",
        status=judged.status,
        summary=(
            f"{_form(mix)}: {_sentence(judged)} At {max(worst.tokens)} tokens P95 is "
            f"{_ms(extreme.p95)}."
        ),
        measured=judged.upper_bound,
        limit=budget,
        unit="ms",
        evidence=evidence,
        hint=_hint(blame, mix, evidence["stages_ms"], context),
    )


def _form(series: SeriesSamples) -> str:
    """Name the provider, and the precision where it is not fp32."""
    spec = series.spec
    return spec.provider if spec.precision == "fp32" else f"{spec.provider} {spec.precision}"


def _sentence(judged: Judgement) -> str:
    return f"P95 is {_ms(judged.p95)}. {judged.reason}"


def _hint(
    blame: Blame,
    mix: SeriesSamples,
    stages: Mapping[str, Mapping[str, float]],
    context: TargetContext,
) -> str:
    judged = blame.judgement
    if judged.status == "passed":
        return ""
    if blame.party == "machine":
        return _wait(judged, mix)
    if judged.status == "failed":
        slowest = max(stages, key=lambda name: stages[name]["p95"], default="")
        return (
            f"Most of the time goes to the stage {slowest!r}: compare it with another provider, "
            "precision or number of threads."
            if slowest
            else "Compare with another provider, precision or number of threads."
        )
    if context.adaptive_seconds is None:
        return "Use `--adaptive 60` to sample until it can be told, or a quieter machine."
    return "Use a longer `--adaptive` time, or a quieter machine."


def _wait(judged: Judgement, mix: SeriesSamples) -> str:
    """Say what to stop, and how long sampling on this machine would take as it is."""
    busiest = ", ".join(mix.machine.busiest) if mix.machine else ""
    stop = f"Stop what else computes ({busiest})" if busiest else "Use a quieter machine"
    if judged.more_samples is None or mix.machine is None:
        return f"{stop}, and run it again."
    seconds = judged.more_samples * mix.machine.seconds / len(mix.values)
    return f"{stop}, or use `--adaptive {math.ceil(seconds / 10) * 10}`."


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f} ms"
