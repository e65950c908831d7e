"""The family of graphs, pooling inside the graph, random weights, and fixing a user's model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from tests.kit.verify_examples import TINY, numpy_states, tiny_weights
from verify.cli import main
from verify.coverage.fixed_shapes import fix_axes, parse_fixes
from verify.coverage.nodes import facts
from verify.encoder.graph import build_graph, ensure_graph, graph_name
from verify.encoder.graph_family import members, random_encoder, random_weights
from verify.encoder.number_types import float_types, retyped
from verify.encoder.weights import write_safetensors
from verify.errors import VerifyError

Array = np.ndarray[Any, Any]


def feeds(batch: int, *, empty: bool = False) -> dict[str, Array]:
    random = np.random.default_rng(3)
    ids = random.integers(0, TINY.vocab, (batch, 8))
    mask = np.ones_like(ids)
    mask[0, 0 if empty else 5 :] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def evaluate(given: dict[str, Array], **options: Any) -> Array:
    from onnx.reference import ReferenceEvaluator

    model = build_graph(tiny_weights(), TINY, output="sentence_embedding", **options)
    found = ReferenceEvaluator(model).run(None, given)[0]
    assert isinstance(found, np.ndarray)
    return found


@pytest.mark.parametrize("static", [None, (2, 8)])
@pytest.mark.parametrize(("precision", "near"), [("fp32", 2e-6), ("fp16", 5e-3)])
def test_pooling_inside_is_pooling_outside(static: Any, precision: Any, near: float) -> None:
    given = feeds(2)
    found = evaluate(given, static=static, precision=precision)
    states = numpy_states(tiny_weights(), *given.values())
    weight = given["attention_mask"][:, :, None].astype(np.float64)
    mean = (states * weight).sum(1) / weight.sum(1)
    wanted = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    assert found.shape == (2, TINY.hidden)
    assert found.dtype == np.float32
    assert np.abs(found - wanted).max() < near


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_text_without_tokens_is_zero_and_not_nan(precision: Any) -> None:
    found = evaluate(feeds(1, empty=True), static=(1, 8), precision=precision)
    assert np.array_equal(found, np.zeros_like(found))


def test_half_precision_holds_the_bias_of_the_mask() -> None:
    from onnx import numpy_helper

    model = build_graph(tiny_weights(), TINY, static=(1, 8), precision="fp16")
    values = [numpy_helper.to_array(item) for item in model.graph.initializer]
    assert all(np.isfinite(value.astype(np.float64)).all() for value in values)


def test_without_normalising_the_vector_is_the_mean() -> None:
    from dataclasses import replace

    from onnx.reference import ReferenceEvaluator

    plain = replace(TINY, normalise=False)
    model = build_graph(tiny_weights(), plain, output="sentence_embedding")
    given = feeds(2)
    found = ReferenceEvaluator(model).run(None, given)[0]
    states = numpy_states(tiny_weights(), *given.values())
    assert np.abs(found[1] - states[1].mean(0)).max() < 2e-5


def test_the_record_and_the_name_tell_the_output(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", tiny_weights())
    plain = ensure_graph(tmp_path, TINY, tmp_path / "g", static=(1, 8))
    pooled = ensure_graph(
        tmp_path, TINY, tmp_path / "g", static=(1, 8), output="sentence_embedding"
    )
    assert (plain.name, pooled.name) == ("static-1x8-fp32.onnx", "static-1x8-fp32-sentence.onnx")
    assert "output" not in json.loads(plain.with_suffix(".json").read_text())
    assert json.loads(pooled.with_suffix(".json").read_text())["output"] == "sentence_embedding"
    first = pooled.read_bytes()
    pooled.unlink()
    ensure_graph(tmp_path, TINY, tmp_path / "g", static=(1, 8), output="sentence_embedding")
    assert pooled.read_bytes() == first


def test_members_are_every_bucket_at_every_batch() -> None:
    found = members(
        buckets=(32, 64), batches=(1, 8), precisions=("fp16",), output="last_hidden_state"
    )
    assert [member.label for member in found] == [
        "dynamic-fp16",
        "static-1x32-fp16",
        "static-1x64-fp16",
        "static-8x32-fp16",
        "static-8x64-fp16",
    ]
    assert len({graph_name(m.static, m.precision, m.output) for m in found}) == len(found)


def test_random_weights_follow_the_seed_and_fit_the_encoder() -> None:
    encoder = random_encoder(TINY, seed=5, layers=3, hidden=64)
    assert (encoder.layers, encoder.hidden, encoder.heads, encoder.intermediate) == (3, 64, 2, 256)
    one, two = random_weights(encoder, seed=5), random_weights(encoder, seed=5)
    assert all(np.array_equal(one[name], two[name]) for name in one)
    other = random_weights(encoder, seed=6)
    assert not np.array_equal(one["embeddings.LayerNorm.bias"], other["embeddings.LayerNorm.bias"])
    assert len(build_graph(one, encoder, static=(1, 8)).graph.node) == 9 + 34 * 3


@pytest.mark.parametrize("sizes", [{"layers": -1}, {"hidden": 30, "heads": 4}, {"seed": -2}])
def test_impossible_random_encoders(sizes: dict[str, int]) -> None:
    with pytest.raises(VerifyError):
        random_encoder(TINY, **{"seed": 1, **sizes})


def test_twelve_heads_at_the_sizes_of_known_models() -> None:
    for hidden in (384, 768):
        encoder = random_encoder(TINY, seed=1, layers=12, hidden=hidden)
        assert (encoder.heads, encoder.intermediate) == (12, 4 * hidden)


def test_fixed_axes_give_the_numbers_of_the_dynamic_model() -> None:
    from onnx.reference import ReferenceEvaluator

    model = build_graph(tiny_weights(), TINY)
    fixed = fix_axes(model, {"batch": 2, "sequence": 8})
    assert facts(fixed).dynamic_axes == ()
    assert facts(fixed).inputs["input_ids"] == (2, 8)
    assert facts(model).dynamic_axes == ("batch", "sequence")  # the original is left alone
    given = feeds(2)
    one = ReferenceEvaluator(model).run(None, given)[0]
    assert np.array_equal(ReferenceEvaluator(fixed).run(None, given)[0], one)


@pytest.mark.parametrize(
    ("fixes", "words"),
    [
        ({"batch": 1}, "sequence would stay"),
        ({"batch": 1, "sequence": 8, "length": 3}, "no dynamic axis length"),
    ],
)
def test_axes_must_be_the_models(fixes: dict[str, int], words: str) -> None:
    with pytest.raises(VerifyError, match=words):
        fix_axes(build_graph(tiny_weights(), TINY), fixes)


@pytest.mark.parametrize("pairs", [["batch"], ["batch=0"], ["=3"], ["b=1", "b=2"], ["b=x"]])
def test_wrong_fixes(pairs: list[str]) -> None:
    with pytest.raises(VerifyError, match="--fix"):
        parse_fixes(pairs)


def test_an_axis_may_hold_an_equals_sign() -> None:
    assert parse_fixes(["a=b=3", "c=4"]) == {"a=b": 3, "c": 4}


@pytest.mark.parametrize(
    "argv",
    [
        ("--from-onnx", "none.onnx"),
        ("--from-onnx", "none.onnx", "--buckets", "32"),
        ("--buckets", "x"),
        ("--layers", "12"),
        ("--batch", ""),
        ("--fix", "batch=1"),
    ],
)
def test_wrong_usage_of_model(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["model", *argv]) == 3
    assert argv[0].removeprefix("--") in capsys.readouterr().err.replace("none.onnx", "from-onnx")


def half_network(*, casts: bool = False) -> Any:
    """A product in half precision, with a mixed graph's cast to single where wanted."""
    nodes = [helper.make_node("Mul", ["x", "w"], ["p"])]
    if casts:
        nodes.append(helper.make_node("Cast", ["p"], ["y"], to=1))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 10, [2])],
        [helper.make_tensor_value_info("y" if casts else "p", 1 if casts else 10, [2])],
        [helper.make_tensor("w", 10, [2], np.array([1.5, 1 / 3], dtype=np.float16))],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_types_of_a_model() -> None:
    assert float_types(half_network()) == {10}
    assert float_types(half_network(casts=True)) == {1, 10}
    assert float_types(build_graph(tiny_weights(), TINY)) == {1}


def test_half_made_single_and_half_again_is_the_same() -> None:
    model = half_network()
    wide = retyped(model, 10, 1)
    assert float_types(wide) == {1}
    back = retyped(wide, 1, 10)
    assert back.graph.input == model.graph.input
    one, other = (numpy_helper.to_array(item.graph.initializer[0]) for item in (model, back))
    assert one.dtype == other.dtype == np.float16
    assert np.array_equal(one, other)
