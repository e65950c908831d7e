"""A user's own convolutional model through the whole proof, with packages of the built wheel."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.end_to_end.test_conversion import make_context, python, rewrite
from tests.kit.verify_examples import TINY, tiny_weights
from tests.verify.conversion.test_mutations import stored
from tests.verify.conversion.test_operators import draw
from verify.commands import conversion as cli
from verify.conversion import own_model as own
from verify.conversion import proof
from verify.conversion.outcome import exit_code, judge
from verify.conversion.package import find_packages
from verify.conversion.proof import ProofError, Setting
from verify.encoder.graph import build_graph
from verify.errors import VerifyError

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

__all__ = ["python"]  # the fixture with the built wheel


def network(kind: str = "fp32", *, scale: float = 1.0) -> onnx.ModelProto:
    """A small classifier of images: convolutions, normalisation, pools and a matrix product."""
    dtype, element = (
        (np.float16, TensorProto.FLOAT16) if kind == "fp16" else (np.float32, TensorProto.FLOAT)
    )
    constants = [
        numpy_helper.from_array(value.astype(dtype), name)
        for name, value in {
            "w1": draw(8, 3, 3, 3, seed=1, scale=0.3),
            "b1": draw(8, seed=2),
            "gamma": draw(8, seed=3, scale=0.1) + 1,
            "beta": draw(8, seed=4),
            "mean": draw(8, seed=5),
            "variance": np.abs(draw(8, seed=6)) + 0.5,
            "w2": draw(8, 4, 3, 3, seed=7, scale=0.3),
            "w3": draw(16, 8, 1, 1, seed=8, scale=scale),
            # Divided again: a Softmax of large scores gives the same shares for every input.
            "fc": draw(10, 16, seed=9, scale=0.3 / scale),
            "fb": draw(10, seed=10),
        }.items()
    ]
    constants.append(numpy_helper.from_array(np.asarray([0, -1], dtype=np.int64), "flat"))
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["first"], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("BatchNormalization", ["first", "gamma", "beta", "mean", "variance"], ["normed"]),
        node("Relu", ["normed"], ["rectified"]),
        node("MaxPool", ["rectified"], ["pooled"], kernel_shape=[3, 3], strides=[2, 2]),
        node("Conv", ["pooled", "w2"], ["grouped"], group=2, auto_pad="SAME_UPPER"),
        node("Sigmoid", ["grouped"], ["gate"]),
        node("Mul", ["grouped", "gate"], ["swish"]),
        node("AveragePool", ["swish"], ["halved"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["halved", "w3"], ["wide"]),
        node("GlobalAveragePool", ["wide"], ["summed"]),
        node("Reshape", ["summed", "flat"], ["row"]),
        node("Gemm", ["row", "fc", "fb"], ["scores"], transB=1),
        node("Softmax", ["scores"], ["shares"], axis=-1),
    ]
    graph = helper.make_graph(
        [*nodes],
        "network",
        [helper.make_tensor_value_info("x", element, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("shares", element, ["batch", 10])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def options(**given: Any) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    own.add_arguments(parser)
    return argparse.Namespace(**{**vars(parser.parse_args([])), "fix": ["batch=1"], **given})


def proven(context: Any, model: onnx.ModelProto, **given: Any) -> list[dict[str, Any]]:
    path = context.work / "network.onnx"
    onnx.save(model, str(path))
    setting = Setting(minimum_os="13.3")
    return own.prove_model(context, path, options(**given), setting, say=lambda _: None).packages


@pytest.mark.parametrize("kind", ["fp32", "fp16"])
def test_a_convolutional_model_computes_what_the_cpu_provider_computes(
    tmp_path: Path, python: Path, kind: str
) -> None:
    [entry] = proven(make_context(tmp_path, python), network(kind))
    results = judge([entry])
    assert [result.status for result in results] == ["passed"] * 3, results
    assert exit_code(results) == 0
    assert entry["label"] == "network"
    assert entry["facts"]["operations"] >= 11
    assert entry["modes"]["exact"]["max_abs_vector"] < 1e-5
    exact, half, rough = (
        entry["modes"][mode]["cosines"] for mode in ("exact", "fp16", "fp16-accumulate")
    )
    # Rounding costs something, and sums in half cost something else: they are not left out.
    assert min(exact) > max(half)
    assert [half[row] for row in entry["modes"]["fp16-accumulate"]["texts"]] != rough
    assert min(rough) > 0.999
    assert "network" in cli.text([entry], results, 1.0)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_pooling_inside_the_graph_is_proven_as_a_model_of_ones_own(
    tmp_path: Path, python: Path, precision: Any
) -> None:
    model = build_graph(
        tiny_weights(), TINY, static=(1, 8), precision=precision, output="sentence_embedding"
    )
    drawn = np.random.default_rng(0)
    mask = (np.arange(8) < drawn.integers(1, 9, (6, 1, 1))).astype(np.int64)
    ids = drawn.integers(0, TINY.vocab, mask.shape)
    np.savez(tmp_path / "tokens.npz", input_ids=ids, attention_mask=mask, token_type_ids=ids * 0)
    context = make_context(tmp_path, python)
    [entry] = proven(context, model, fix=[], inputs=tmp_path / "tokens.npz")
    package, exact, half = judge([entry])
    assert (package.status, exact.status, half.status) == ("passed",) * 3, (exact, half)
    assert "reduce_sum" not in entry["refused"]


def test_given_inputs_are_the_ones_that_are_proven(tmp_path: Path, python: Path) -> None:
    file = tmp_path / "images.npz"
    np.savez(file, x=draw(2, 1, 3, 32, 32, seed=20))
    [entry] = proven(make_context(tmp_path, python), network(), inputs=file)
    assert entry["modes"]["exact"]["texts"] == [0, 1]
    assert [result.status for result in judge([entry])] == ["passed"] * 3


def test_a_changed_kernel_is_caught_and_its_convolution_named(
    tmp_path: Path, python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = proof._call

    def corrupting(context: Any, name: str, payload: Any) -> str:
        said = real(context, name, payload)
        if name == "emit":
            [folder] = find_packages(Path(payload["graphs"][0]["folder"]))
            rewrite(folder, stored("wide", "weight", lambda array: array * 1.01))
        return said

    monkeypatch.setattr(proof, "_call", corrupting)
    [entry] = proven(make_context(tmp_path, python), network())
    _, exact, _ = judge([entry])
    assert exact.status == "failed"
    assert "conv wide departs" in exact.summary
    assert exit_code([exact]) == 1


def test_an_activation_that_half_cannot_hold_is_named(tmp_path: Path, python: Path) -> None:
    [entry] = proven(make_context(tmp_path, python), network(scale=1e4))
    package, exact, half = judge([entry])
    assert (package.status, exact.status, half.status) == ("passed", "passed", "failed")
    assert "overflows to infinity in half precision" in half.summary
    assert any("conv wide" in sentence for sentence in entry["modes"]["fp16"]["overflow"])


def test_a_model_of_which_coreml_takes_nothing_is_not_run(tmp_path: Path, python: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("NonZero", ["x"], ["y"])],
        "nothing",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [2, "n"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    measured = proven(make_context(tmp_path, python), model, fix=[])
    assert measured == []
    results = judge(measured)
    assert {result.status for result in results} == {"not-run"}
    assert exit_code(results) == 2


def test_what_cannot_be_run_is_told_in_a_sentence(tmp_path: Path, python: Path) -> None:
    context = make_context(tmp_path, python)
    with pytest.raises(VerifyError, match="batch would stay"):
        proven(context, network(), fix=[])
    model = network()
    model.graph.node[2].op_type = "Rectify"
    with pytest.raises(VerifyError, match="Rectify"):
        proven(context, model)
    with pytest.raises(ProofError, match="names no input of the model"):
        proven(context, network(), range=["pixels=0:1"])
    with pytest.raises(VerifyError, match="no effect beside --inputs"):
        proven(context, network(), inputs=tmp_path / "x.npz", seed=3)
