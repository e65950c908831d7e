"""What is kept of an examination: one document, for the page, for ``--json`` and for CI."""

from __future__ import annotations

import json
from typing import Any

from .. import __version__
from ..checks.table import CHECKS
from ..errors import VerifyError
from ..report.document import CheckEntry, dumps
from .examine import COVERAGE, Asked, Examined

VERSION = 1
TITLES = {
    "model.fixed": "Axes are fixed, constants folded",
    "model.spelt": "Operators are spelt as CoreML takes them",
    "model.code": "The code to paste",
    "coverage.model": "CoreML takes the model",
    "conversion.nodes": "How much of the model is proven",
    "conversion.device": "Core ML predicts the same",
    "latency.cpu": "Latency on the CPU",
}
DECISIONS = {0: "READY FOR A MAC", 1: "NOT READY", 2: "OPEN", 3: "NOT JUDGED"}
KINDS = {0: "passed", 1: "failed", 2: "inconclusive", 3: "failed"}
_ELSEWHERE = "how CoreML executes it, and how fast: that needs a Mac"
_PASTE = "Paste the code below: it takes the fixed file."
_ON_A_MAC = "Give the same command on a Mac: only there CoreML executes the model."


def entries(examined: Examined) -> list[CheckEntry]:
    """Return the parts as the report's own entries."""
    titles = {check.id: check.title for check in CHECKS} | TITLES
    found = []
    for result in examined.checks:
        values = json.loads(dumps(vars(result)))
        required = result.id != "conversion.device" or bool(result.evidence.get("packages"))
        found.append(CheckEntry(title=titles[result.id], required=required, **values))
    return found


def document(asked: Asked, examined: Examined, seconds: float) -> dict[str, Any]:
    """Return the document as JSON values."""
    code = examined.exit_code
    timing = examined.timing.series if examined.timing else ()
    checks = entries(examined)
    open_ends = [f"{each.title}: {each.summary}" for each in checks
                 if each.status in ("not-run", "inconclusive") and each.required]  # fmt: skip
    then: list[str] = []
    if not any(each.id == "conversion.device" and each.required for each in checks):
        open_ends.append(_ELSEWHERE)
        then = [_PASTE, _ON_A_MAC] if code == 0 else []
    open_ends += examined.answers[-1].warnings if examined.answers else ()
    found = {
        "version": VERSION,
        "ortmill": __version__,
        "model": str(asked.source),
        "wheel": {"file": asked.wheel.path.name, "sha256": asked.wheel.sha256},
        "seconds": round(seconds, 1),
        "verdict": {
            "decision": DECISIONS[code],
            "exit_code": code,
            "headline": headline(asked, examined),
            "proven": [each.title for each in checks if each.status == "passed"],
            "not_proven": open_ends,
            "next": [each.hint for each in checks if each.hint and each.status != "passed"
                     and each.required] + then,
        },
        "checks": [each.model_dump(mode="json") for each in checks],
        "fixed": examined.record,
        "coverage": [answer.to_json(asked.limits) for answer in examined.answers],
        "packages": examined.measured,
        "latency": [series.to_json() for series in timing],
        "code": examined.code,
    }  # fmt: skip
    made: dict[str, Any] = json.loads(dumps(found))
    return made


def headline(asked: Asked, examined: Examined) -> str:
    """Return one line: the model, what CoreML takes of it, and what else failed."""
    if examined.exit_code == VerifyError.exit_code:
        return f"{asked.source.name}: it could not be judged"
    taken = next((each.summary for each in examined.checks if each.id == COVERAGE), "")
    failed = [each.id for each in examined.checks if each.status == "failed"]
    others = [each for each in failed if each != COVERAGE]
    return f"{asked.source.name}: {taken}" + (f"; failed: {', '.join(others)}" if others else "")
