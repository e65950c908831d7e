"""Run the function that answers some checks, and turn whatever happens into results."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from ..environment.context import TargetContext
from ..errors import VerifyError, machines_own
from ..policy.result import CheckResult
from .table import CHECKS


def run_checks(context: TargetContext, check_ids: Sequence[str]) -> dict[str, Any]:
    """Run the function that answers some checks; return results, samples and coverage as JSON.

    Checks that share a function are answered by one call of it. An exception inside is a failed
    check with the traceback as evidence: the wheel or the check is broken, and neither may pass.
    A check that the function does not answer has failed too.
    """
    check = next(entry for entry in CHECKS if entry.id == check_ids[0])
    started = time.perf_counter()
    try:
        answer = check.function()(context)
        results = [answer] if isinstance(answer, CheckResult) else list(answer)
    except Exception as error:
        results = [_ended(name, error) for name in check_ids]
    seconds = time.perf_counter() - started
    answered = {result.id for result in results}
    results = [result for result in results if result.id in check_ids] + [
        CheckResult(id=name, status="failed", summary="the check gave no result")
        for name in check_ids
        if name not in answered
    ]
    samples: dict[str, list[Any]] = {}
    for kind, series in context.samples:
        samples.setdefault(kind, []).append(series)
    return {
        "results": [
            asdict(result if result.seconds else replace(result, seconds=seconds / len(results)))
            for result in results
        ],
        "samples": samples,
        "coverage": list(context.coverage),
    }


def _ended(name: str, error: Exception) -> CheckResult:
    """Return the result of a check that an exception has ended; called while it is handled."""
    if machine := machines_own(error):
        # Nothing is known of the wheel.
        return CheckResult(
            id=name, status="inconclusive", summary=machine.problem, hint=machine.hint
        )
    if isinstance(error, VerifyError):
        return CheckResult(
            id=name,
            status="failed",
            summary=error.problem,
            hint=error.hint,
            evidence={"context": error.context},
        )
    return CheckResult(
        id=name,
        status="failed",
        summary=f"the check ended with {type(error).__name__}: {error}",
        hint="The traceback is in the evidence.",
        evidence={"traceback": traceback.format_exc()},
    )
