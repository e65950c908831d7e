"""Ask the provider of a wheel about models, each question in a process and a folder of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..encoder.sessions import COREML
from ..environment.context import TargetContext
from ..errors import WheelNotUsable
from ..report.known_faults import known_faults
from ..sentence import Say
from .advice import SHOWN_BY, advise, cure, node_faults
from .nodes import ModelFacts, ModelFileError, Shape, facts, load
from .provider_inside import Coverage
from .provider_inside import measure as ask

if TYPE_CHECKING:
    import onnx

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
    hint: str = ""

    @property
    def unanswered(self) -> bool:
        """Whether a judged graph was never asked about: nothing is known, good or bad."""
        return self.judged and bool(self.coverage.failure) and not self.coverage.nodes_total

    def problems(self, limits: Limits) -> list[str]:
        """Return where the answer is over the limits; empty when it is not judged."""
        found = self.coverage
        if not self.judged:
            return []
        if found.failure:
            return [f"no session: {found.failure}"]
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
            "hint": self.hint,
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
            f"The wheel's onnxruntime cannot be imported: {call.sentence}.",
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
    say: Say,
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

    A file that is no model, or that no session can be made of, is an answer too: its ``failure``
    says why, and the others are asked all the same.
    """
    answers = []
    for question in questions:
        model = _read(question.path, context.patches)
        for model_format in formats:
            say(f"{question.label} as {model_format}")
            answer = _answer(context, question, model, {"ModelFormat": model_format, **options})
            judge = question.judged and model_format in judged
            answers.append(replace(answer, judged=judge))
    return answers


@dataclass(frozen=True, kw_only=True)
class _Model:
    """A model's file as it was read once for every format."""

    content: onnx.ModelProto
    known: ModelFacts
    faults: Mapping[str, str]


def _read(path: Path, patches: Collection[str]) -> _Model | ModelFileError:
    try:
        model = load(path)
    except ModelFileError as error:
        return error
    known = facts(model)
    faults = node_faults(model, patches, known.values)
    return _Model(content=model, known=known, faults=faults)


def _answer(
    context: TargetContext,
    question: Question,
    model: _Model | ModelFileError,
    options: Mapping[str, str],
) -> Answer:
    if isinstance(model, ModelFileError):
        nothing = Coverage(
            graph=question.label,
            partitions=0,
            nodes_total=0,
            nodes_taken=0,
            nodes=(),
            format=options["ModelFormat"],
            failure=model.problem,
        )
        return Answer(
            question=question,
            coverage=nothing,
            dynamic_axes=(),
            left=(),
            judged=True,
            hint=model.hint,
        )
    known, faults = model.known, model.faults
    coverage = _ask(context, question, options)
    inside = sum(known.inside.get(node["name"], 0) for node in coverage.nodes)
    coverage = replace(coverage, nodes_total=coverage.nodes_total + inside)
    if coverage.failure:
        where = stopped_at(model.content, coverage, faults)
        coverage = replace(coverage, failure=f"{coverage.failure}{where}")
    there = {node["op"] for node in coverage.nodes if node["provider"] == "coreml"}
    there |= faults.keys() if coverage.failure else set()
    there = {op for op in there if SHOWN_BY.get(op, "") in coverage.failure}
    return Answer(
        question=question,
        coverage=coverage,
        dynamic_axes=known.dynamic_axes,
        left=group(coverage, known),
        judged=True,
        warnings=(
            *known_faults(
                half=known.half,
                fixed_shapes=not known.dynamic_axes,
                external=known.external,
                model_format=options["ModelFormat"],
            ),
            *(said for op, said in faults.items() if op in there),
        ),
        hint=cure(coverage.failure, axes=known.dynamic_axes),
    )


def stopped_at(model: onnx.ModelProto, coverage: Coverage, faults: Collection[str]) -> str:
    """Say which node the provider was at when the session ended, where that can be known.

    It names nodes in the graph's order: first while it looks at them, then while it writes them.
    """
    nodes = {node.name: node.op_type for node in model.graph.node if node.op_type != "Constant"}
    if coverage.nodes_total:
        nodes = {
            node["name"]: node["op"] for node in coverage.nodes if node["provider"] == "coreml"
        }
    elif not coverage.asked and not faults:
        return ""  # the model itself was refused, before anyone looked at a node
    left = [(name, op) for name, op in nodes.items() if name not in coverage.asked]
    left.sort(key=lambda pair: pair[1] not in faults)  # those known to fail are named first
    return f" (at {left[0][1]} {left[0][0]})" if left else ""


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
            advice=advise(
                op,
                reason,
                shapes=shapes,
                axes=axes,
                model_format=coverage.format,
                inside=sum(known.inside.get(name, 0) for name in names),
                overridable=known.overridable,
            ),
            names=tuple(names),
        )
        for (op, shapes, reason), names in groups.items()
    )


def _ask(context: TargetContext, question: Question, options: Mapping[str, str]) -> Coverage:
    # A folder for each question: a NeuralNetwork session reuses models that it finds there.
    with tempfile.TemporaryDirectory(dir=context.work, prefix="coverage-") as folder:
        here = replace(context, work=Path(folder))
        return ask(here, question.path.resolve(), question.label, options=options)
