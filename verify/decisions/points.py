"""GO or NO-GO, point by point: each answer is read from an artefact, never assumed.

The plan that this product serves goes from the wheel to the accelerator and back to its fallback.
A point without its artefact is open, and names the command that answers it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..encoder.model_recipe import file_sha256
from ..report.document import Document

Answer = Literal["yes", "no", "open"]
_CHECKS = (
    ("is CoreML in it?", "provider.registered"),
    ("does CoreML take the encoder in one piece?", "coverage.partitions"),
    ("do the programs that it makes compute the same?", "conversion.exact"),
    ("are the embeddings right?", "embedding.reference"),
    ("does CoreML execute it here?", "provider.executes"),
    ("is P95 within the budget?", "latency.p95"),
    ("is it no slower than what it is compared with?", "latency.speedup"),
)
_PROVE = "nox -s verify"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One decision point.

    ``open`` is the answer where no artefact says it, or the measurement did not settle it.
    ``because`` is the figure, or why it is open; ``command`` answers it, or shows more, and is
    empty for a yes.
    """

    question: str
    answer: Answer
    because: str
    command: str = ""


def points(
    manifest: Mapping[str, Any] | None, folder: Path, document: Document | None
) -> tuple[Point, ...]:
    """Answer every point, in the plan's order: the wheel, then what was proven of it.

    ``folder`` is where the wheel is that ``wheels/manifest.json`` names; ``document`` is the last
    verification. Either may be missing.
    """
    first = _built(manifest, folder)
    if document is None:
        why = "nothing was verified yet"
        return (first, *(_open(question, why) for question, _ in _CHECKS))
    if manifest is not None and document.wheel.sha256 != manifest["wheel"]["sha256"]:
        why = f"the last verification was of another wheel, {document.wheel.file}"
        return (first, *(_open(question, why) for question, _ in _CHECKS))
    return (first, *(_judged(document, question, check) for question, check in _CHECKS))


def _open(question: str, why: str) -> Point:
    return Point(question=question, answer="open", because=why, command=_PROVE)


def _built(manifest: Mapping[str, Any] | None, folder: Path) -> Point:
    question = "is there a wheel from pinned sources?"
    if manifest is None:
        return Point(question=question, answer="open", because="none yet", command="nox -s build")
    wheel = folder / manifest["wheel"]["file"]
    if not wheel.is_file():
        said = f"{wheel.name} is gone; the manifest still names it"
        return Point(question=question, answer="no", because=said, command="nox -s build")
    if file_sha256(wheel) != manifest["wheel"]["sha256"]:
        said = f"{wheel.name} is not the file that the build wrote down"
        return Point(
            question=question, answer="no", because=said, command="nox -s build -- --fresh"
        )
    said = f"{wheel.name}, recipe {manifest['recipe']['digest'][:8]}"
    return Point(question=question, answer="yes", because=said)


def _judged(document: Document, question: str, check_id: str) -> Point:
    check = document.check(check_id)
    if check is None:
        return _open(question, f"the last verification left {check_id} out")
    said = " ".join(check.summary.split())
    if check.status == "passed":
        return Point(question=question, answer="yes", because=said)
    if check.status == "failed":
        return Point(question=question, answer="no", because=said, command=check.hint)
    return Point(question=question, answer="open", because=said, command=check.hint or _PROVE)
