"""The proof is put to the test: deliberate corruptions of a package, each to be caught and named.

Each corruption edits the package's files as the converter would have written them wrongly. The
reference is what the intact package computes, value by value, in the place of the CPU provider.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.kit.verify_examples import TINY, policy
from tests.verify.conversion.test_programs import (
    encoder_block,
    every_value,
    example_inputs,
    write_package,
)
from verify.conversion.evaluate import evaluate, first_departure
from verify.conversion.measure import measure
from verify.conversion.outcome import judge
from verify.conversion.package import integrity, read_package
from verify.conversion.program import load_program
from verify.conversion.proof import ProofError, measure_all
from verify.environment.context import TargetContext

pytestmark = pytest.mark.filterwarnings("ignore")
Change = Callable[[Any, bytearray], None]


def operation(model: Any, name: str) -> Any:
    block = next(iter(model.mlProgram.functions["main"].block_specializations.values()))
    return next(op for op in block.operations if op.outputs and op.outputs[0].name == name)


def constant(model: Any, op: str, argument: str) -> Any:
    name = operation(model, op).inputs[argument].arguments[0].name
    return operation(model, name).attributes["val"]


def floats(op: str, argument: str, *values: float) -> Change:
    def change(model, weights):
        tensor = constant(model, op, argument).immediateValue.tensor
        tensor.floats.values[:] = values

    return change


def ints(op: str, argument: str, *values: int) -> Change:
    def change(model, weights):
        tensor = constant(model, op, argument).immediateValue.tensor
        tensor.ints.values[:] = values

    return change


def flag(op: str, argument: str) -> Change:
    def change(model, weights):
        tensor = constant(model, op, argument).immediateValue.tensor
        tensor.bools.values[:] = [not tensor.bools.values[0]]

    return change


def kind(op: str, becomes: str) -> Change:
    def change(model, weights):
        operation(model, op).type = becomes

    return change


def rewired(op: str, argument: str, source: str) -> Change:
    def change(model, weights):
        operation(model, op).inputs[argument].arguments[0].name = source

    return change


def swapped(op: str) -> Change:
    def change(model, weights):
        inputs = operation(model, op).inputs
        x, y = inputs["x"].arguments[0].name, inputs["y"].arguments[0].name
        inputs["x"].arguments[0].name, inputs["y"].arguments[0].name = y, x

    return change


def stored(op: str, argument: str, edit: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Edit float32 elements in the weights file, ``[*shape of the constant]``."""

    def change(model, weights):
        value = constant(model, op, argument)
        offset = value.blobFileValue.offset
        size, start = struct.unpack_from("<QQ", weights, offset + 8)
        shape = [part.constant.size for part in value.type.tensorType.dimensions]
        array = np.frombuffer(bytes(weights[start : start + size]), np.float32).reshape(shape)
        weights[start : start + size] = edit(array.copy()).astype(np.float32).tobytes()

    return change


def other_blob(op: str, argument: str, of: str, its: str) -> Change:
    def change(model, weights):
        offset = constant(model, of, its).blobFileValue.offset
        constant(model, op, argument).blobFileValue.offset = offset

    return change


def _one(array):
    array.reshape(-1)[3] += 0.5
    return array


def _shifted(array):
    return np.roll(array, 1, axis=0)


def _halved_bits(array):
    return array.astype(np.float16).astype(np.float32) * 1.01


MUTATIONS: list[tuple[str, str, Change]] = [
    ("one weight of a product", "query_matmul", stored("query_matmul", "y", _one)),
    ("a weight transposed", "key_matmul", stored("key_matmul", "y", np.transpose)),
    ("rows of a weight shifted", "value_matmul", stored("value_matmul", "y", _shifted)),
    ("a bias removed", "query", stored("query", "y", np.zeros_like)),
    ("a bias with the other sign", "output", stored("output", "y", np.negative)),
    ("the bias of another layer", "value", other_blob("value", "y", "query", "y")),
    (
        "the weight of another layer",
        "output_matmul",
        other_blob("output_matmul", "y", "query_matmul", "y"),
    ),
    ("a linear's bias removed", "wide", stored("wide", "bias", np.zeros_like)),
    ("a linear's weight scaled", "narrow", stored("narrow", "weight", _halved_bits)),
    ("gamma left out", "attention", stored("attention", "gamma", np.ones_like)),
    ("beta left out", "last_hidden_state", stored("last_hidden_state", "beta", np.zeros_like)),
    ("another epsilon", "attention", floats("attention", "epsilon", 0.1)),
    (
        "another epsilon at the end",
        "last_hidden_state",
        floats("last_hidden_state", "epsilon", 1e-2),
    ),
    ("a transposition dropped", "query_heads", ints("query_heads", "perm", 0, 1, 2, 3)),
    ("another transposition", "key_heads", ints("key_heads", "perm", 0, 2, 1, 3)),
    ("the way back not transposed", "turned", ints("turned", "perm", 0, 1, 2, 3)),
    ("softmax over the other axis", "shares", ints("shares", "axis", -2)),
    ("softmax over the heads", "shares", ints("shares", "axis", 1)),
    ("an operand transposed", "scores", flag("scores", "transpose_y")),
    ("the first operand transposed", "mixed", flag("mixed", "transpose_x")),
    ("operands in the wrong order", "scores", swapped("scores")),
    ("attention's scale multiplied", "scaled", kind("scaled", "mul")),
    ("another scale", "scaled", floats("scaled", "y", 4.0)),
    ("mask added instead of subtracted", "inverse", kind("inverse", "add")),
    ("mask bias without effect", "mask_bias", floats("mask_bias", "y", 0.0)),
    ("mask subtracted from the scores", "masked", kind("masked", "sub")),
    ("erf replaced by tanh", "gelu_erf", kind("gelu_erf", "tanh")),
    ("the 1 of GELU left out", "gelu_shifted", floats("gelu_shifted", "y", 0.0)),
    ("a product replaced by a sum", "gelu", kind("gelu", "add")),
    ("GELU divided by 2", "gelu_divided", floats("gelu_divided", "y", 2.0)),
    ("residual from before attention", "residual", rewired("residual", "y", "states")),
    ("residual left out", "attention_residual", rewired("attention_residual", "y", "output")),
    ("heads of the query for the value", "mixed", rewired("mixed", "y", "query_heads")),
]


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """Return the package, its values for some inputs, and its outputs."""
    folder = write_package(encoder_block(), tmp_path_factory.mktemp("intact") / "model")
    program = load_program(read_package(folder))
    inputs = example_inputs()
    values = every_value(program)
    # The CPU provider knows nothing of the package's constants.
    reference = {name: v for name, v in values.items() if name not in program.constants}
    return folder, inputs, reference


def mutated(intact: Path, folder: Path, change: Change) -> Path:
    copy = folder / "model"
    shutil.copytree(intact, copy)
    root = copy / "Data" / "com.microsoft.OnnxRuntime"
    model = read_package(copy).model
    weights = bytearray((root / "weights" / "weight.bin").read_bytes())
    change(model, weights)
    (root / "model.mlmodel").write_bytes(model.SerializeToString())
    (root / "weights" / "weight.bin").write_bytes(bytes(weights))
    return copy


def test_there_are_enough_corruptions_and_each_has_a_name_of_its_own():
    assert len({title for title, _, _ in MUTATIONS}) == len(MUTATIONS) >= 20


@pytest.mark.parametrize(
    ("name", "change"), [pytest.param(n, c, id=title) for title, n, c in MUTATIONS]
)
def test_a_corruption_is_caught_and_the_operation_named(intact, tmp_path, name, change):
    folder, inputs, reference = intact
    package = read_package(mutated(folder, tmp_path, change))
    assert integrity(package, "14.0")[0] == []  # a well-formed package: only values can tell
    program = load_program(package)
    found = evaluate(program, inputs).outputs["last_hidden_state"]
    gap = float(np.abs(found - reference["last_hidden_state"]).max())
    assert gap > 1e-4, "this corruption changes too little to be a test"
    departure = first_departure(program, reference)
    assert departure is not None
    assert departure.name == name
    assert departure.ranges
    assert all(low <= high for low, high in departure.ranges.values())
    assert departure.name in departure.sentence()


def test_a_change_below_the_tolerance_is_no_departure(intact, tmp_path):
    folder, _, reference = intact
    copy = mutated(folder, tmp_path, floats("attention", "epsilon", 1.0001e-5))
    assert first_departure(load_program(read_package(copy)), reference) is None


def test_an_operation_that_does_not_fit_its_type_is_refused_by_coremltools(intact, tmp_path):
    folder, _, _ = intact
    copy = mutated(folder, tmp_path, ints("joined", "shape", 1, 8, 8))
    with pytest.raises(AssertionError, match="Mismatch"):
        load_program(read_package(copy))


def job(package: Path, **changes: Any) -> dict[str, Any]:
    """Return a job for one case of one package."""
    return {
        "label": "x",
        "what": "inputs",
        "cases": ["one"],
        "package": str(package),
        "minimum_os": "14.0",
        "device": False,
        "modes": {"exact": [0]},
        **changes,
    }


def test_what_the_cpu_provider_cannot_compute_either_is_not_judged(intact, tmp_path):
    folder, inputs, _ = intact
    data = {name: value[None] for name, value in inputs.items()}
    data["last_hidden_state"] = np.full((1, 1, 4, 16), np.nan, dtype=np.float32)
    np.savez(tmp_path / "values.npz", **data)
    names = {name: name for name in data}
    asked = job(folder, values=str(tmp_path / "values.npz"), names=names, keys=names)
    answer = measure(asked, lambda text: None)
    assert "the CPU provider itself has NaN or infinity in last_hidden_state" in answer["refused"]
    assert [result.status for result in judge([answer])] == ["passed", "not-run", "not-run"]


def test_a_refused_program_is_a_finding_and_no_crash(intact, tmp_path):
    folder, _, _ = intact
    copy = mutated(folder, tmp_path, ints("joined", "shape", 1, 8, 8))
    answer = measure(job(copy), lambda text: None)
    assert answer["modes"] == {}
    assert [found[:28] for found in answer["problems"]] == ["coremltools refuses the prog"]
    package, exact, half = judge([answer])
    assert (package.status, exact.status, half.status) == ("failed", "not-run", "not-run")


def test_an_operation_that_cannot_be_evaluated_is_named_and_not_run(intact, tmp_path):
    folder, inputs, _ = intact
    copy = mutated(folder, tmp_path, ints("turned", "perm", 0, 1, 1, 3))
    data = {name: value[None] for name, value in inputs.items()}
    np.savez(tmp_path / "values.npz", **data)
    names = {"states": "states", "mask": "mask"}
    asked = job(copy, values=str(tmp_path / "values.npz"), names=names, keys=names)
    answer = measure(asked, lambda text: None)
    assert answer["refused"].startswith("transpose turned")
    assert [result.status for result in judge([answer])] == ["passed", "not-run", "not-run"]


SHARED = (("small", 1), ("damaged", 5), ("large", 9))


def host_context(work: Path) -> TargetContext:
    return TargetContext(role="candidate", work=work, model_dir=work, encoder=TINY, policy=policy())


def test_jobs_are_shared_out_and_answered_in_their_order(intact, tmp_path):
    folder, _, _ = intact
    told: list[str] = []
    lost = tmp_path / "gone"
    jobs = [
        {**job(lost if place == 1 else folder, values=str(lost), minimum_os="1.0"), **each}
        for place, each in enumerate({"label": name, "cost": cost} for name, cost in SHARED)
    ]
    answers = measure_all(host_context(tmp_path), jobs, told.append)
    assert [answer["label"] for answer in answers] == ["small", "damaged", "large"]
    assert "cannot be read" in answers[1]["problems"][0]
    assert "No Core ML specification" in answers[0]["problems"][0]


def test_a_measuring_process_that_fails_is_named(intact, tmp_path):
    folder, _, _ = intact
    broken = {**job(folder), "label": "static [1,8] fp32", "cost": 1}
    del broken["minimum_os"]
    with pytest.raises(ProofError, match=r"static \[1,8\] fp32.*raised KeyError"):
        measure_all(host_context(tmp_path), [broken], lambda text: None)
