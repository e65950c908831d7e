"""The worker: ``python -m verify.checks.worker_inside JOB.json``.

It runs one check and writes its result file.
With ``-`` the job comes on standard input and names a function to call instead of a check; its
JSON value goes to standard output after ``@result``.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..environment.context import TargetContext
from ..errors import VerifyError
from ..policy.result import CheckResult
from .table import CHECKS


def main(argv: list[str]) -> int:
    """Run the job that ``argv`` names; 0 when a result was written."""
    if argv == ["-"]:
        return _call(json.loads(sys.stdin.read()))
    job = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    result = run_check(TargetContext.from_job(job), job["checks"], run=job.get("run"))
    path = Path(job["result"])
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(result), encoding="utf-8")
    partial.replace(path)
    return 0


def run_check(
    context: TargetContext, check_ids: Sequence[str], *, run: str | None = None
) -> dict[str, Any]:
    """Run the function that answers some checks; return results, samples and coverage as JSON.

    Checks that share a function are answered by one call of it. An exception inside is a failed
    check with the traceback as evidence: the wheel or the check is broken, and neither may pass.
    A check that the function does not answer has failed too.
    """
    check = next(entry for entry in CHECKS if entry.id == check_ids[0])
    if run is not None:
        check = replace(check, run=run)
    started = time.perf_counter()
    try:
        answer = check.function()(context)
        results = [answer] if isinstance(answer, CheckResult) else list(answer)
    except VerifyError as error:
        results = [
            CheckResult(
                id=name,
                status="failed",
                summary=error.problem,
                hint=error.hint,
                evidence={"context": error.context},
            )
            for name in check_ids
        ]
    except Exception as error:
        results = [
            CheckResult(
                id=name,
                status="failed",
                summary=f"the check ended with {type(error).__name__}: {error}",
                hint="The traceback is in the evidence.",
                evidence={"traceback": traceback.format_exc()},
            )
            for name in check_ids
        ]
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


def _call(job: dict[str, Any]) -> int:
    module, _, name = job["call"].partition(":")
    value = getattr(importlib.import_module(module), name)(
        TargetContext.from_job(job), job["payload"]
    )
    print("@result " + json.dumps(value), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
