"""A user's own model as input of the proof: its inputs drawn or read, its mistakes told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from verify.cli import main
from verify.conversion.emit_inside import _given
from verify.conversion.own_model import (
    Input,
    draw_inputs,
    model_inputs,
    parse_ranges,
    read_inputs,
    write_feeds,
)
from verify.conversion.proof import ProofError
from verify.coverage.fixed_shapes import fix_axes
from verify.errors import VerifyError

IDS = Input(name="ids", shape=(1, 4), dtype=np.dtype(np.int64))
IMAGE = Input(name="image/x:0", shape=(1, 3, 2, 2), dtype=np.dtype(np.float32))


def two_inputs() -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Identity", ["ids"], ["z"])],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT16, ["batch", None, 8]),
            helper.make_tensor_value_info("ids", TensorProto.INT32, ["batch"]),
            helper.make_tensor_value_info("weight", TensorProto.FLOAT, [2]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT16, None),
            helper.make_tensor_value_info("z", TensorProto.INT32, None),
        ],
        [helper.make_tensor("weight", TensorProto.FLOAT, [2], [1.0, 2.0])],
    )
    return helper.make_model(graph)


def test_inputs_are_those_without_a_constant_with_their_axes_fixed() -> None:
    fixed = fix_axes(two_inputs(), {"batch": 2, "?": 5})
    assert model_inputs(fixed) == [
        Input(name="x", shape=(2, 5, 8), dtype=np.dtype(np.float16)),
        Input(name="ids", shape=(2,), dtype=np.dtype(np.int32)),
    ]


def test_an_axis_that_stays_dynamic_says_what_to_write() -> None:
    with pytest.raises(VerifyError) as caught:
        fix_axes(two_inputs(), {"batch": 2})
    assert "--fix x:1=N" in caught.value.hint


def test_inputs_that_are_no_numbers_are_refused() -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["s"], ["t"])],
        "g",
        [helper.make_tensor_value_info("s", TensorProto.STRING, [1])],
        [helper.make_tensor_value_info("t", TensorProto.STRING, [1])],
    )
    with pytest.raises(ProofError, match="no tensor of numbers"):
        model_inputs(helper.make_model(graph))
    del graph.input[:]
    with pytest.raises(ProofError, match="no input"):
        model_inputs(helper.make_model(graph))


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(0, 2**32))
def test_the_same_seed_draws_the_same_inputs(count: int, seed: int) -> None:
    one, two = (draw_inputs([IDS, IMAGE], count=count, seed=seed, ranges={}) for _ in range(2))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert one["ids"].shape == (count, 1, 4)
    assert one["ids"].dtype == np.int64
    assert set(np.unique(one["ids"])) <= {0, 1}
    assert one["image/x:0"].dtype == np.float32
    assert np.isfinite(one["image/x:0"]).all()


@settings(deadline=None)
@given(st.integers(-50, 50), st.integers(0, 50))
def test_a_range_holds(low: int, more: int) -> None:
    ranges = {"ids": (float(low), float(low + more)), "image/x:0": (float(low), float(low + more))}
    drawn = draw_inputs([IDS, IMAGE], count=3, seed=0, ranges=ranges)
    for value in drawn.values():
        assert low <= value.min()
        assert value.max() <= low + more


def test_both_ends_of_a_range_of_integers_are_drawn() -> None:
    drawn = draw_inputs([IDS], count=50, seed=0, ranges={"ids": (3, 5)})
    assert set(np.unique(drawn["ids"])) == {3, 4, 5}


@pytest.mark.parametrize(
    "changes",
    [
        {"count": 0},
        {"seed": -1},
        {"ranges": {"ids": (0.2, 0.8)}},
        {"ranges": {"ids": (0, 2.0**31)}},
        {"count": 10**12},  # would ask for 32 terabytes
    ],
)
def test_impossible_drawings(changes: dict[str, Any]) -> None:
    with pytest.raises(VerifyError):
        draw_inputs([IDS], **{"count": 2, "seed": 0, "ranges": {}, **changes})


@pytest.mark.parametrize(
    ("kind", "bounds", "most"),
    [
        (np.float32, (-1e39, 1.0), "3.402823466e+38"),
        (np.float16, (0.0, 1e5), "65504"),
        (np.float64, (-1e308, 1e308), "8.98846567"),
    ],
)
def test_a_range_that_no_number_of_the_type_reaches(
    kind: type[Any], bounds: tuple[float, float], most: str
) -> None:
    image = Input(name="x", shape=(2,), dtype=np.dtype(kind))
    with pytest.raises(VerifyError, match="is beyond what") as found:
        draw_inputs([image], count=2, seed=0, ranges={"x": bounds})
    assert most in found.value.problem


def test_ranges() -> None:
    assert parse_ranges(["a=0:1", "b=c=-2:3.5"]) == {"a": (0.0, 1.0), "b=c": (-2.0, 3.5)}


@pytest.mark.parametrize(
    "pairs", [["a"], ["a=1"], ["a=2:1"], ["=0:1"], ["a=0:inf"], ["a=x:1"], ["a=0:1", "a=0:2"]]
)
def test_wrong_ranges(pairs: list[str]) -> None:
    with pytest.raises(VerifyError, match="--range"):
        parse_ranges(pairs)


def inputs_file(folder: Path, **arrays: Any) -> Path:
    path = folder / "inputs.npz"
    np.savez(path, **arrays)
    return path


def test_given_inputs_are_one_case_or_several(tmp_path: Path) -> None:
    ids = np.array([[5, 6, 7, 8]])
    found = read_inputs(inputs_file(tmp_path, ids=ids), [IDS])
    assert found["ids"].tolist() == [ids.tolist()]
    several = np.arange(12).reshape(3, 1, 4)
    found = read_inputs(inputs_file(tmp_path, ids=several.astype(np.int32)), [IDS])
    assert found["ids"].dtype == np.int64
    assert np.array_equal(found["ids"], several)


def floats(value: float = 0.0) -> np.ndarray:
    return np.full((1, 3, 2, 2), value, dtype=np.float32)


FLOATS = Input(name="image", shape=(1, 3, 2, 2), dtype=np.dtype(np.float32))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"image": floats()}, "nothing for the input ids"),
        ({"ids": [[1, 2, 3, 4]], "image": floats(), "more": [1]}, "more names no input"),
        ({"ids": [[1, 2, 3]], "image": floats()}, r"ids is \[1, 3\]"),
        ({"ids": np.zeros((0, 1, 4), np.int64), "image": floats()}, r"ids is \[0, 1, 4\]"),
        ({"ids": [[1.5, 2, 3, 4]], "image": floats()}, "ids is float64"),
        ({"ids": [[1, 2, 3, 4]], "image": floats(np.nan)}, "NaN"),
        ({"ids": np.ones((2, 1, 4), np.int64), "image": floats()}, "different numbers of cases"),
    ],
)
def test_inputs_that_do_not_fit_are_told(
    tmp_path: Path, arrays: dict[str, Any], words: str
) -> None:
    with pytest.raises(ProofError, match=words):
        read_inputs(inputs_file(tmp_path, **arrays), [IDS, FLOATS])


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 torn"])
def test_a_file_that_is_no_npz_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "inputs.npz"
    path.write_bytes(content)
    with pytest.raises(ProofError, match="cannot be read"):
        read_inputs(path, [IDS])
    with pytest.raises(ProofError, match="no file"):
        read_inputs(tmp_path / "other.npz", [IDS])


def test_a_single_array_is_no_file_of_inputs(tmp_path: Path) -> None:
    path = tmp_path / "inputs.npz"
    with path.open("wb") as stream:
        np.save(stream, np.ones(3))
    with pytest.raises(ProofError, match="cannot be read"):
        read_inputs(path, [IDS])


def test_what_is_written_for_the_target_is_what_it_reads(tmp_path: Path) -> None:
    half = np.arange(6, dtype=np.float16).reshape(3, 2)
    write_feeds(tmp_path / "f.npz", {"a/b:0": half, "file": np.array([1, 2, 3])})
    rows = [feeds for feeds, mask in _given(tmp_path / "f.npz", None) if mask is None]
    assert [row["file"] for row in rows] == [1, 2, 3]
    assert rows[1]["a/b:0"].tolist() == [2.0, 3.0]
    assert rows[1]["a/b:0"].dtype == np.float32  # as the widened graph takes it
    assert [feeds["file"] for feeds, _ in _given(tmp_path / "f.npz", [2])] == [3]


def saved(folder: Path) -> str:
    path = folder / "net.onnx"
    onnx.save(two_inputs(), str(path))
    return str(path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "missing.onnx"], "no model"),
        (["--model", "{net}", "--texts", "3"], "--texts has no effect"),
        (["--model", "{net}", "--buckets", "32"], "--buckets has no effect"),
        (["--model", "{net}", "--look-up", "inside"], "--look-up has no effect"),
        (["--fix", "batch=1"], "--fix has no effect"),
        (["--seed", "1"], "--seed has no effect"),
        (["--model", "{net}", "--cases", "many"], "--cases"),
        (["--model", "{net}", "--policy", "none-such"], "none-such"),
    ],
)
def test_wrong_usage_is_told_in_a_sentence(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = saved(tmp_path)
    given_ = [word.format(net=net) for word in words]
    assert main(["conversion", *given_, "--work", str(tmp_path / "work")]) == 3
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told


def test_the_help_shows_how_a_model_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conversion", "--help"]) == 0
    shown = capsys.readouterr().out
    for word in ("--model", ".onnx", "--fix AXIS=N", "--inputs FILE.npz", "exit codes", "--device"):
        assert word in shown
    assert json.dumps(shown)
