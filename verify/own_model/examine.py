"""The parts of the examination, one after another: one that fails leaves the others their turn."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..commands.conversion import judge_all
from ..commands.equal_spelling import improve
from ..conversion import own_model as own
from ..conversion.package import NamesAlike, promised_macos
from ..conversion.proof import InputsRefused, KernelRefused, Setting
from ..coverage.advice import cure, models_own, never_runs
from ..coverage.fixed_shapes import fold, write_model, write_record
from ..coverage.nodes import load
from ..coverage.partitions import FORMATS, Answer, Limits, Question, measure
from ..encoder.sessions import COREML_OPTIONS
from ..environment.context import TargetContext
from ..environment.wheel_file import WheelFile
from ..errors import VerifyError
from ..latency.series import WorkerFailed
from ..policy.result import CheckResult
from ..sentence import Say
from .code import Use, cargo_lines, python_code, rust_code
from .timing import Timing, time_on_cpu

if TYPE_CHECKING:
    import onnx

FIXED, SPELT, COVERAGE, LATENCY = "model.fixed", "model.spelt", "coverage.model", "latency.cpu"
CONVERSION = ("conversion.package", "conversion.exact", "conversion.half")
OURS = "ortmill"
_REFUSED_BY = {
    InputsRefused: "the inputs",
    KernelRefused: "onnxruntime",
    NamesAlike: "the model",
}
STATIC = {"RequireStaticInputShapes": "1"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is examined, and by which limits.

    ``model`` has its axes fixed already; ``None`` where it cannot be one file, and ``refusal``
    says why. ``target`` is the file to write.
    """

    source: Path
    target: Path
    model: onnx.ModelProto | None
    refusal: VerifyError | None
    fixes: Mapping[str, int]
    options: argparse.Namespace
    limits: Limits
    wheel: WheelFile
    device: bool


@dataclass(kw_only=True)
class Examined:
    """What was found, part by part."""

    checks: list[CheckResult] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    measured: list[dict[str, Any]] = field(default_factory=list)
    timing: Timing | None = None
    code: dict[str, str] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)

    def status(self, check: str) -> str:
        """Return a check's status; ``not-run`` where there is none."""
        return next((each.status for each in self.checks if each.id == check), "not-run")

    @property
    def exit_code(self) -> int:
        """1 a check failed, 2 one was not judged, 3 none was or we were at fault, else 0."""
        counted = [
            each
            for each in self.checks
            if each.id != "conversion.device" or each.evidence.get("packages")
        ]
        if any(each.evidence.get("party") == OURS for each in counted):
            return VerifyError.exit_code
        if not any(each.status in ("passed", "failed") for each in counted if each.id != FIXED):
            return VerifyError.exit_code
        statuses = {each.status for each in counted}
        return 1 if "failed" in statuses else 0 if statuses == {"passed"} else 2


def examine(context: TargetContext, asked: Asked, *, say: Say) -> Examined:
    """Carry every part out; what went wrong is in the parts, and never raised."""
    found = Examined()
    _part(found, (FIXED,), "the model", lambda: [_fixed(context, asked, found, say)])
    there = found.status(FIXED) == "passed"
    if asked.options.rewrite:
        _part(
            found, (SPELT,), "the model", lambda: [_spelt(context, asked, found, say)], ready=there
        )
    _part(found, (COVERAGE,), "the provider", lambda: [_coverage(context, asked, found, say)])
    if not there:
        _part(found, (*CONVERSION, LATENCY), "the model", list, ready=False)
        return found
    _part(found, CONVERSION, "the provider", lambda: _conversion(context, asked, found, say))
    _part(found, (LATENCY,), "the machine", lambda: [_latency(context, asked, found, say)])
    _part(found, ("model.code",), OURS, lambda: _code(asked, found))
    return found


def _part(
    found: Examined,
    checks: Sequence[str],
    party: str,
    work: Callable[[], Sequence[CheckResult]],
    *,
    ready: bool = True,
) -> None:
    """Add what a part says, or why it says nothing; ``party`` is who is at fault where it fails."""
    began = time.monotonic()
    results: Sequence[CheckResult]
    try:
        if not ready:
            raise _Needs("it needs the fixed model")
        results = work()
    except _Needs as missing:
        results = [_unsaid(check, str(missing)) for check in checks]
    except (InputsRefused, KernelRefused, NamesAlike) as error:
        # Nobody was asked, so nobody failed.
        whose = {"party": _REFUSED_BY[type(error)]}
        results = [
            _unsaid(check, error.problem, hint=error.hint, evidence=whose) for check in checks
        ]
    except VerifyError as error:
        first = CheckResult(
            id=checks[0],
            status="failed",
            summary=error.problem,
            evidence=_facts(error),
            hint=error.hint,
        )
        results = [first, *(_unsaid(check, f"see {checks[0]}") for check in checks[1:])]
    except Exception as error:  # a fault of ours: told as such, and the other parts still run
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        hint = "This is a fault of ortmill: please report it with the model."
        results = [_unsaid(check, said, hint=hint, evidence={"party": OURS}) for check in checks]
    share = round((time.monotonic() - began) / max(1, len(results)), 2)
    for result in results:
        blamed = result.status == "failed" and "party" not in result.evidence
        whose = {"party": "the model" if models_own(result.summary) else party}
        evidence = {**whose, **result.evidence} if blamed else result.evidence
        found.checks.append(replace(result, evidence=evidence, seconds=share))


class _Needs(Exception):
    """A part that cannot begin, because one before it did not end well."""


def _facts(error: VerifyError) -> dict[str, str]:
    """Return what an error knows besides its sentence, without a worker's own last words."""
    return {name: text for name, text in error.context.items() if name != "last lines"}


def _unsaid(check: str, why: str, **more: Any) -> CheckResult:
    return CheckResult(id=check, status="not-run", summary=why, **more)


def _fixed(context: TargetContext, asked: Asked, found: Examined, say: Say) -> CheckResult:
    if asked.model is None:
        raise asked.refusal or VerifyError("The model cannot be written as one file.")
    say("folding constants")
    plain = context.work / "own.onnx"
    write_model(asked.model, plain)
    folded = fold(context, plain, asked.target)
    load(asked.target)  # one whose every node was folded is told here, as the model's own
    changes = {"fixed": dict(asked.fixes), "set": asked.options.set, "rewritten": []}
    found.record = write_record(
        asked.source,
        asked.target,
        wheel=asked.wheel.path.name if folded else None,
        changes=changes,
    )
    weights = found.record["made_constant"]
    made = f"weights that were inputs are constants: {', '.join(weights)}; " if weights else ""
    sizes = ", ".join(f"{name}={size}" for name, size in asked.fixes.items())
    return CheckResult(
        id=FIXED,
        status="passed",
        summary=f"{sizes or 'no axis was dynamic'}; {made}"
        + ("constants folded" if folded else "not folded: half beside single precision"),
        evidence={"file": str(asked.target), "sha256": found.record["graph_sha256"]},
    )


def _spelt(context: TargetContext, asked: Asked, found: Examined, say: Say) -> CheckResult:
    steps = improve(context, asked.target, say=say)
    taken = [step for step in steps if step.taken]
    found.record = write_record(
        asked.source,
        asked.target,
        wheel=found.record["folded_by"],
        changes={
            "fixed": dict(asked.fixes),
            "set": asked.options.set,
            "rewritten": [asdict(step) for step in steps],
        },
    )
    gained = ", ".join(f"{step.nodes} x {step.op}" for step in taken)
    return CheckResult(
        id=SPELT,
        status="passed",
        summary=f"{gained} spelt otherwise, equal on the CPU provider"
        if taken
        else "nothing to spell otherwise",
        evidence={"steps": [step.sentence() for step in steps]},
    )


def _coverage(context: TargetContext, asked: Asked, found: Examined, say: Say) -> CheckResult:
    """Ask about the file as it is, and about the fixed one; the latter is judged as MLProgram."""
    fixed = asked.target.is_file() and found.status(FIXED) == "passed"
    exported = Question(path=asked.source, label="as exported", judged=not fixed)
    given: list[tuple[Question, dict[str, str]]] = [(exported, {})]
    if fixed:  # as the code to paste has it, and the conversion proof
        given.append((Question(path=asked.target, label="fixed"), STATIC))
    for question, options in given:
        found.answers += measure(
            context, [question], FORMATS, judged=FORMATS[1:], options=options, say=say
        )
    last = found.answers[-1]
    problems = last.problems(asked.limits)
    taken = last.coverage
    before = found.answers[1].coverage
    told = [
        f"partitions: {each.partitions}, nodes: {each.nodes_taken} of {each.nodes_total}"
        for each in ([before, taken] if fixed else [taken])
    ]
    advice = [left.advice for left in last.left if left.advice]
    # Where the runtime refuses the model by itself, that is no answer of the provider's.
    refused = not fixed and (last.unanswered or asked.model is not None)
    return CheckResult(
        id=COVERAGE,
        status="not-run" if taken.failure and refused else "failed" if problems else "passed",
        summary=" -> ".join(told) + (f"; {'; '.join(problems)}" if problems else ""),
        measured=round(taken.share, 6),
        limit=asked.limits.nodes,
        unit="share of nodes",
        evidence={"problems": problems, "known faults": list(last.warnings)},
        hint=(last.hint or next(iter(advice), "")) if problems else "",
    )


def _conversion(
    context: TargetContext, asked: Asked, found: Examined, say: Say
) -> list[CheckResult]:
    options = argparse.Namespace(**{**vars(asked.options), "fix": []})
    setting = Setting(minimum_os=promised_macos(asked.wheel.path.name), device=asked.device)
    proven = own.prove_model(context, asked.target, options, setting, say=say)
    found.measured = proven.packages
    results = judge_all(proven.packages, context.policy, options, proven.taken)
    whose = {"conversion.half": "the model in half precision"}
    return [
        replace(each, evidence={"party": whose[each.id], **each.evidence})
        if each.status == "failed" and each.id in whose
        else each
        for each in results
    ]


def _latency(context: TargetContext, asked: Asked, found: Examined, say: Say) -> CheckResult:
    import onnx

    model = onnx.load(str(asked.target))
    feeds = context.work / "timing-inputs.npz"
    own.write_feeds(feeds, own.choose_inputs(own.model_inputs(model), asked.options))
    fixed = {"fixed": asked.target}
    try:
        both = {**fixed, "as exported": asked.source}
        found.timing = time_on_cpu(context, both, feeds, asked.options, say=say)
    except WorkerFailed:
        # As exported it may take other inputs, or declare axes of 0 that the runtime believes.
        try:
            found.timing = time_on_cpu(context, fixed, feeds, asked.options, say=say)
        except WorkerFailed as error:
            if models_own(error.problem):
                raise VerifyError(error.problem, hint=cure(error.problem)) from None
            if never := never_runs(error.problem):
                raise KernelRefused(error.problem, hint=never) from None
            if "while running" in error.problem:
                raise InputsRefused(
                    error.problem, hint="Give others, with --inputs FILE."
                ) from None
            if " raised " in error.problem:  # a process that answers is no machine's failure
                raise VerifyError(error.problem, context={"party": "the model"}) from None
            raise
    return found.timing.result(LATENCY, context.policy.limits, asked.options.budget_ms)


def _code(asked: Asked, found: Examined) -> list[CheckResult]:
    import onnx

    model = onnx.load(str(asked.target), load_external_data=False)
    output = model.graph.output[0]
    number = output.type.tensor_type.elem_type  # none of a sequence or a map
    kind = onnx.helper.tensor_dtype_to_np_dtype(number) if number else "no tensor"
    use = Use(
        file=str(asked.target),
        inputs=own.model_inputs(model),
        output=output.name,
        output_type=str(kind),
        options={**COREML_OPTIONS, "ModelFormat": best_format(found.answers)},
    )
    found.code = {
        "python": python_code(use),
        "cargo": cargo_lines(use),
        "rust": rust_code(use),
    }
    return []


def best_format(answers: Sequence[Answer]) -> str:
    """Return the format to use: MLProgram, unless it takes nothing and NeuralNetwork does."""
    last = {answer.coverage.format: answer.coverage for answer in answers}
    program, network = last.get("MLProgram"), last.get("NeuralNetwork")
    usable = {
        name: bool(each and each.partitions and not each.failure)
        for name, each in (("MLProgram", program), ("NeuralNetwork", network))
    }
    return "NeuralNetwork" if usable["NeuralNetwork"] and not usable["MLProgram"] else "MLProgram"
