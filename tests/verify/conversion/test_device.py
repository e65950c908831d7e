"""What Core ML says on a Mac, read and judged; the answers here are written by hand.

No Mac was at hand to record them. Structures are coremltools' own classes, and the log is spelt as
``ProfileBlock`` in the provider's model.mm of 1.21.0 spells it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.verify.conversion.test_programs import encoder_block, example_inputs, write_package
from verify.cli import main
from verify.commands import conversion as cli
from verify.conversion import device
from verify.conversion.closeness import Known
from verify.conversion.device import (
    Placed,
    compare_predictions,
    device_name,
    fed,
    measure_device,
    plans_differ,
    read_plan,
    read_profile,
    summary,
)
from verify.conversion.emit_inside import GRAPH_LINE
from verify.conversion.evaluate import evaluate
from verify.conversion.outcome import exit_code, judge, judge_device
from verify.conversion.package import quiet, read_package
from verify.conversion.program import Program, load_program
from verify.conversion.proof import Graph, _profiled

pytestmark = pytest.mark.filterwarnings("ignore")

RECORD = """\
2026-11-22 20:15:01.102 python3.11[4242:81818] profile function : main
2026-11-22 20:15:01.103 python3.11[4242:81818] Operation: ios17.matmul, Device Usage: \
<MLNeuralEngineComputeDevice: 0x60000171c0f0>, Estimated Cost: 0.412500
2026-11-22 20:15:01.103 python3.11[4242:81818] Operation: ios17.add, Device Usage: \
<MLNeuralEngineComputeDevice: 0x60000171c0f0>, Estimated Cost: 0.087500
2026-11-22 20:15:01.104 python3.11[4242:81818] Operation: ios16.softmax, Device Usage: \
<MLGPUComputeDevice: 0x60000171c120>, Estimated Cost: 0.300000
2026-11-22 20:15:01.104 python3.11[4242:81818] Operation: ios15.erf, Device Usage: \
<MLCPUComputeDevice: 0x60000171c130>, Estimated Cost: 0.200000
2026-11-22 20:15:01.105 python3.11[4242:81818] Operation: ios17.cast, Device Usage: (null), \
Estimated Cost: 0.000000
"""


class MLNeuralEngineComputeDevice: ...


class MLGPUComputeDevice: ...


class MLCPUComputeDevice: ...


class Plan:
    """A compute plan as coremltools gives it: its own classes over our answers."""

    def __init__(self, *rows: tuple[str, str, Any, float | None]) -> None:
        quiet()
        from coremltools.models import compute_plan as classes

        self._classes = classes
        self._said: dict[int, tuple[Any, float | None]] = {}
        operations = [self._operation(*row) for row in rows]
        block = classes.MLModelStructureProgramBlock([], operations, ["y"])
        main = classes.MLModelStructureProgramFunction([], block)
        program = classes.MLModelStructureProgram({"main": main})
        self.model_structure = classes.MLModelStructure(None, program, None)

    def _operation(self, kind: str, name: str, where: Any, cost: float | None) -> Any:
        value = self._classes.MLModelStructureProgramNamedValueType(
            name, self._classes.MLModelStructureProgramValueType()
        )
        made = self._classes.MLModelStructureProgramOperation({}, kind, [value], [], None)
        self._said[id(made)] = (where, cost)
        return made

    def get_compute_device_usage_for_mlprogram_operation(self, operation: Any) -> Any:
        where = self._said[id(operation)][0]
        return where and self._classes.MLComputePlanDeviceUsage(where(), [where()])

    def get_estimated_cost_for_mlprogram_operation(self, operation: Any) -> Any:
        cost = self._said[id(operation)][1]
        return None if cost is None else self._classes.MLComputePlanCost(cost)


def plan() -> Plan:
    return Plan(
        ("const", "weight", None, None),
        ("ios17.matmul", "scores", MLNeuralEngineComputeDevice, 0.4125),
        ("ios17.add", "masked", MLNeuralEngineComputeDevice, 0.0875),
        ("ios16.softmax", "shares", MLGPUComputeDevice, 0.3),
        ("ios15.erf", "gelu_erf", MLCPUComputeDevice, 0.2),
        ("ios17.cast", "mask_float", None, None),
    )


def test_a_plan_says_where_each_operation_runs_and_leaves_constants_out() -> None:
    placed = read_plan(plan())
    assert placed[0] == Placed(kind="matmul", name="scores", device="Neural Engine", cost=0.4125)
    assert [entry.device for entry in placed] == [
        "Neural Engine", "Neural Engine", "GPU", "CPU", "undecided",
    ]  # fmt: skip
    assert summary(placed) == {
        "Neural Engine": {"operations": 2, "cost": 0.5},
        "GPU": {"operations": 1, "cost": 0.3},
        "CPU": {"operations": 1, "cost": 0.2},
        "undecided": {"operations": 1, "cost": 0.0},
    }


def test_a_model_that_is_no_program_has_no_plan() -> None:
    other = plan()
    other.model_structure = other._classes.MLModelStructure(None, None, None)
    assert read_plan(other) == ()


def test_the_providers_profile_says_the_same_as_the_plan() -> None:
    profile = read_profile(RECORD)
    assert [(entry.kind, entry.device) for entry in profile] == [
        (entry.kind, entry.device) for entry in read_plan(plan())
    ]
    assert sum(entry.cost for entry in profile) == pytest.approx(1.0)
    assert plans_differ(read_plan(plan()), profile) == ""


def test_an_operation_elsewhere_is_named() -> None:
    moved = RECORD.replace("MLGPUComputeDevice", "MLCPUComputeDevice")
    assert plans_differ(read_plan(plan()), read_profile(moved)) == (
        "softmax on GPU: 1 by coremltools, 0 by the provider"
    )


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("MLGPUComputeDevice", "GPU"),
        ("<MLCPUComputeDevice: 0x1>", "CPU"),
        ("(null)", "undecided"),
        ("<MLQuantumDevice: 0x1>", "<MLQuantumDevice: 0x1>"),
    ],
)
def test_names_of_devices(said: str, name: str) -> None:
    assert device_name(said) == name


def test_lines_that_are_no_operation_are_no_profile() -> None:
    assert read_profile("profile function : timeout\nOperation: broken\n") == ()
    assert read_profile("Operation: a, Device Usage: (null), Estimated Cost: nan?")[0].cost == 0.0


def test_core_ml_is_fed_with_its_own_types() -> None:
    assert fed(np.zeros(2, dtype=np.float16)).dtype == np.float32
    assert fed(np.zeros(2, dtype=np.int64)).dtype == np.int32
    assert fed(np.zeros(2, dtype=bool)).dtype == np.int32


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Program, dict[str, Any]]:
    folder = write_package(encoder_block(), tmp_path_factory.mktemp("device") / "model")
    program = load_program(read_package(folder))
    inputs = [example_inputs(seed) for seed in range(3)]
    data = {name: np.stack([each[name] for each in inputs]) for name in inputs[0]}
    outputs = [evaluate(program, each).outputs["last_hidden_state"] for each in inputs]
    return folder, program, {**data, "last_hidden_state": np.stack(outputs)}


NAMES = {name: name for name in ("states", "mask", "last_hidden_state")}


def in_half(program: Program) -> Any:
    """Predict as a Neural Engine might: the evaluation in half precision."""

    def predict(inputs: dict[str, Any]) -> Any:
        assert {value.dtype for value in inputs.values()} == {np.dtype(np.float32)}
        return dict(evaluate(program, inputs, "fp16").outputs)

    return predict


def test_predictions_are_held_beside_the_cpu_and_both_evaluations(written: Any) -> None:
    _, program, data = written
    masks = data["mask"].reshape(3, 1, 4)
    known = Known(data=data, names=NAMES, masks=masks)
    found = compare_predictions(in_half(program), program, known, [0, 2])
    assert found["rows"] == [0, 2]
    assert found["fp16"] == pytest.approx([1.0, 1.0], abs=1e-12)
    assert found["exact"] == pytest.approx(found["cpu"], abs=1e-6)
    assert 0.999 < min(found["cpu"]) < 1.0


def measured(
    written: Any, monkeypatch: pytest.MonkeyPatch, predict: Any, plan_of: Any = None
) -> dict[str, Any]:
    folder, program, data = written
    compiled = []

    def compile_model(path: str) -> str:
        assert path.endswith("model.mlpackage")
        assert (Path(path) / "Manifest.json").is_file()
        made = Path(path).parent / "model.mlmodelc"
        made.mkdir()
        compiled.append(made)
        return str(made)

    monkeypatch.setattr("coremltools.models.utils.compile_model", compile_model)
    monkeypatch.setattr(device, "_load_plan", lambda path: (plan_of or plan)())
    monkeypatch.setattr(device, "_load_predictor", lambda path: predict)
    found = measure_device(read_package(folder), program, Known(data=data, names=NAMES), [0, 1])
    assert compiled
    assert not compiled[0].exists()
    return {"label": "static [1,4] fp16", "device": found}


def test_a_device_that_computes_in_half_passes(
    written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = measured(written, monkeypatch, in_half(written[1]))
    result = judge_device([entry])
    assert result.status == "passed"
    assert "2 on Neural Engine, 1 on GPU, 1 on CPU" in result.summary
    assert entry["device"]["plan"][0]["name"] == "scores"
    assert exit_code([result]) == 0


def test_a_device_that_computes_something_else_fails(
    written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(inputs: Any) -> Any:
        return {"last_hidden_state": np.roll(written[2]["last_hidden_state"][0], 1)}

    result = judge_device([measured(written, monkeypatch, wrong)])
    assert result.status == "failed"
    assert "the CPU provider" in result.summary
    assert exit_code([result]) == 1


def test_predictions_stand_where_core_ml_gives_no_plan(
    written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLComputePlan needs macOS 14.4; what is older predicts all the same."""
    entry = measured(written, monkeypatch, in_half(written[1]), plan_of=no_plan)
    assert min(entry["device"]["predictions"]["fp16"]) > 0.9999
    result = judge_device([entry])
    assert result.status == "inconclusive"
    assert result.measured is not None
    assert "where its operations run is not known" in result.summary
    assert "only supported on macOS 14.4" in result.summary
    assert exit_code([result]) == 2
    wrong = np.roll(written[2]["last_hidden_state"][0], 1)
    entry = measured(written, monkeypatch, lambda _: {"last_hidden_state": wrong}, plan_of=no_plan)
    assert judge_device([entry]).status == "failed"  # a wrong prediction is worse than no plan
    jobs = [{"graph": Graph(label="a", path=Path("a"), folder=Path())}]
    [one] = _profiled([entry], jobs, f"{GRAPH_LINE}a\n{RECORD}")
    assert "plans_differ" not in one["device"]  # there is nothing to compare with
    assert one["device"]["provider"]["GPU"]["operations"] == 1


def no_plan() -> Any:
    raise RuntimeError("MLComputePlan is only supported on macOS 14.4 and above.")


def test_a_device_that_gives_nan_fails(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(inputs: Any) -> Any:
        return {"last_hidden_state": np.full((1, 4, 16), np.nan)}

    result = judge_device([measured(written, monkeypatch, broken)])
    assert (result.status, result.measured) == ("failed", -1.0)


def test_what_core_ml_refuses_is_a_finding(written: Any) -> None:
    folder, program, data = written
    # This host has no Core ML, and coremltools says so when it is to compile.
    found = measure_device(read_package(folder), program, Known(data=data, names=NAMES), [0])
    assert "macOS" in found["error"]
    result = judge_device([{"label": "a", "device": found}])
    assert result.status == "failed"
    assert "Core ML refuses the package" in result.summary


def test_without_a_device_nothing_is_claimed_and_the_exit_code_stands() -> None:
    result = judge_device([{"label": "a", "modes": {}}])
    assert result.status == "not-run"
    assert exit_code([result]) == 2  # alone it is nothing
    assert exit_code([*judge([]), result]) == 2


def test_a_package_without_a_prediction_is_not_passed_by_the_others(
    written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = measured(written, monkeypatch, in_half(written[1]))
    result = judge_device([entry, {"label": "b", "unknown": {"gru": 1}}])
    assert result.status == "not-run"
    assert exit_code([result]) == 2


def test_the_providers_profile_is_put_to_its_graph(tmp_path: Path) -> None:
    placed = [vars(entry) for entry in read_plan(plan())]
    jobs = [
        {"graph": Graph(label=name, path=tmp_path / name, folder=tmp_path)} for name in ("a", "b")
    ]
    said = f"noise\n{GRAPH_LINE}{tmp_path / 'a'}\n{RECORD}{GRAPH_LINE}{tmp_path / 'b'}\nnothing\n"
    entries = [{"label": name, "device": {"plan": placed}} for name in ("a", "b")]
    one, other = _profiled(entries, jobs, said)
    assert one["device"]["plans_differ"] == ""
    assert one["device"]["provider"]["GPU"]["operations"] == 1
    assert "provider" not in other["device"]
    moved = said.replace("MLGPU", "MLCPU")
    one, _ = _profiled(entries, jobs, moved)
    shown = cli._devices(
        [{**one, "device": {**one["device"], "devices": summary(read_plan(plan()))}}]
    )
    assert "plan by coremltools: Neural Engine 2 (50.0 % of the cost)" in shown[0]
    assert "the plans differ: softmax on GPU" in shown[2]


def test_a_device_is_not_asked_for_where_there_is_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(cli.VerifyError, match="macOS only"):
        cli._device("yes", "linux-x86_64")
    assert not cli._device("auto", "linux-x86_64")
    assert cli._device("auto", "macos-arm64")
    assert not cli._device("no", "macos-arm64")
    assert main(["conversion", "--device", "maybe", "--work", str(tmp_path)]) == 3
    assert "--device" in capsys.readouterr().err
