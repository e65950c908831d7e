"""Judge a finished run again with another policy, from its raw samples and measured numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from ..checks.table import check_ids, find_check
from ..policy.judgement import judge_numbers
from ..policy.limits import Policy
from ..policy.result import CheckResult, Status
from . import verdict
from .carry_out import check_part, policy_part, verdict_part
from .selection import Selection


def judge(document: Mapping[str, Any], policy: Policy) -> dict[str, Any]:
    """Return the document with statuses, limits and verdict of another policy.

    What was not measured stays as it was: a check that was not run is not run, and a failure
    that no number decides (a crash, NaN) stays a failure.
    """
    results = [
        _again(_result(entry), document, policy)
        for entry in document["checks"]
        if entry["id"] in check_ids()
    ]
    chosen = document["selection"]
    only = tuple(name for name in chosen["only"] if name in check_ids())
    words = [name.removeprefix("-k ") for name in chosen["only"] if name.startswith("-k ")]
    selection = Selection(
        quick=chosen["quick"], only=only, keyword=" or ".join(words), skip=chosen["skip"]
    )
    kind = document["host"]["kind"]
    conclusion = verdict.decide(
        results,
        policy=policy,
        selection=selection,
        host=kind,
        built=(document.get("wheel") or {}).get("cross") or "",
    )
    return {
        **document,
        "policy": policy_part(policy),
        "verdict": verdict_part(conclusion),
        "checks": check_part(results, policy),
    }


def _result(entry: Mapping[str, Any]) -> CheckResult:
    return CheckResult(
        **{key: value for key, value in entry.items() if key not in ("title", "required")}
    )


def _again(result: CheckResult, document: Mapping[str, Any], policy: Policy) -> CheckResult:
    if result.status == "not-run":
        return result
    check = find_check(result.id)
    if check.judged_by == "samples":
        return _latency(result, document, policy)
    judged = result.evidence.get("judged")
    if not isinstance(judged, Mapping) or not judged:
        return result
    found = judge_numbers(judged, policy.limits)
    limit = getattr(policy.limits, next(iter(judged)))
    if found.status == result.status != "failed":
        return replace(result, limit=limit)
    words = "; ".join(found.broken) or (
        "within the limits of this policy"
        if found.status == "passed"
        else "the numbers do not settle it"
    )
    return replace(result, status=found.status, limit=limit, summary=f"{words} (judged again)")


def _latency(result: CheckResult, document: Mapping[str, Any], policy: Policy) -> CheckResult:
    from ..statistics.gate import judge_p95

    wanted = (policy.gate_provider, "candidate", "mix", "fp32")
    series = [
        entry
        for entry in document["samples"].get("latency", [])
        if (entry["provider"], entry["role"], entry["workload"], entry["precision"]) == wanted
    ]
    limits = policy.limits
    if not series or series[0]["unit"] != "ns":
        return replace(
            result,
            status="inconclusive",
            limit=limits.latency_p95_ms,
            summary=f"the report holds no samples of the {policy.gate_provider} provider",
            hint="Run the verification again with this policy.",
        )
    answer = judge_p95(
        series[0]["values"],
        budget_ms=limits.latency_p95_ms,
        min_samples=limits.latency_min_samples,
        confidence=limits.latency_confidence,
        processes=series[0]["process"],
    )
    return replace(
        result,
        status=cast("Status", answer.status),
        measured=answer.upper_bound,
        limit=limits.latency_p95_ms,
        unit="ms",
        summary=f"{answer.reason} (judged again)",
    )
