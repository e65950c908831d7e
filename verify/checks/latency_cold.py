"""Cold starts: import, session and first text, each time in a fresh process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..environment.context import Provider, TargetContext
from ..latency.machine import between, read_counters
from ..latency.series import WorkerFailed, coreml_cannot_execute
from ..policy.judgement import judge_numbers
from ..policy.result import CheckResult

NS_PER_MS = 1e6
STARTS = 5
SECONDS = 180.0


def latency_cold(context: TargetContext) -> CheckResult:
    """Time five cold starts, on CoreML with and without its model cache too where it executes.

    ``measured`` is the slowest session creation in ms: of the policy's provider, with the cache
    where there is one. Passed when even that is within the limit, failed when the median is beyond
    it.
    """
    limits = context.policy.limits
    missing = coreml_cannot_execute(context)
    begun = read_counters()
    starts = {"cpu": _starts(context, "cpu")}
    not_measured: dict[str, str] = {}
    way = "cpu"
    if missing is None:
        starts["coreml"] = _starts(context, "coreml")
        with tempfile.TemporaryDirectory(dir=context.work, prefix="coreml-cache-") as cache:
            one_start(context, "coreml", cache=Path(cache))  # fills the cache
            starts["coreml+cache"] = _starts(context, "coreml", cache=Path(cache))
        if context.policy.gate_provider == "coreml":
            way = "coreml+cache"
    else:
        not_measured = {"coreml": missing, "coreml+cache": missing}
    sessions = [start["session"] for start in starts[way]]
    slowest, middle = max(sessions), float(np.median(sessions))
    judged = {"cold_session_ms_max": (middle, slowest)}
    status = judge_numbers(judged, limits).status
    machine = between(begun, read_counters())
    hint = "" if status == "passed" else "Set a model cache directory, or keep the process warm."
    if status == "failed" and not machine.alone:
        # A few starts are too few to set disturbed ones aside: another program could explain them.
        status = "inconclusive"
        hint = f"Other programs computed meanwhile ({', '.join(machine.busiest)}): stop them first."
    others = "" if missing is None else f" CoreML was not measured: {missing}."
    return CheckResult(
        id="latency.cold",
        status=status,
        summary=(
            f"{way}: import {_middle(starts[way], 'import'):.0f} ms, session "
            f"{middle:.0f} ms, first text {_middle(starts[way], 'first_run'):.1f} ms (medians "
            f"of {len(sessions)} fresh processes; slowest session {slowest:.0f} ms).{others}"
        ),
        measured=slowest,
        limit=limits.cold_session_ms_max,
        unit="ms",
        evidence={
            "judged": judged,
            "way": way,
            "starts_ms": starts,
            "not_measured": not_measured,
            "machine": machine.to_json(),
            "note": "Cold processes; the files are in the page cache.",
        },
        hint=hint,
    )


def one_start(
    context: TargetContext, provider: Provider, *, cache: Path | None = None
) -> Mapping[str, float]:
    """Start one process, and return its times in milliseconds by stage.

    ``process`` is the wall time of the whole process, seen from outside.

    Raises
    ------
    WorkerFailed
        If it does not end well, or its vectors are not finite.
    """
    payload = {"provider": provider, "cache": None if cache is None else str(cache)}
    began = time.perf_counter_ns()
    answer = context.call(".latency.cold_inside:cold_start", payload, timeout=SECONDS)
    wall = time.perf_counter_ns() - began
    if answer.failure:
        raise WorkerFailed(
            f"A cold start on {provider} {answer.failure.rstrip('.')}.",
            hint=answer.hint or "The last lines of its output say why.",
            context={"last lines": answer.tail},
        )
    found = answer.value
    if not found["finite"]:
        raise WorkerFailed(
            f"The first text on {provider} gave values that are not finite.",
            hint="Look at the embedding checks first.",
        )
    return {name: ns / NS_PER_MS for name, ns in {**found["times"], "process": wall}.items()}


def _starts(
    context: TargetContext, provider: Provider, *, cache: Path | None = None
) -> list[Mapping[str, float]]:
    context.say(f"{STARTS} cold starts on {provider}", check="latency.cold")
    return [one_start(context, provider, cache=cache) for _ in range(STARTS)]


def _middle(starts: Sequence[Mapping[str, float]], stage: str) -> float:
    return float(np.median([start[stage] for start in starts]))
