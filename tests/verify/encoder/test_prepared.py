"""The forms for the CPU: equal where they must be, near where they are rounded, reproducible."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from tests.kit.verify_examples import TINY, tiny_weights
from tests.verify.encoder.test_architectures import MPNET, SPECS, feeds
from verify.encoder.graph import build_graph
from verify.encoder.model_recipe import EncoderSpec
from verify.encoder.prepared import choice
from verify.encoder.prepared.moments import Calibration, calibrate, calibration_texts
from verify.encoder.prepared.prepare import coded_matrices, ensure_prepared, prepared_graph
from verify.encoder.prepared.rounding import column_scales, fitted, nearest
from verify.encoder.prepared.variants import PREPARED, VARIANTS, Prepared
from verify.encoder.reference import default_folder, load_texts
from verify.encoder.weights import write_safetensors
from verify.errors import VerifyError

Array = np.ndarray[Any, Any]
NOWHERE = Path("no-tokenizer.json")


def calibration(encoder: EncoderSpec = TINY) -> Calibration:
    return calibrate(tiny_weights(encoder=encoder), encoder, NOWHERE)


def session(encoder: EncoderSpec, name: Prepared) -> onnxruntime.InferenceSession:
    tensors, variant = tiny_weights(encoder=encoder), VARIANTS[name]
    matrices = coded_matrices(tensors, encoder, variant, calibration(encoder))
    model = prepared_graph(tensors, encoder, variant, matrices)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def states(encoder: EncoderSpec, given: dict[str, Array]) -> Array:
    graph = build_graph(tiny_weights(encoder=encoder), encoder)
    return np.asarray(ReferenceEvaluator(graph).run(None, given)[0])


@pytest.mark.parametrize("name", SPECS)
def test_the_fused_graph_is_the_graph(name: str) -> None:
    encoder = SPECS[name]
    given = feeds(encoder, encoder.buckets[-1])
    found = session(encoder, "fused").run(None, given)[0]
    assert np.abs(found - states(encoder, given))[:, :-2].max() < 3e-5


@pytest.mark.parametrize("name", [name for name in PREPARED if name.startswith("int8")])
def test_eight_bits_are_near_and_not_equal(name: Prepared) -> None:
    given = feeds(TINY, 16)
    difference = np.abs(session(TINY, name).run(None, given)[0] - states(TINY, given))[:, :-2]
    assert 1e-4 < difference.max() < 0.4
    assert difference.mean() < 0.06


def test_mpnet_keeps_its_bias_in_eight_bits() -> None:
    given = feeds(MPNET, 200)
    difference = np.abs(session(MPNET, "int8").run(None, given)[0] - states(MPNET, given))[:, :-2]
    assert difference.mean() < 0.06


def test_no_text_depends_on_those_beside_it_where_each_token_has_a_scale() -> None:
    alone, padded = feeds(TINY, 8), feeds(TINY, 8)
    alone = {name: value[:, :6] for name, value in alone.items()}
    other = {name: np.roll(value, 1, axis=1) for name, value in padded.items()}
    both = {name: np.concatenate([padded[name], other[name]]) for name in padded}
    prepared = session(TINY, "int8")
    found = prepared.run(None, both)[0][0, :6]
    assert np.abs(found - prepared.run(None, alone)[0][0]).max() < 1e-5


def test_moments_are_those_of_what_the_graph_multiplies() -> None:
    tensors = tiny_weights()
    model = build_graph(tensors, TINY)
    found = calibration()
    given = {"input_ids": np.asarray([[5, 6, 7]]), "attention_mask": np.ones((1, 3), np.int64)}
    given["token_type_ids"] = np.zeros((1, 3), np.int64)
    assert set(found.inputs) == {
        node.input[1].removesuffix(".weight")
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1].endswith(".weight")
    }
    assert found.tokens > 500
    for inputs in found.inputs.values():
        eigenvalues = np.linalg.eigvalsh(inputs.moments)
        assert eigenvalues.min() > -1e-5
        assert np.diag(inputs.moments).max() <= np.maximum(-inputs.low, inputs.high).max() ** 2


def test_fitted_rounding_is_nearer_in_what_counts() -> None:
    random = np.random.default_rng(3)
    mixing = random.normal(size=(24, 24)) * np.geomspace(1, 0.01, 24)
    inputs = random.normal(size=(400, 24)) @ mixing
    weight = random.normal(size=(24, 10))
    scales = column_scales(weight, (2, 5)) * 8  # few codes, so that rounding shows
    moments = inputs.T @ inputs / len(inputs)
    exact = inputs @ weight
    errors = []
    for codes in (nearest(weight, scales), fitted(weight, scales, moments, (2, 5))):
        kept = codes * scales
        kept[[2, 5]] = weight[[2, 5]]
        errors.append(float(np.square(inputs @ kept - exact).mean()))
    assert errors[1] < errors[0] / 2
    assert not fitted(weight, scales, moments, (2, 5))[[2, 5]].any()


def test_a_prepared_graph_is_made_once_the_same_every_time_and_recorded(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", tiny_weights())
    paths = [
        ensure_prepared(tmp_path, TINY, tmp_path / folder, variant="int8", static=(1, 8))
        for folder in ("one", "two", "one")
    ]
    assert paths[0] == paths[2]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    record = json.loads(paths[0].with_suffix(".json").read_text())
    assert record["variant"] == "int8"
    assert record["steps"]["scales"] == "row"
    assert record["matrices"] == 12
    assert record["calibration"]["texts"] == 120
    paths[0].write_bytes(b"damaged")
    again = ensure_prepared(tmp_path, TINY, tmp_path / "one", variant="int8", static=(1, 8))
    assert again.read_bytes() == paths[1].read_bytes()


def test_a_graph_of_its_own_is_not_taken_apart(tmp_path: Path) -> None:
    own = replace(TINY, architecture="onnx")
    with pytest.raises(VerifyError, match="graph of its own"):
        ensure_prepared(tmp_path, own, tmp_path, variant="int8")


def test_weights_are_unsigned_so_that_no_kernel_saturates() -> None:
    matrices = coded_matrices(tiny_weights(), TINY, VARIANTS["int8"], calibration())
    model = prepared_graph(tiny_weights(), TINY, VARIANTS["int8"], matrices)
    kinds = {item.name: item.data_type for item in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMulIntegerToFloat"]
    assert len(products) == 12
    assert {kinds[node.input[1]] for node in products} == {2}  # uint8
    for matrix in matrices.values():
        assert matrix.codes.min() >= 1
        assert (matrix.codes[list(matrix.columns)] == 128).all()


def test_no_calibration_text_is_a_reference_text() -> None:
    texts = {entry.text for entry in load_texts(default_folder())[0]}
    assert not texts & set(calibration_texts())
    assert len(calibration_texts()) > 80


def test_auto_is_eight_bits_where_that_is_proven_and_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    monkeypatch.setattr(choice, "file_sha256", lambda path: next(iter(choice.WORST)))
    monkeypatch.setattr(choice, "integer_instructions", lambda: ("avx512-vnni", "avx2"))
    assert choice.chosen("auto", "cpu", weights, 0.999) == "int8"
    assert choice.chosen("auto", "cpu", weights, 0.99) == "int8-fast"
    assert choice.chosen("auto", "cpu", weights, 0.9999) == "fp32"
    assert choice.chosen("auto", "coreml", weights, 0.99) == "fp32"
    assert choice.chosen("fp16", "cpu", weights, 0.99) == "fp16"
    monkeypatch.setattr(choice, "integer_instructions", lambda: ("avx2",))
    assert choice.chosen("auto", "cpu", weights, 0.99) == "fp32"
    monkeypatch.setattr(choice, "integer_instructions", lambda: ("dotprod",))
    monkeypatch.setattr(choice, "file_sha256", lambda path: "others")
    assert choice.chosen("auto", "cpu", weights, 0.99) == "fp32"
    with pytest.raises(VerifyError, match="form for the CPU"):
        choice.chosen("int8", "coreml", weights, 0.99)


def test_instructions_go_by_the_names_that_linux_has() -> None:
    assert choice.integer_instructions({"avx2", "avx512_vnni", "sse2"}) == ("avx512-vnni", "avx2")
    assert choice.integer_instructions({"asimddp", "i8mm"}) == ("i8mm", "dotprod")
    assert choice.integer_instructions(set()) == ()
