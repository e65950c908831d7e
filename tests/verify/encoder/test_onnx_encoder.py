"""An encoder whose weights are an ONNX file: fixed, narrowed, embedded, and refused in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.kit.float64_encoder import Float64Encoder
from tests.kit.tiny_model import word_tokenizer
from tests.kit.verify_examples import TINY, tiny_weights
from tests.references import vectors
from verify import Embedder
from verify.encoder.embedder import SessionSettings
from verify.encoder.graph import build_graph, ensure_graph
from verify.encoder.graph_family import random_encoder
from verify.encoder.model_recipe import EncoderSpec
from verify.encoder.number_types import FLOAT, FLOAT16, float_types, retyped
from verify.encoder.onnx_encoder import adopted
from verify.encoder.weights import WeightsError
from verify.errors import PolicyError, VerifyError

SPEC = EncoderSpec(
    name="tiny-onnx",
    architecture="onnx",
    hidden=TINY.hidden,
    vocab=TINY.vocab,
    positions=TINY.positions,
    max_length=16,
    buckets=(8, 16),
)
TEXTS = ["a b c", "c", "a " * 40]


def exported(
    *, output: str = "token_embeddings", least: float = -3.4028234663852886e38
) -> onnx.ModelProto:
    """A graph as exporters write it: other names, a pooled output, the smallest float as a mask."""
    model = build_graph(tiny_weights(), TINY)
    for node in model.graph.node:
        names = [output if name == "last_hidden_state" else name for name in node.output]
        node.output[:] = names
    for tensor in model.graph.initializer:
        if tensor.name == "mask_value":
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(least, "<f4"), tensor.name))
    for item in model.graph.input:
        for dim, name in zip(item.type.tensor_type.shape.dim, ("b", "s"), strict=True):
            dim.dim_param = name
    pooled = helper.make_node("ReduceMean", [output], ["sentence"], axes=[1], keepdims=0)
    model.graph.node.append(pooled)
    del model.graph.output[:]
    model.graph.output.extend(
        [
            helper.make_tensor_value_info("sentence", TensorProto.FLOAT, ["b", TINY.hidden]),
            helper.make_tensor_value_info(output, TensorProto.FLOAT, ["b", "s", TINY.hidden]),
        ]
    )
    return model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    onnx.save(exported(), str(tmp_path / "model.onnx"))
    words = ["[PAD]", "[UNK]", "a", "b", "c"]
    word_tokenizer(words).save(str(tmp_path / "tokenizer.json"))
    return tmp_path


@pytest.mark.parametrize("how", ["mean", "cls"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("precision", "near"), [("fp32", 3e-6), ("fp16", 5e-3)])
def test_its_vectors_are_those_of_its_weights(
    folder: Path, how: Any, padded: bool, precision: Any, near: float
) -> None:
    wanted = Float64Encoder(tiny_weights(), replace(TINY, pooling=how))
    with Embedder.from_recipe(
        folder,
        replace(SPEC, pooling=how),
        precision=precision,
        session=SessionSettings(padded=padded),
    ) as embedder:
        found = embedder.embed(TEXTS)
        ids = [embedder.token_ids(text) for text in TEXTS]
    expected = np.stack([wanted.embed(row) for row in ids])
    assert np.abs(found - expected).max() < near


@pytest.mark.parametrize("output", ["last_hidden_state", "token_embeddings", "out_37"])
def test_the_token_vectors_are_found_among_its_outputs(tmp_path: Path, output: str) -> None:
    onnx.save(exported(output=output), str(tmp_path / "model.onnx"))
    path = ensure_graph(tmp_path, SPEC, tmp_path / "graphs", static=(1, 8))
    model = onnx.load(str(path))
    assert [item.name for item in model.graph.output] == ["last_hidden_state"]
    sizes = [[dim.dim_value for dim in i.type.tensor_type.shape.dim] for i in model.graph.input]
    assert sizes == [[1, 8]] * 3
    assert ensure_graph(tmp_path, SPEC, tmp_path / "graphs", static=(1, 8)) == path


def test_half_precision_holds_its_constants(folder: Path) -> None:
    model = adopted(folder / "model.onnx", SPEC, static=(1, 8), half=True)
    assert float_types(model) == {FLOAT, FLOAT16}, "single outside, half inside"
    values = [numpy_helper.to_array(item) for item in model.graph.initializer]
    assert all(np.isfinite(value.astype(np.float64)).all() for value in values)


def test_the_smallest_float_of_a_mask_becomes_one_that_half_precision_holds(folder: Path) -> None:
    model = adopted(folder / "model.onnx", SPEC, static=(1, 8), half=False)
    values = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    assert values["mask_value"] == -10000.0
    kept = exported()
    kept.graph.node.append(helper.make_node("Clip", ["sentence", "mask_value"], ["clipped"]))
    onnx.save(kept, str(folder / "model.onnx"))
    model = adopted(folder / "model.onnx", SPEC, static=(1, 8), half=False)
    values = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    assert values["mask_value"] < -1e38, "a bound of Clip is no mask"


def test_its_references_are_its_own_graph_in_double_precision(folder: Path) -> None:
    embed, engine = vectors(folder / "model.onnx", SPEC, "numpy")
    ids = [2, 4, 5, 6, 3]
    assert np.abs(embed(ids) - Float64Encoder(tiny_weights(), TINY).embed(ids)).max() < 1e-6
    assert "own graph" in engine


def without_types(model: onnx.ModelProto) -> onnx.ModelProto:
    kept = [item for item in model.graph.input if item.name != "token_type_ids"]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return model


def pooled_alone(model: onnx.ModelProto) -> onnx.ModelProto:
    del model.graph.output[1]
    return model


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_types, "takes input_ids, attention_mask; the recipe says"),
        (pooled_alone, "no single output of token vectors: it has sentence"),
        (lambda _: retyped(exported(least=-1e4), FLOAT, FLOAT16), "not in single precision alone"),
    ],
)
def test_another_kind_of_graph_is_refused(
    tmp_path: Path, change: Callable[[onnx.ModelProto], onnx.ModelProto], said: str
) -> None:
    onnx.save(change(exported()), str(tmp_path / "model.onnx"))
    with pytest.raises(WeightsError, match=said):
        ensure_graph(tmp_path, SPEC, tmp_path / "graphs")


@pytest.mark.parametrize("content", [b"", b"<html>no model</html>"])
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(WeightsError):
        ensure_graph(tmp_path, SPEC, tmp_path / "graphs")


def test_what_it_cannot_do_is_said(folder: Path) -> None:
    with (
        Embedder.from_recipe(folder, SPEC, pooling="graph") as embedder,
        pytest.raises(VerifyError, match="does not pool"),
    ):
        embedder.embed(["a"])
    with pytest.raises(VerifyError, match="no layout to fill"):
        random_encoder(SPEC, seed=1)
    with pytest.raises(PolicyError, match="layers, heads, intermediate: missing"):
        replace(SPEC, architecture="bert")
