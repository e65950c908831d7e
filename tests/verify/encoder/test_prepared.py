"""The forms for the CPU: equal where they must be, near where they are rounded, reproducible."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from tests.kit.verify_examples import TINY, tiny_weights
from tests.verify.encoder.test_architectures import MPNET, SPECS, feeds
from verify.encoder.graph import build_graph
from verify.encoder.model_recipe import EncoderSpec
from verify.encoder.prepared import choice, prepare, processor
from verify.encoder.prepared.fused_graph import FusedWriter
from verify.encoder.prepared.int8_graph import Int8Writer
from verify.encoder.prepared.moments import (
    Calibration,
    Inputs,
    best_range,
    calibrate,
    calibration_texts,
    calibration_tokens,
    rotation,
    turned,
)
from verify.encoder.prepared.prepare import coded_matrices, ensure_prepared, prepared_graph
from verify.encoder.prepared.rounding import column_scales, fitted, nearest
from verify.encoder.prepared.sensitivity import least_sensitive
from verify.encoder.prepared.smoothing import Linear, rotated, smoothed
from verify.encoder.prepared.text_runner import TextRunner
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


def test_mpnet_is_calibrated_as_its_graph_computes() -> None:
    tensors = tiny_weights(encoder=MPNET)
    runner = TextRunner(tensors, MPNET, [[5, 6, 7, 8], [9, 10]])
    rows = runner.embedded()
    for number in range(MPNET.layers):
        rows = runner.layer(rows, number)
    given = {"input_ids": np.asarray([[5, 6, 7, 8]]), "attention_mask": np.ones((1, 4), np.int64)}
    assert np.abs(rows[:4] - states(MPNET, given)[0]).max() < 1e-5


def test_no_text_depends_on_those_beside_it_where_each_token_has_a_scale() -> None:
    alone, padded = feeds(TINY, 8), feeds(TINY, 8)
    alone = {name: value[:, :6] for name, value in alone.items()}
    other = {name: np.roll(value, 1, axis=1) for name, value in padded.items()}
    both = {name: np.concatenate([padded[name], other[name]]) for name in padded}
    prepared = session(TINY, "int8")
    found = prepared.run(None, both)[0][0, :6]
    assert np.abs(found - prepared.run(None, alone)[0][0]).max() < 1e-5


def test_one_operation_of_attention_gives_what_the_separate_ones_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = feeds(TINY, 16)

    def fast(encoder: EncoderSpec) -> tuple[Counter[str], onnx.ModelProto]:
        tensors, variant = tiny_weights(encoder=encoder), VARIANTS["int8-fast"]
        matrices = coded_matrices(tensors, encoder, variant, calibration(encoder))
        model = prepared_graph(tensors, encoder, variant, matrices)
        return Counter(node.op_type for node in model.graph.node), model

    kinds, model = fast(TINY)
    assert kinds["QAttention"] == TINY.layers
    assert kinds["MatMulIntegerToFloat"] == 3 * TINY.layers
    types = {item.name: item.data_type for item in model.graph.initializer}
    (first, *_) = (node for node in model.graph.node if node.op_type == "QAttention")
    assert types[first.input[1]] == onnx.TensorProto.UINT8
    found = session(TINY, "int8-fast").run(None, given)[0]
    assert fast(MPNET)[0]["QAttention"] == 0  # it would leave out the bias of distances
    monkeypatch.setattr(Int8Writer, "attention", FusedWriter.attention)
    kinds, _ = fast(TINY)
    assert kinds["MultiHeadAttention"] == TINY.layers
    apart = session(TINY, "int8-fast").run(None, given)[0]
    assert np.abs(found - apart)[:, :-2].max() < 1e-5


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
    assert record["steps"]["fixed"] == ["query", "key", "value"]
    assert len(record["matrices"]) == 12
    assert record["prepared_on"]["instructions"] == list(processor.integer_instructions())
    assert record["prepared_on"]["saturates"]["u8u8"] is False
    assert record["calibration"]["texts"] == 120
    paths[0].write_bytes(b"damaged")
    again = ensure_prepared(tmp_path, TINY, tmp_path / "one", variant="int8", static=(1, 8))
    assert again.read_bytes() == paths[1].read_bytes()


def test_graphs_of_other_shapes_and_scales_are_made_of_the_same_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_safetensors(tmp_path / "model.safetensors", tiny_weights())
    runs = []
    monkeypatch.setattr(
        prepare, "calibrate", lambda *given: runs.append(given) or calibrate(*given)
    )
    records = []
    for variant, static in (
        ("int8-apart", None),
        ("int8-apart", (1, 8)),
        ("int8-apart-row", (1, 16)),
    ):
        path = ensure_prepared(tmp_path, TINY, tmp_path, variant=variant, static=static)
        records.append(json.loads(path.with_suffix(".json").read_text()))
    assert len(runs) == 1
    assert records[0]["calibration"] == records[2]["calibration"]
    assert len({record["graph_sha256"] for record in records}) == 3
    (codes,) = (tmp_path).glob("*/codes-*.safetensors")
    matrices = coded_matrices(tiny_weights(), TINY, VARIANTS["int8-apart"], calibration())
    for name, stored in prepare._read_codes(codes).items():
        for part, value in vars(stored).items():
            assert np.array_equal(value, getattr(matrices[name], part)), (name, part)
    codes.write_bytes(b"damaged")
    ensure_prepared(tmp_path, TINY, tmp_path, variant="int8-apart", static=(2, 8))
    assert len(runs) == 2


def test_mixed_precision_leaves_the_most_sensitive_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors, texts = tiny_weights(), calibration_tokens(TINY, NOWHERE)[::4]
    matrices = coded_matrices(tensors, TINY, VARIANTS["int8-mixed"], calibration())

    def mixed(least: float) -> tuple[dict[str, Any], dict[str, float]]:
        return least_sensitive(tensors, TINY, matrices, texts, least)

    everything, costs = mixed(-1.0)
    assert everything.keys() == costs.keys() == matrices.keys()
    assert min(costs.values()) > 0
    assert mixed(1.0)[0] == {}
    least = 1 - max(costs.values())
    some, again = mixed(least)
    assert again == costs
    assert 0 < len(some) < len(costs)
    assert max(costs[name] for name in some) <= min(costs[name] for name in costs.keys() - some)
    write_safetensors(tmp_path / "model.safetensors", tensors)
    monkeypatch.setitem(
        prepare.VARIANTS, "int8-mixed", replace(VARIANTS["int8-mixed"], least=least)
    )
    path = ensure_prepared(tmp_path, TINY, tmp_path, variant="int8-mixed")
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["costs"] == costs
    assert record["matrices"] == sorted(some)
    kinds = Counter(node.op_type for node in onnx.load(path).graph.node)
    assert kinds["MatMulIntegerToFloat"] == len(some)
    assert kinds["MatMul"] == len(costs) - len(some)


def test_smoothing_changes_nothing_in_float32_and_makes_the_inputs_flat() -> None:
    random = np.random.default_rng(11)
    values = random.normal(size=(300, 16)).astype(np.float32)
    values[:, 3] *= 60
    inputs = Inputs(
        moments=values.T.astype(np.float64) @ values, low=values.min(0), high=values.max(0)
    )
    parts = {
        part: Linear(weight=random.normal(size=(16, 16)), inputs=inputs)
        for part in ("query", "key", "value", "joined", "wide", "narrow")
    }
    found = smoothed(parts, ("query", "key", "value", "joined", "wide"))
    for part in ("query", "key", "wide"):
        factors = found[part].factors
        assert factors is not None
        assert (np.exp2(np.rint(np.log2(factors))) == factors).all()
        weight = parts[part].weight.astype(np.float32)
        moved = found[part].weight.astype(np.float32)
        assert np.array_equal((values * factors) @ moved, values @ weight)
        before, after = (np.abs(each).max(axis=0) for each in (values, values * factors))
        assert after.max() / np.median(after) < 0.3 * before.max() / np.median(before)
    assert np.array_equal(found["query"].factors, found["value"].factors)
    assert found["narrow"] is parts["narrow"]
    # What the attention's output is multiplied by is in the value's weights already.
    assert found["joined"].factors is None
    passed = parts["joined"].weight[:, 0] / found["joined"].weight[:, 0]
    assert found["query"].factors is not None
    unmoved = found["value"].weight * found["query"].factors[:, None] / passed
    assert np.array_equal(unmoved, parts["value"].weight)


def test_rotating_changes_no_product_and_shares_what_stands_out() -> None:
    random = np.random.default_rng(12)
    assert np.allclose(rotation(32) @ rotation(32).T, np.eye(32), atol=1e-12)
    values = random.normal(size=(300, 32))
    values[:, 3] *= 60
    inputs = Inputs(moments=values.T @ values / len(values), low=values.min(0), high=values.max(0))
    parts = {
        part: Linear(weight=random.normal(size=(32, 32)), inputs=inputs)
        for part in ("query", "key", "value", "joined", "wide", "narrow")
    }
    found = rotated(parts, ("query", "key", "value", "joined"), 8)
    query = found["query"]
    moved = turned(values, query.block)
    assert query.block == 32
    assert np.allclose(moved @ query.weight, values @ parts["query"].weight)
    assert np.allclose(query.inputs.moments, moved.T @ moved / len(values))
    before, after = (np.abs(each).max(axis=0) for each in (values, moved))
    assert after.max() / np.median(after) < 0.1 * before.max() / np.median(before)
    # The output projection's input is turned, each head by itself, by the value's weights.
    mixed = moved @ found["value"].weight
    assert found["joined"].block == 1
    exact = values @ parts["value"].weight @ parts["joined"].weight
    assert np.allclose(mixed @ found["joined"].weight, exact)
    assert found["wide"] is parts["wide"]


def test_a_range_cuts_what_is_rare_and_not_what_is_common() -> None:
    values = np.random.default_rng(13).normal(size=(2000, 64))
    shares = np.full((2000, 1), 1 / 2000)
    values[0, :2] = 40.0, -40.0
    low, high = best_range(values, shares)
    # Two of 128,000 values at 40 lose (40 - r)^2 each, all others (2 r / 255)^2 / 12: least at 30.
    assert high == pytest.approx(30, abs=1.5)
    assert low == pytest.approx(-30, abs=1.5)
    low, high = best_range(np.clip(values, -1, 1), shares)
    assert (round(low, 1), round(high, 1)) == (-1.0, 1.0)


def test_a_graph_of_its_own_is_not_taken_apart(tmp_path: Path) -> None:
    own = replace(TINY, architecture="onnx")
    with pytest.raises(VerifyError, match="graph of its own"):
        ensure_prepared(tmp_path, own, tmp_path, variant="int8")


def test_weights_are_unsigned_so_that_no_kernel_saturates() -> None:
    matrices = coded_matrices(tiny_weights(), TINY, VARIANTS["int8"], calibration())
    model = prepared_graph(tiny_weights(), TINY, VARIANTS["int8"], matrices)
    kinds = {item.name: item.data_type for item in model.graph.initializer}
    kind = {"MatMulIntegerToFloat", "QAttention"}
    products = [node for node in model.graph.node if node.op_type in kind]
    assert len(products) == 4 * TINY.layers
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

    def auto(least: float, provider: str = "cpu") -> tuple[str, str]:
        found = choice.chosen("auto", provider, weights, least)
        return found.precision, found.why

    assert auto(0.999) == ("int8", "the fastest that is proven to keep 0.999, by avx512-vnni")
    assert auto(0.99)[0] == "int8-fast"
    assert auto(0.9999) == ("fp32", "of these weights no form is proven to keep 0.9999")
    assert auto(0.99, "coreml") == ("fp32", "the forms in eight bits are for the CPU provider")
    assert choice.chosen("fp16", "cpu", weights, 0.99).precision == "fp16"
    monkeypatch.setattr(choice, "saturating", lambda: {"u8s8": True, "u8u8": True})
    assert auto(0.99) == ("fp32", "products of unsigned bytes saturate on this processor")
    monkeypatch.setattr(choice, "integer_instructions", lambda: ("avx2",))
    assert auto(0.99) == ("fp32", "no fast products of bytes on this processor (avx2)")
    monkeypatch.setattr(choice, "integer_instructions", lambda: ("dotprod",))
    monkeypatch.setattr(choice, "file_sha256", lambda path: "others")
    assert auto(0.99)[0] == "fp32"
    with pytest.raises(VerifyError, match="form for the CPU"):
        choice.chosen("int8", "coreml", weights, 0.99)


def test_instructions_go_by_the_names_that_linux_has() -> None:
    assert processor.integer_instructions({"avx2", "avx512_vnni", "sse2"}) == (
        "avx512-vnni",
        "avx2",
    )
    assert processor.integer_instructions({"asimddp", "i8mm"}) == ("i8mm", "dotprod")
    assert processor.integer_instructions(set()) == ()
