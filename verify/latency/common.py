"""What the latency checks share: environments to measure in, and samples as evidence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..environment.channel import clean_environment
from ..environment.context import Role, TargetContext
from ..statistics.gate import Judgement, judge_p95
from .series import SamplerProcess, SeriesSamples, TargetPython, WorkerFailed

NS_PER_MS = 1e6
PROBE_SECONDS = 180.0


def judge(series: SeriesSamples, context: TargetContext) -> Judgement:
    """Judge one series by the policy's limits."""
    limits = context.policy.limits
    return judge_p95(
        series.values,
        budget_ms=limits.latency_p95_ms,
        min_samples=limits.latency_min_samples,
        confidence=limits.latency_confidence,
        processes=series.process,
    )


def target_pythons(context: TargetContext, roles: Sequence[Role]) -> dict[str, TargetPython]:
    """Write the workers' job files and tell how to start Python in each environment."""
    return {role: target_python(context, role) for role in roles}


def target_python(context: TargetContext, role: Role) -> TargetPython:
    """Write one environment's job file, see `target_pythons`."""
    folder = context.work / "latency"
    folder.mkdir(parents=True, exist_ok=True)
    job = folder / f"job-{role}.json"
    job.write_text(json.dumps({**context.to_job(), "role": role}), encoding="utf-8")
    return TargetPython(python=Path(context.python(role)), env=clean_environment(), job=job)


def coreml_cannot_execute(context: TargetContext) -> str | None:
    """Say why CoreML cannot execute here, or None when it embeds a text."""
    if not context.host.startswith("macos"):
        return f"{context.host or 'this host'} has no CoreML runtime"
    log = context.work / "logs" / "sampler-probe.log"
    with SamplerProcess(target_python(context, "candidate"), log=log) as probe:
        try:
            probe.request({"op": "open", "provider": "coreml"}, seconds=PROBE_SECONDS)
        except WorkerFailed as error:
            return error.problem.rstrip(".")
    return None


def judgement_json(judged: Judgement) -> dict[str, Any]:
    """Return a judgement as JSON values; times in milliseconds."""
    return {
        "status": judged.status,
        "p50": judged.p50,
        "p95": judged.p95,
        "p99": judged.p99,
        "upper_bound": judged.upper_bound,
        "lower_bound": judged.lower_bound,
        "n": judged.n,
        "n_effective": round(judged.n_effective, 1),
        "more_samples": judged.more_samples,
        "reason": judged.reason,
        "instability": [
            {
                "what": split.describe(),
                "p_value": split.p_value,
                "level": split.level,
                "shares_above": list(split.shares),
            }
            for split in judged.instability
        ],
    }


def process_p95(series: SeriesSamples) -> list[float]:
    """Return each process's own P95 in milliseconds."""
    values, slots = np.array(series.values), np.array(series.process)
    return [
        float(np.quantile(values[slots == slot], 0.95, method="inverted_cdf")) / NS_PER_MS
        for slot in np.unique(slots)
    ]


def stage_table(series: SeriesSamples) -> dict[str, dict[str, float]]:
    """Return median and P95 of each stage in milliseconds."""
    return {
        name: {
            "p50": float(np.quantile(values, 0.5, method="inverted_cdf")) / NS_PER_MS,
            "p95": float(np.quantile(values, 0.95, method="inverted_cdf")) / NS_PER_MS,
        }
        for name, values in series.stages.items()
        if values
    }
