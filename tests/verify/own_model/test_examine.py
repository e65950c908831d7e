"""The parts of an examination: one that fails leaves the others their turn."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from rich.console import Console

from tests.kit.odd_models import write, write_external
from verify.checks.policies import find_policy
from verify.cli import main, with_command
from verify.conversion.own_model import Input
from verify.coverage import fixed_shapes
from verify.errors import VerifyError
from verify.latency.series import Plan, SeriesSamples, SeriesSpec
from verify.own_model import timing
from verify.own_model.asking import _read
from verify.own_model.code import Use, cargo_lines, python_code, rust_code
from verify.own_model.examine import Examined, _part
from verify.own_model.timing import Timing
from verify.policy.result import CheckResult


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--model", "net.onnx"], ["own-model", "--model", "net.onnx"]),
        (["--model=a b.ONNX", "--quick"], ["own-model", "--model=a b.ONNX", "--quick"]),
        (["--model", "net.pt"], ["own-model", "--model", "net.pt"]),
        (["run", "X.whl", "--model", "n.onnx"], ["own-model", "X.whl", "--model", "n.onnx"]),
        (["run", "--model", "bge-small"], ["run", "--model", "bge-small"]),
        (["conversion", "--model", "n.onnx"], ["conversion", "--model", "n.onnx"]),
        (["coverage", "n.onnx"], ["coverage", "n.onnx"]),
        (["--version"], ["--version"]),
        (["run", "--policy", "n.onnx"], ["run", "--policy", "n.onnx"]),
        (["X.whl", "--quick"], ["run", "X.whl", "--quick"]),
        (["onnxruntime==1.32.0"], ["run", "onnxruntime==1.32.0"]),
        (["X.whl", "--model", "n.onnx"], ["own-model", "X.whl", "--model", "n.onnx"]),
        ([], []),
    ],
)
def test_a_file_of_onnx_chooses_the_command(words: list[str], wanted: list[str]) -> None:
    assert with_command(words) == wanted


def use(**changed: Any) -> Use:
    inputs = [
        Input(name='pixel "values"', shape=(1, 3, 2), dtype=np.dtype("float32")),
        Input(name="flag", shape=(), dtype=np.dtype(bool)),
        Input(name="ids", shape=(4,), dtype=np.dtype("int64")),
    ]
    options = {"ModelFormat": "MLProgram", "RequireStaticInputShapes": "1"}
    given = {"file": "a net.onnx", "inputs": inputs, "output": "y", "output_type": "float32"}
    return Use(**{**given, "options": options, **changed})


def test_the_python_is_a_program() -> None:
    class Session:
        def __init__(self, file: str, providers: list[Any]) -> None:
            seen.update(file=file, providers=providers)

        def get_outputs(self) -> list[Any]:
            return []

        def run(self, names: None, feeds: dict[str, Any]) -> list[Any]:
            seen["feeds"] = feeds
            return []

    seen: dict[str, Any] = {}
    code = python_code(use()).replace("import onnxruntime as ort\n", "")
    scope = {"ort": type("Ort", (), {"InferenceSession": Session})}
    exec(compile(code, "pasted", "exec"), scope)
    assert seen["file"] == "a net.onnx"
    assert seen["providers"][0][1]["ModelFormat"] == "MLProgram"
    kinds = {name: (value.dtype.name, value.shape) for name, value in seen["feeds"].items()}
    assert kinds == {
        'pixel "values"': ("float32", (1, 3, 2)), "flag": ("bool", ()), "ids": ("int64", (4,)),
    }  # fmt: skip


def test_the_rust_names_types_sizes_and_options() -> None:
    code = rust_code(use())
    assert '"pixel \\"values\\"" => Tensor::from_array(([1usize, 3usize, 2usize]' in code
    assert "vec![0f32; 6]" in code
    assert '"flag" => Tensor::from_array(([0usize; 0], vec![false; 1]))' in code
    assert ".with_static_input_shapes(true)" in code
    assert "ModelFormat::MLProgram" in code
    assert '"api-21"' in cargo_lines(use())
    assert "half" not in cargo_lines(use())
    assert 'half = "2"' in cargo_lines(use(output_type="float16"))
    plain = use(options={"ModelFormat": "NeuralNetwork"})
    assert "static_input_shapes" not in rust_code(plain)


def passed(check: str) -> CheckResult:
    return CheckResult(id=check, status="passed", summary="")


def fails() -> list[CheckResult]:
    raise VerifyError("It does not.", hint="Do it.", context={"known fault": "yes"})


def breaks() -> list[CheckResult]:
    return [passed(str(1 // 0))]


def test_a_part_that_fails_names_its_party_and_the_next_one_runs() -> None:
    found = Examined()
    _part(found, ("conversion.package", "conversion.exact"), "the provider", fails)
    _part(found, ("latency.cpu",), "the machine", lambda: [passed("latency.cpu")])
    first, second, third = found.checks
    assert (first.status, first.summary, first.hint) == ("failed", "It does not.", "Do it.")
    assert first.evidence == {"party": "the provider", "known fault": "yes"}
    assert (second.status, second.summary) == ("not-run", "see conversion.package")
    assert third.status == "passed"
    assert found.exit_code == 1


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ({"model.fixed": "passed", "latency.cpu": "passed"}, 0),
        ({"model.fixed": "passed", "latency.cpu": "inconclusive", "coverage.model": "passed"}, 2),
        ({"model.fixed": "passed", "latency.cpu": "failed", "coverage.model": "not-run"}, 1),
        ({"model.fixed": "failed", "latency.cpu": "not-run"}, 3),
        ({"model.fixed": "not-run", "coverage.model": "passed"}, 2),
        ({"coverage.model": "passed", "conversion.device": "not-run"}, 0),
    ],
)
def test_the_exit_code_says_what_was_judged(statuses: dict[str, Any], code: int) -> None:
    checks = [CheckResult(id=name, status=each, summary="") for name, each in statuses.items()]
    assert Examined(checks=checks).exit_code == code


def test_a_fault_of_ours_is_3_and_never_1() -> None:
    found = Examined()
    _part(found, ("coverage.model",), "the provider", fails)
    _part(found, ("latency.cpu",), "the machine", breaks)
    assert found.checks[-1].status == "not-run"
    assert found.checks[-1].summary.startswith("ZeroDivisionError")
    assert found.exit_code == 3


def timed(ms: float, *, waited: bool = False) -> CheckResult:
    """Judge 400 calls of so many milliseconds by 10 ms, with or without others on the cores."""
    random = np.random.default_rng(3)
    wall = [int(value) for value in 1e6 * (ms + 0.05 * random.standard_normal(400))]
    series = SeriesSamples(
        spec=SeriesSpec(target="candidate", workload="fixed"),
        values=wall,
        process=[place % 3 for place in range(400)],
        recorded={"processor": wall, "delay": [int(5e6) if waited else 0] * 400, "alone": False},
    )
    return Timing(series=(series,)).result("latency.cpu", find_policy("linux").limits, 10.0)


@pytest.mark.parametrize(
    ("ms", "waited", "status", "party"),
    [
        (5.0, False, "passed", None),
        (15.0, False, "failed", "the model on this processor"),
        (15.0, True, "inconclusive", "the machine"),
    ],
)
def test_a_budget_judges_the_model_and_not_the_machine(
    ms: float, waited: bool, status: str, party: str | None
) -> None:
    found = timed(ms, waited=waited)
    assert (found.status, found.evidence.get("party")) == (status, party)
    assert found.limit == 10.0
    assert bool(found.hint) == (status != "passed")


def test_a_model_over_2_gb_leaves_the_provider_to_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fixed_shapes, "LARGEST_FILE", 200)
    options = argparse.Namespace(model=write_external(tmp_path), set=[], fix=[], json=True)
    model, refusal = _read(options, Console())
    assert model is None
    assert refusal is not None
    assert "GB with its weights" in refusal.problem
    assert "half precision" in refusal.hint


def test_the_line_to_paste_is_whole(tmp_path: Path) -> None:
    options = argparse.Namespace(model=write("no_shape", tmp_path), set=[], fix=[], json=True)
    with pytest.raises(VerifyError, match="would stay") as caught:
        _read(options, Console())
    assert "--fix x:0=N" in caught.value.hint
    assert "x has no shape in the model: give every one of its axes" in caught.value.hint


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "missing.onnx"], "There is no model at missing.onnx"),
        (["run", "--model", "missing.ONNX"], "There is no model at missing.ONNX"),
    ],
)
def test_a_missing_file_is_one_sentence(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 3
    assert said in capsys.readouterr().err


def waves(*, calls: int) -> SeriesSamples:
    """Calls whose slow ones come together, as on a busy machine: they are worth a few."""
    slow = [1.0 + 0.5 * (place // 48 % 8 == 7) for place in range(calls)]
    return SeriesSamples(
        spec=SeriesSpec(target="candidate", workload="fixed"),
        values=[int(1e6 * each) + place % 7 for place, each in enumerate(slow)],
        process=[place // 32 % 3 for place in range(calls)],
    )


def test_calls_that_depend_on_one_another_are_said_to_be_worth_less() -> None:
    found = Timing(series=(waves(calls=384),)).result(
        "latency.cpu", find_policy("linux").limits, None
    )
    assert found.status == "inconclusive"
    assert "384 calls" in found.summary
    assert "too few for a bound" in found.summary
    assert "idle" in found.hint


def test_rounds_go_on_while_the_calls_tell_no_bound(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {}

    def measure(_: object, plan: Plan, **more: Any) -> tuple[SeriesSamples, ...]:
        asked.update(more, plan=plan)
        return (waves(calls=384),)

    def enough(budget_ms: float | None, samples: SeriesSamples) -> bool:
        context = argparse.Namespace(policy=find_policy("linux"))
        options = argparse.Namespace(quick=True, budget_ms=budget_ms)
        files = {"fixed": tmp_path / "net.onnx"}
        timing.time_on_cpu(cast("Any", context), files, tmp_path, options, say=lambda _: None)
        return bool(asked["enough"]([samples]))

    monkeypatch.setattr(timing, "measure", measure)
    random = np.random.default_rng(3)
    even = SeriesSamples(
        spec=SeriesSpec(target="candidate", workload="fixed"),
        values=[int(value) for value in 1e6 + 1e4 * random.standard_normal(384)],
        process=[place // 32 % 3 for place in range(384)],
    )
    assert not enough(None, waves(calls=384))
    assert enough(None, even)
    # With a budget they go on until that is settled, one way or the other.
    p95 = float(np.quantile(even.values, 0.95)) / 1e6
    assert [enough(budget, even) for budget in (0.9, p95, 1.2)] == [True, False, True]


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("budget_ms", [None, 1.4])
def test_what_helps_with_open_calls_is_something_that_can_be_done(
    quick: bool, budget_ms: float | None
) -> None:
    limits = find_policy("linux").limits
    found = Timing(series=(waves(calls=384),), quick=quick).result("l", limits, budget_ms)
    assert found.status == "inconclusive"
    assert found.hint
    assert ("--quick" in found.hint) == quick
