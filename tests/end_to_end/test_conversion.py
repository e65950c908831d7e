"""The conversion proof with a real wheel: emitted, evaluated, and corrupted on purpose."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.kit.commands import python
from tests.kit.tiny_model import write_model
from tests.kit.verify_examples import TINY, policy
from tests.verify.conversion.test_mutations import (
    constant,
    flag,
    floats,
    ints,
    kind,
    rewired,
    stored,
    swapped,
)
from verify.commands import conversion as cli
from verify.conversion import proof
from verify.conversion.evaluate import evaluate, first_departure
from verify.conversion.outcome import exit_code, judge
from verify.conversion.package import find_packages, graph_values, known_values, read_package
from verify.conversion.program import load_program
from verify.encoder import graph
from verify.environment.context import TargetContext
from verify.report.document import dumps

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

__all__ = ["python"]  # the fixture with the built wheel


@pytest.fixture
def context(tmp_path: Path, python: Path) -> TargetContext:
    return make_context(tmp_path, python)


def make_context(folder: Path, python: Path) -> TargetContext:
    work = folder / "work"
    work.mkdir()
    return TargetContext(
        role="candidate",
        work=work,
        model_dir=write_model(folder / "a model"),
        encoder=TINY,
        policy=policy(),
        targets={"candidate": python},
        host="linux-x86_64",
    )


def proven(context: TargetContext, **changes):
    said: list[str] = []
    measured = proof.prove(
        context,
        **{
            "buckets": (8, 16),
            "precisions": ("fp32", "fp16"),
            "setting": proof.Setting(minimum_os="13.3"),
            "texts": 20,
            "say": said.append,
            **changes,
        },
    )
    assert said
    return measured, {result.id: result for result in judge(measured)}


def test_what_the_wheel_emits_computes_what_the_cpu_computes(context):
    measured, results = proven(context)
    assert [entry["label"] for entry in measured] == [
        "static [1,8] fp32",
        "static [1,16] fp32",
        "static [1,8] fp16",
        "static [1,16] fp16",
    ]
    assert {name: result.status for name, result in results.items()} == {
        "conversion.package": "passed",
        "conversion.exact": "passed",
        "conversion.half": "passed",
    }, results
    assert exit_code(list(results.values())) == 0
    assert all(len(entry["modes"]["exact"]["texts"]) == 20 for entry in measured)
    assert all(entry["facts"]["constants_in_file"] > 0 for entry in measured)


def test_a_weight_changed_in_the_emitted_package_names_its_operation(context, monkeypatch):
    real = proof._call

    def corrupting(context, name, payload):
        said = real(context, name, payload)
        if name == "emit":
            [folder] = find_packages(Path(payload["graphs"][0]["folder"]))
            change_weight(folder, "layer1_query_linear_matmul")
        return said

    monkeypatch.setattr(proof, "_call", corrupting)
    [entry], results = proven(context, buckets=(8,), precisions=("fp32",))
    assert results["conversion.exact"].status == "failed"
    assert "matmul layer1_query_linear_matmul" in results["conversion.exact"].summary
    assert "layer1_query_linear_matmul" in entry["departure"]
    assert exit_code(list(results.values())) == 1


def change_weight(folder: Path, product: str) -> None:
    """Add to one element of a product's weight, in place."""

    def one_more(array):
        array.reshape(-1)[0] += 1
        return array

    rewrite(folder, stored(product, "y", one_more))


def rewrite(folder: Path, change) -> None:
    package = read_package(folder)
    path = package.weights / "weight.bin"
    weights = bytearray(path.read_bytes())
    change(package.model, weights)
    path.write_bytes(bytes(weights))
    [model] = (folder / "Data").rglob("model.mlmodel")
    model.write_bytes(package.model.SerializeToString())


def scaled(op: str, argument: str, factor: float):
    """Scale a constant that the provider keeps in the program."""

    def change(model, weights):
        tensor = constant(model, op, argument).immediateValue.tensor
        tensor.floats.values[:] = [factor * value for value in tensor.floats.values]

    return change


WIDE, NARROW = "gemm_output_reshape_arg", "gemm_output_reshape_arg_token_4"
EMITTED = [
    ("embedded", stored("embedded", "y", np.negative)),
    ("embeddings", scaled("embeddings", "gamma", 1.1)),
    ("embeddings", scaled("embeddings", "beta", 0.0)),
    ("embeddings", floats("embeddings", "epsilon", 0.5)),
    ("layer0_key_linear_matmul", stored("layer0_key_linear_matmul", "y", np.transpose)),
    ("layer0_scores", flag("layer0_scores", "transpose_y")),
    ("layer0_query_linear", stored("layer0_query_linear", "y", np.zeros_like)),
    ("layer0_value_linear", kind("layer0_value_linear", "sub")),
    ("layer0_query", ints("layer0_query", "perm", 0, 1, 2, 3)),
    ("layer0_key", ints("layer0_key", "perm", 0, 2, 1, 3)),
    ("layer0_scores", swapped("layer0_scores")),
    ("layer0_scaled", kind("layer0_scaled", "mul")),
    ("layer0_scaled", floats("layer0_scaled", "y", 4.0)),
    ("mask_inverse", kind("mask_inverse", "add")),
    ("mask_bias", floats("mask_bias", "y", 0.0)),
    ("layer0_masked", kind("layer0_masked", "sub")),
    ("layer0_shares", ints("layer0_shares", "axis", 2)),
    ("layer0_mixed", rewired("layer0_mixed", "y", "layer0_query")),
    ("layer0_turned", ints("layer0_turned", "perm", 0, 1, 2, 3)),
    ("layer0_attention", stored("layer0_attention", "y", np.zeros_like)),
    ("layer0_attention_residual", rewired("layer0_attention_residual", "y", "words_and_types")),
    (WIDE, scaled(WIDE, "weight", 1.05)),
    (WIDE, stored(WIDE, "bias", np.zeros_like)),
    ("layer0_gelu_div", floats("layer0_gelu_div", "y", 2.0)),
    ("layer0_gelu_erf", kind("layer0_gelu_erf", "tanh")),
    ("layer0_gelu_product", kind("layer0_gelu_product", "add")),
    ("layer0_gelu", floats("layer0_gelu", "y", 0.6)),
    (NARROW, scaled(NARROW, "weight", -1.0)),
    ("layer0_residual", rewired("layer0_residual", "y", "embeddings")),
    ("last_hidden_state", scaled("last_hidden_state", "gamma", 1.5)),
]


@pytest.fixture(scope="module")
def emitted(tmp_path_factory, python):
    """Return an emitted package and every value of the CPU provider that has a name in it."""
    context = make_context(tmp_path_factory.mktemp("emitted"), python)
    # As many heads as tokens: axes can be mixed up without a change of shape.
    context = replace(context, encoder=replace(TINY, heads=4, buckets=(4, 8, 16)))
    path, folder = context.graph(static=(1, 4)), context.work / "packages"
    proof._call(context, "emit", {"graphs": [{"graph": str(path), "folder": str(folder)}]})
    [package] = find_packages(folder)
    program = load_program(read_package(package))
    made = [name for operation in program.operations for name in operation.outputs]
    names = known_values([*program.inputs, *made], graph_values(path))
    file = context.work / "inner.npz"
    entry = {"graph": str(path), "values": list(names.values()), "width": 4, "file": str(file)}
    proof._call(context, "values", {"graphs": [entry], "texts": ["the"]})
    with np.load(file) as values:
        return package, {name: values[f"v{place}"][0] for place, name in enumerate(names)}


def test_the_intact_emitted_package_agrees_in_every_value(emitted):
    folder, reference = emitted
    assert reference["mask"].reshape(-1).tolist() == [1, 1, 1, 0]
    assert first_departure(load_program(read_package(folder)), reference) is None


@pytest.mark.parametrize(("name", "change"), EMITTED)
def test_a_corruption_of_an_emitted_package_is_caught_and_named(emitted, tmp_path, name, change):
    folder, reference = emitted
    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    rewrite(copy, change)
    program = load_program(read_package(copy))
    found = evaluate(program, reference).outputs["last_hidden_state"]
    assert np.abs(found - reference["last_hidden_state"])[0, :3].max() > 1e-4
    departure = first_departure(program, reference)
    assert departure is not None
    assert departure.name == name


@pytest.mark.parametrize("bias", [-1e9, float(np.finfo(np.float32).min)])
def test_a_mask_bias_beyond_half_is_named_before_anyone_meets_nan(context, monkeypatch, bias):
    monkeypatch.setattr(graph, "MASK_BIAS", bias)
    [entry], results = proven(context, buckets=(16,), precisions=("fp32",), texts=4)
    assert results["conversion.exact"].status == "passed"
    half = results["conversion.half"]
    assert half.status == "failed"
    assert "mask_value overflows to infinity in half precision" in half.summary
    assert entry["modes"]["fp16"]["first_nan"] == "mul mask_bias"
    assert "-10000" in half.hint
    assert entry["modes"]["fp16"]["max_abs_vector"] is None
    assert dumps({"packages": [entry], "evidence": half.evidence})
    assert "overflows" in cli.text([entry], list(results.values()), 1.0)


def test_a_wheel_without_the_provider_is_told_in_a_sentence(context):
    without = replace(context, targets={"candidate": Path(sys.executable)})
    with pytest.raises(proof.ProofError, match="CoreMLExecutionProvider"):
        proven(without)
