"""The worker's end of the channel: ``python -m verify.environment.worker_inside``.

The first line of standard input says which function to run; see
:mod:`~verify.environment.channel`. Lines on standard output are its values, and progress.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Generator
from contextlib import closing
from typing import Any, TextIO

from ..errors import VerifyError, machines_own
from .channel import load_function
from .context import TargetContext


def main() -> int:
    """Run one function; 0 when it has answered everything that it was asked."""
    # Native code may print: standard output is for answers alone, the rest goes to stderr.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    job = json.loads(sys.stdin.readline())
    try:
        _run(job, answers)
    except Exception as error:
        # Whatever the wheel throws is a finding, and belongs to the host.
        traceback.print_exc()
        told = machines_own(error) or error
        message = told.problem if isinstance(told, VerifyError) else str(told)
        hint = told.hint if isinstance(told, VerifyError) else ""
        _write(answers, {"error": message, "kind": type(told).__name__, "hint": hint})
        return 1
    return 0


def _run(job: dict[str, Any], answers: TextIO) -> None:
    arguments = [job["payload"]]
    if job["context"] is not None:
        context = TargetContext.from_job(
            job["context"], listener=lambda check, text: _write(answers, {"say": [check, text]})
        )
        arguments.insert(0, context)
    found = load_function(job["function"])(*arguments)
    if not isinstance(found, Generator):
        _write(answers, {"value": found})
        return
    with closing(found):
        _write(answers, {"value": next(found)})
        for line in sys.stdin:
            _write(answers, {"value": found.send(json.loads(line))})


def _write(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    sys.exit(main())
