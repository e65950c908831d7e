"""Ask the provider of a wheel about models, each question in a process and a folder of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..encoder.sessions import COREML
from ..environment.context import TargetContext
from ..errors import VerifyError, WheelNotUsable
from ..report.known_faults import known_faults
from .advice import advise
from .nodes import ModelFacts, Shape, facts, load
from .provider_inside import Coverage
from .provider_inside import measure as ask

Format = Literal["NeuralNetwork", "MLProgram"]
FORMATS: tuple[Format, ...] = ("NeuralNetwork", "MLProgram")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a judged graph must reach: partitions at most, nodes taken at least (0..1)."""

    partitions: int
    nodes: float


@dataclass(frozen=True, kw_only=True)
class Question:
    """One model to ask about.

    Parameters
    ----------
    path : Path
    label : str
        Name for tables.
    judged : bool
        Whether the limits apply. A graph meant for the CPU is measured to compare, not judged.
    """

    path: Path
    label: str
    judged: bool = True


@dataclass(frozen=True, kw_only=True)
class Left:
    """Nodes left behind that share operator, input shapes and reason."""

    op: str
    shapes: tuple[Shape, ...]
    reason: str
    advice: str
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the provider said about one model in one format."""

    question: Question
    coverage: Coverage
    dynamic_axes: tuple[str, ...]
    left: tuple[Left, ...]
    judged: bool
    warnings: tuple[str, ...] = ()

    def problems(self, limits: Limits) -> list[str]:
        """Return where the answer is over the limits; empty when it is not judged."""
        found = self.coverage
        if not self.judged:
            return []
        if not found.partitions:
            return ["nothing is taken"]
        over = []
        if found.partitions > limits.partitions:
            over.append(f"{found.partitions} partitions, at most {limits.partitions}")
        if found.share < limits.nodes:
            over.append(f"{100 * found.share:.1f} % of nodes, at least {100 * limits.nodes:g} %")
        return over

    def to_json(self, limits: Limits) -> dict[str, Any]:
        """Return the answer as JSON values."""
        return {
            **self.coverage.to_json(),
            "file": str(self.question.path),
            "share": round(self.coverage.share, 6),
            "dynamic_axes": list(self.dynamic_axes),
            "judged": self.judged,
            "problems": self.problems(limits),
            "warnings": list(self.warnings),
            "left_behind": [
                {
                    "op": left.op,
                    "nodes": list(left.names),
                    "shapes": [list(shape) for shape in left.shapes],
                    "reason": left.reason,
                    "advice": left.advice,
                }
                for left in self.left
            ],
        }


def check_provider(context: TargetContext) -> None:
    """Make sure that the wheel lists CoreML.

    Raises
    ------
    WheelNotUsable
        When it does not, or cannot be imported.
    """
    call = context.call(".coverage.provider_inside:listed_providers", {})
    if call.value is None:
        raise WheelNotUsable(
            f"The wheel's onnxruntime cannot be imported: {call.last_words[:300]}.",
            hint="`python -m verify run` tells more about the wheel.",
        )
    if COREML not in call.value:
        raise WheelNotUsable(
            f"This wheel has no {COREML}; it has {', '.join(call.value)}.",
            hint="Build one that has with `nox -s build`; on macOS the official wheel has it.",
        )


def measure(
    context: TargetContext,
    questions: Sequence[Question],
    formats: Sequence[Format],
    *,
    judged: Sequence[Format],
    options: Mapping[str, str],
    say: Callable[[str], None],
) -> list[Answer]:
    """Ask about every model in every format.

    Parameters
    ----------
    context : TargetContext
        The environment with the wheel, and a folder for scratch files.
    questions : sequence of Question
    formats, judged : sequence of Format
        Formats to ask for, and those of them to which the limits apply.
    options : Mapping[str, str]
        Further options of the provider.
    say : callable
        Takes a line of progress.

    Raises
    ------
    VerifyError
        When a file is no ONNX model, or the runtime refuses it.
    """
    answers = []
    for question in questions:
        known = facts(load(question.path))
        for model_format in formats:
            say(f"{question.label} as {model_format}")
            coverage = _ask(context, question, {"ModelFormat": model_format, **options})
            answers.append(
                Answer(
                    question=question,
                    coverage=coverage,
                    dynamic_axes=known.dynamic_axes,
                    left=group(coverage, known),
                    judged=question.judged and model_format in judged,
                    warnings=known_faults(
                        half=known.half,
                        fixed_shapes=not known.dynamic_axes,
                        external=known.external,
                        model_format=model_format,
                    ),
                )
            )
    return answers


def group(coverage: Coverage, known: ModelFacts) -> tuple[Left, ...]:
    """Group the nodes left behind, each group with its advice, in the graph's order."""
    groups: dict[tuple[str, tuple[Shape, ...], str], list[str]] = {}
    for node in coverage.nodes:
        if node["provider"] != "coreml":
            key = (node["op"], known.shapes(node["name"]), node["reason"])
            groups.setdefault(key, []).append(node["name"])
    axes = known.dynamic_axes
    return tuple(
        Left(
            op=op,
            shapes=shapes,
            reason=reason,
            advice=advise(op, reason, shapes=shapes, axes=axes, model_format=coverage.format),
            names=tuple(names),
        )
        for (op, shapes, reason), names in groups.items()
    )


def _ask(context: TargetContext, question: Question, options: Mapping[str, str]) -> Coverage:
    # A folder for each question: a NeuralNetwork session reuses models that it finds there.
    with tempfile.TemporaryDirectory(dir=context.work, prefix="coverage-") as folder:
        here = replace(context, work=Path(folder))
        found = ask(here, question.path.resolve(), question.label, options=options)
    if isinstance(found, str):
        raise VerifyError(
            f"{question.label}: {found}.",
            hint="The runtime could not load the model; try it with the CPU provider first.",
        )
    return found
