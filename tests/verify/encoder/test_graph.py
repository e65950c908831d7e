"""The graph builder: the same bytes every time, and the right numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from tests.kit.verify_examples import TINY, numpy_states, tiny_weights
from verify.encoder.graph import build_graph, ensure_graph
from verify.encoder.weights import WeightsError, read_safetensors, write_safetensors
from verify.errors import VerifyError

Array = np.ndarray[Any, Any]


def feeds(length: int) -> dict[str, Array]:
    random = np.random.default_rng(1)
    ids = random.integers(0, TINY.vocab, (1, length))
    mask = np.ones_like(ids)
    mask[0, length - 2 :] = 0
    types = random.integers(0, 2, ids.shape)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


@pytest.mark.parametrize("static", [None, (1, 8)])
def test_numbers_equal_an_independent_implementation(static: tuple[int, int] | None) -> None:
    from onnx.reference import ReferenceEvaluator

    tensors = tiny_weights()
    given = feeds(8)
    found = ReferenceEvaluator(build_graph(tensors, TINY, static=static)).run(None, given)[0]
    wanted = numpy_states(
        tensors, given["input_ids"], given["attention_mask"], given["token_type_ids"]
    )
    kept = given["attention_mask"][0] == 1
    assert np.abs(found[:, kept] - wanted[:, kept]).max() < 2e-5


def test_half_precision_is_near_and_keeps_its_interface() -> None:
    from onnx import TensorProto
    from onnx.reference import ReferenceEvaluator

    tensors, given = tiny_weights(), feeds(8)
    half = build_graph(tensors, TINY, static=(1, 8), precision="fp16")
    kinds = {item.data_type for item in half.graph.initializer}
    assert TensorProto.FLOAT not in kinds
    assert half.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    found = ReferenceEvaluator(half).run(None, given)[0]
    whole = ReferenceEvaluator(build_graph(tensors, TINY, static=(1, 8))).run(None, given)[0]
    kept = given["attention_mask"][0] == 1
    difference = np.abs(found - whole)[:, kept].max()
    assert 0 < difference < 0.05


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("static", [None, (1, 8), (2, 16)])
def test_bytes_are_the_same_every_time(static: Any, precision: Any) -> None:
    shuffled = dict(reversed(tiny_weights().items()))
    one = build_graph(tiny_weights(), TINY, static=static, precision=precision)
    two = build_graph(shuffled, TINY, static=static, precision=precision)
    assert one.SerializeToString(deterministic=True) == two.SerializeToString(deterministic=True)


def test_node_count_of_the_real_shape_follows_the_layers() -> None:
    assert len(build_graph(tiny_weights(), TINY, static=(1, 8)).graph.node) == 9 + 34 * TINY.layers


def test_a_graph_is_kept_and_rebuilt_when_its_bytes_changed(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", tiny_weights())
    path = ensure_graph(tmp_path, TINY, tmp_path / "graphs", static=(1, 8))
    content, stamp = path.read_bytes(), path.stat().st_mtime_ns
    assert ensure_graph(tmp_path, TINY, tmp_path / "graphs", static=(1, 8)) == path
    assert path.stat().st_mtime_ns == stamp
    path.write_bytes(content[:-1] + b"x")
    ensure_graph(tmp_path, TINY, tmp_path / "graphs", static=(1, 8))
    assert path.read_bytes() == content
    write_safetensors(tmp_path / "model.safetensors", tiny_weights(8))
    assert ensure_graph(tmp_path, TINY, tmp_path / "graphs", static=(1, 8)) != path


def test_the_two_forms_differ_in_what_they_say_of_the_look_up_alone(tmp_path: Path) -> None:
    inside = replace(TINY, look_up="inside")
    forms = [build_graph(tiny_weights(), each, static=(1, 8)) for each in (TINY, inside)]
    said = [{item.key: item.value for item in form.metadata_props} for form in forms]
    assert said == [{"COREML_LOOK_UP": "CPU"}, {}]
    assert forms[0].graph == forms[1].graph
    write_safetensors(tmp_path / "model.safetensors", tiny_weights())
    paths = {ensure_graph(tmp_path, each, tmp_path / "graphs") for each in (TINY, inside)}
    assert len(paths) == 2, "both can be there at once"


def test_weights_that_do_not_fit_are_listed() -> None:
    tensors = tiny_weights()
    del tensors["encoder.layer.1.output.dense.bias"]
    tensors["embeddings.LayerNorm.bias"] = np.zeros(3, np.float32)
    with pytest.raises(WeightsError) as caught:
        build_graph(tensors, TINY)
    assert "encoder.layer.1.output.dense.bias is missing" in caught.value.problem
    assert "embeddings.LayerNorm.bias is [3], not [16]" in caught.value.problem


@pytest.mark.parametrize("static", [(0, 8), (1, 0), (1, 25)])
def test_impossible_static_shapes(static: tuple[int, int]) -> None:
    with pytest.raises(VerifyError, match="does not fit"):
        build_graph(tiny_weights(), TINY, static=static)


def test_safetensors_round_trip_and_damage(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([1, 2], np.int64)}
    write_safetensors(path, tensors)
    read = read_safetensors(path)
    assert all(np.array_equal(read[name], value) for name, value in tensors.items())
    content = path.read_bytes()
    for damaged in (content[:-1], content[:20], b"", b"\xff" * 64):
        path.write_bytes(damaged)
        with pytest.raises(WeightsError):
            read_safetensors(path)
    with pytest.raises(WeightsError, match="no weights file"):
        read_safetensors(tmp_path / "none")


def test_our_reader_agrees_with_the_library(tmp_path: Path) -> None:
    library = safetensors.numpy
    path = tmp_path / "w.safetensors"
    library.save_file(tiny_weights(), path)
    found = read_safetensors(path)
    for name, value in tiny_weights().items():
        assert np.array_equal(found[name], value)
