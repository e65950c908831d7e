"""Judge a finished run again with another policy, from its raw samples and measured numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import get_args

from ..checks.table import check_ids, find_check
from ..environment.wheel_file import other_python
from ..policy.judgement import judge_numbers
from ..policy.limits import CpuPrecision, Policy, form_limit
from ..policy.result import CheckResult
from ..report.document import CheckEntry, Document
from . import verdict
from .carry_out import check_part, policy_part
from .sampled import judge_series, with_bound
from .selection import Selection

AGREEMENT = "embedding.agreement"
_FIELDS = {field.name for field in fields(CheckResult)}


def judge(document: Document, policy: Policy) -> Document:
    """Return the document with statuses, limits and verdict of another policy.

    What was not measured stays as it was: a check that was not run is not run, and a failure
    that no number decides (a crash, NaN) stays a failure.
    """
    results = [
        _again(_result(entry), document, policy)
        for entry in document.checks
        if entry.id in check_ids()
    ]
    conclusion = verdict.decide(
        results,
        selection=Selection.from_part(document.selection),
        setting=verdict.Setting(
            policy=policy,
            host=document.host.kind,
            built=document.wheel.cross or "",
            compared=document.wheel.compared or "",
            python=other_python(
                document.wheel.file, document.host.kind, document.host.python or ""
            ),
        ),
    )
    series = [with_bound(one, policy.limits) for one in document.samples.latency]
    return document.model_copy(
        update={
            "policy": policy_part(policy),
            "verdict": conclusion,
            "checks": check_part(results, policy),
            "samples": document.samples.model_copy(update={"latency": series}),
        }
    )


def _result(entry: CheckEntry) -> CheckResult:
    return CheckResult(**entry.model_dump(include=_FIELDS))


def _again(result: CheckResult, document: Document, policy: Policy) -> CheckResult:
    if result.status == "not-run":
        return result
    check = find_check(result.id)
    if check.judged_by == "samples":
        return _latency(result, document, policy)
    judged = result.evidence.get("judged")
    if not isinstance(judged, Mapping) or not judged:
        return result
    wanted = form_limit(policy.cpu_precision)
    others = {form_limit(form) for form in get_args(CpuPrecision)} - {wanted}
    judged = {name: found for name, found in judged.items() if name not in others}
    if result.id == AGREEMENT and policy.cpu_precision != "fp32" and wanted not in judged:
        return replace(
            result,
            status="inconclusive",
            summary=f"the run did not compare the form {policy.cpu_precision} with fp32",
            hint="Run the verification again with this policy.",
        )
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


def _latency(result: CheckResult, document: Document, policy: Policy) -> CheckResult:
    precision = policy.cpu_precision if policy.gate_provider == "cpu" else "fp32"
    wanted = (policy.gate_provider, "candidate", "mix", precision)
    series = next(
        (
            one
            for one in document.samples.latency
            if (one.provider, one.role, one.workload, one.precision) == wanted
        ),
        None,
    )
    limit = policy.limits.latency_p95_ms
    if series is None:
        return replace(
            result,
            status="inconclusive",
            limit=limit,
            summary=f"the report holds no samples of the {policy.gate_provider} provider",
            hint="Run the verification again with this policy.",
        )
    answer = judge_series(series, policy.limits)
    return replace(
        result,
        status=answer.status,
        measured=answer.upper_bound,
        limit=limit,
        unit="ms",
        summary=f"{answer.reason} (judged again)",
    )
