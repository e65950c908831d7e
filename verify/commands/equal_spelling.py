"""Rewrites that are proven: equal on the CPU provider, and with a gain on CoreML."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from ..conversion.own_model import draw_inputs, model_inputs, write_feeds
from ..conversion.proof import InputsRefused
from ..coverage.advice import REWRITTEN, is_faulty
from ..coverage.fixed_shapes import write_model
from ..coverage.partitions import Question, measure
from ..coverage.provider_inside import Coverage
from ..coverage.rewrite import RULES, rewritten
from ..environment.context import TargetContext
from ..sentence import Say

LARGEST_DIFFERENCE = 1e-5
"""Of an output's largest element, between the model and the rewritten one."""
CASES = 4


@dataclass(frozen=True, kw_only=True)
class Rewrite:
    """One operator spelt otherwise: how often, how near, and what it gained.

    ``difference`` is the largest of an output, as a share of its largest element; ``None`` when
    nothing was compared, and ``why`` says why. ``before`` and ``after`` are (partitions, taken,
    nodes).
    """

    op: str
    nodes: int
    difference: float | None
    before: tuple[int, int, int]
    after: tuple[int, int, int]
    taken: bool
    why: str = ""

    def sentence(self) -> str:
        """Return it as a line for a person."""
        head = f"rewrite: {self.nodes} x {self.op} as {REWRITTEN[self.op]}"
        if self.difference is None:
            return f"{head}: left out, {self.why}"
        if self.difference > LARGEST_DIFFERENCE:
            return f"{head}: left out, the outputs differ by {self.difference:.2g} on the CPU"
        told = [f"{taken} of {total} nodes (partitions: {p})" for p, taken, total in self._both()]
        ending = "" if self.taken else "; left out, nothing is gained"
        return f"{head}: {told[0]} -> {told[1]}, equal within {self.difference:.2g}{ending}"

    def _both(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        return self.before, self.after


def improve(context: TargetContext, path: Path, *, say: Say) -> list[Rewrite]:
    """Rewrite a model's file, operator by operator, where it pays; return every attempt.

    A rewrite that cannot be compared is left out, and its attempt says why.
    """
    model = onnx.load(str(path))
    found: list[Rewrite] = []
    before = _ask(context, path, say)
    candidate = context.work / "rewritten.onnx"
    for op in RULES:
        changed, count = rewritten(model, op)
        if not count:
            continue
        say(f"{op} as {REWRITTEN[op]}")
        write_model(changed, candidate)
        compared = largest_difference(context, path, candidate)
        difference, why = (None, compared) if isinstance(compared, str) else (compared, "")
        after = _ask(context, candidate, say)
        equal = difference is not None and difference <= LARGEST_DIFFERENCE
        if not equal and not why and _wavers(context, path):
            difference, why = None, "the model's own outputs differ from run to run"
        # A node that the provider takes and gets wrong is worth another spelling by itself.
        faulty = is_faulty(op, context.patches) and not after.failure
        gained = faulty or _worth(after) > _worth(before)
        step = Rewrite(
            op=op,
            nodes=count,
            difference=difference,
            why=why,
            before=_counts(before),
            after=_counts(after),
            taken=equal and gained,
        )
        found.append(step)
        if step.taken:
            write_model(changed, path)
            model, before = changed, after
    return found


def _wavers(context: TargetContext, path: Path) -> bool:
    """Whether a model differs from itself, as one does that draws random numbers."""
    own = largest_difference(context, path, path)
    return not isinstance(own, str) and own > LARGEST_DIFFERENCE


def largest_difference(context: TargetContext, one: Path, other: Path) -> float | str:
    """Return how far two models are apart on the CPU provider, on inputs drawn with one seed.

    The largest difference of an output, as a share of its largest element; infinite where one has
    a NaN that the other has not. A clause that says why, where there is nothing to compare.
    """
    model = onnx.load(str(one))
    names = [item.name for item in model.graph.output]
    feeds = context.work / "spelling-inputs.npz"
    try:
        drawn = draw_inputs(model_inputs(model), count=CASES, seed=0, ranges={})
    except InputsRefused as error:
        return f"no inputs can be drawn: {error.problem}"
    write_feeds(feeds, drawn)
    answers = []
    for path in (one, other):
        file = context.work / "spelling.npz"
        wanted = {"graph": str(path), "values": names, "file": str(file), "feeds": str(feeds)}
        job = {"graphs": [wanted], "texts": []}
        if context.call(".conversion.emit_inside:values", job, timeout=900.0).value is not True:
            return "it does not run on the CPU provider with inputs that are drawn"
        with np.load(file, allow_pickle=False) as stored:
            answers.append([stored[f"v{place}"].astype(np.float64) for place in range(len(names))])
    if not all(np.isfinite(each).any() for each in answers[0]):
        return "an output holds no finite number for any input that is drawn"
    worst = 0.0
    for before, after in zip(*answers, strict=True):
        if before.shape != after.shape:
            return float("inf")
        same = (before == after) | (np.isnan(before) & np.isnan(after))
        gap = np.where(same, 0.0, np.abs(before - after))
        size = np.abs(before[np.isfinite(before)]).max(initial=0.0) or 1.0
        worst = max(worst, float(np.nan_to_num(gap, nan=np.inf).max(initial=0.0) / size))
    return worst


def _ask(context: TargetContext, path: Path, say: Say) -> Coverage:
    question = Question(path=path, label=path.stem)
    return measure(context, [question], ("MLProgram",), judged=(), options={}, say=say)[0].coverage


def _counts(found: Coverage) -> tuple[int, int, int]:
    return found.partitions, found.nodes_taken, found.nodes_total


def _worth(found: Coverage) -> tuple[bool, bool, int, int]:
    """Order coverages: a session at all, something taken, few nodes left, few partitions."""
    left = found.nodes_total - found.nodes_taken
    return not found.failure, found.partitions > 0, -left, -found.partitions
