"""Generated cases, node tests from an archive, and their form on disk."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from verify.differential.drive import all_cases
from verify.differential.families import generated_cases
from verify.differential.families.data import make, specials
from verify.differential.nodetests import read_node_tests
from verify.differential.store import Case, read_cases, write_cases
from verify.differential.values import Absent, Items, Tensor, numbers
from verify.errors import VerifyError

OPERATORS = """
    Min Max Clip Relu Exp Log Tanh Erf Sigmoid Softmax LogSoftmax LayerNormalization ReduceSum
    ReduceMean ReduceMax ReduceMin ReduceProd ReduceLogSumExp ArgMax ArgMin TopK Pow Div Mod Round
    Floor Sqrt Where Equal Less IsNaN IsInf Cast MatMul Gemm Conv Resize CumSum Gelu
    ScatterElements LSTM Attention
"""


@pytest.fixture(scope="module")
def generated() -> tuple[Case, ...]:
    return tuple(generated_cases())


def test_two_generations_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert write_cases(all_cases(None), tmp_path / name) > 1000
    for file in ("index.json", "data.bin"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_ids_are_unique_and_say_what_the_case_is(generated: tuple[Case, ...]) -> None:
    assert len({case.id for case in generated}) == len(generated)
    assert all(case.id.count("/") >= 1 and " " not in case.id for case in generated)


def test_the_operators_that_can_part_are_covered(generated: tuple[Case, ...]) -> None:
    operators: Counter[str] = Counter()
    for case in generated:
        model = onnx.load_model_from_string(case.model)
        operators.update({item.op_type for item in model.graph.node})
    for op in OPERATORS.split():
        assert operators[op] >= 3, op
    assert operators["Min"] >= 100
    assert operators["Max"] >= 100


def test_min_meets_nan_on_either_side_as_scalar_and_as_span(
    generated: tuple[Case, ...],
) -> None:
    found = set()
    for case in generated:
        if case.id.startswith("binary/Min/float32/") and len(case.inputs) == 2:
            shapes = [value.shape for _, value in case.inputs if isinstance(value, Tensor)]
            has_nan = [
                bool(np.isnan(numbers(value)).any())
                for _, value in case.inputs
                if isinstance(value, Tensor)
            ]
            found.add((shapes[0] == (), shapes[1] == (), *has_nan))
    for left_scalar in (False, True):
        for right_scalar in (False, True):
            for nans in ((True, False), (False, True), (True, True)):
                assert (left_scalar, right_scalar, *nans) in found


def test_only_8_bit_floats_beyond_an_integer_are_undefined(
    generated: tuple[Case, ...],
) -> None:
    undefined = [case for case in generated if case.undefined]
    assert undefined
    for case in undefined:
        assert case.id.startswith("cast/float8")
        assert case.id.endswith("/beyond")
        value = case.inputs[0][1]
        assert isinstance(value, Tensor)
        target = np.dtype(case.id.split("-")[1].removesuffix("/beyond"))
        found = numbers(value)
        fits = np.isfinite(found)
        whole = [int(item) for item in np.trunc(found[fits])]
        assert not any(np.iinfo(target).min <= item <= np.iinfo(target).max for item in whole)


def test_every_kind_of_input_occurs(generated: tuple[Case, ...]) -> None:
    floats = [
        numbers(value).ravel()
        for case in generated
        for _, value in case.inputs
        if isinstance(value, Tensor) and value.type.name == "float"
    ]
    assert any(array.size == 0 for array in floats)
    everything = np.concatenate(floats)
    tiny = np.finfo(np.float32).tiny
    assert np.isnan(everything).any()
    assert {np.inf, -np.inf} <= set(everything[np.isinf(everything)].tolist())
    zeros = everything[everything == 0]
    assert np.signbit(zeros).any()
    assert not np.signbit(zeros).all()
    assert ((np.abs(everything) > 0) & (np.abs(everything) < tiny)).any()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint64])
def test_specials_hold_the_ends_of_a_type(dtype: type) -> None:
    values = specials(dtype)
    assert values.dtype == dtype
    if np.issubdtype(dtype, np.floating):
        assert np.isnan(values).any()
        assert np.finfo(dtype).max in values
        assert np.finfo(dtype).smallest_subnormal in values
    else:
        assert {np.iinfo(dtype).min, np.iinfo(dtype).max} <= set(values.tolist())


def test_inputs_follow_their_name() -> None:
    first = make("a", np.float32, (33,), "nan")
    np.testing.assert_array_equal(first, make("a", np.float32, (33,), "nan"))
    assert not np.array_equal(first, make("b", np.float32, (33,), "nan"), equal_nan=True)
    assert np.isnan(first[0])
    assert np.isnan(first[-1])


def test_two_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    same = Case(id="a/b", group="generated", model=b"", inputs=())
    with pytest.raises(VerifyError, match="a/b"):
        write_cases([same, same], tmp_path)


def _archive(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(f"onnx-1.17.0/onnx/backend/test/data/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def _model(op: str, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]) -> bytes:
    made = helper.make_node(op, [item.name for item in inputs], [item.name for item in outputs])
    graph = helper.make_graph([made], "g", inputs, outputs)
    return helper.make_model(graph).SerializeToString()


def _info(name: str, element: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, None)


def test_node_tests_are_read_with_every_kind_of_value(tmp_path: Path) -> None:
    x = numpy_helper.from_array(np.array([-1.0, np.nan], np.float32))
    sequence = onnx.SequenceProto(elem_type=onnx.SequenceProto.TENSOR, tensor_values=[x, x])
    nothing = onnx.OptionalProto(elem_type=onnx.OptionalProto.UNDEFINED)
    seq_type = helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, None))
    opt_type = helper.make_optional_type_proto(helper.make_tensor_type_proto(1, None))
    nibbles = onnx.TensorProto(data_type=22, dims=[3], int32_data=[0x21, 0x0F])
    brain = onnx.TensorProto(data_type=4, dims=[1], raw_data=b"\x80\x3f")
    archive = _archive(
        tmp_path / "onnx.tar.gz",
        {
            "node/test_abs/model.onnx": _model("Abs", [_info("x", 1)], [_info("y", 1)]),
            "node/test_abs/test_data_set_0/input_0.pb": x.SerializeToString(),
            "node/test_abs/test_data_set_0/output_0.pb": x.SerializeToString(),
            "node/test_abs/test_data_set_1/input_0.pb": x.SerializeToString(),
            "node/test_abs/test_data_set_1/output_0.pb": x.SerializeToString(),
            "node/test_seq/model.onnx": _model(
                "Identity",
                [helper.make_value_info("s", seq_type), helper.make_value_info("o", opt_type)],
                [_info("y", 16)],
            ),
            "node/test_seq/test_data_set_0/input_0.pb": sequence.SerializeToString(),
            "node/test_seq/test_data_set_0/input_1.pb": nothing.SerializeToString(),
            "node/test_seq/test_data_set_0/output_0.pb": brain.SerializeToString(),
            "simple/test_nibbles/model.onnx": _model("Cast", [_info("x", 22)], [_info("y", 1)]),
            "simple/test_nibbles/data.json": b'{"rtol": 0.5}',
            "simple/test_nibbles/test_data_set_0/input_0.pb": nibbles.SerializeToString(),
            "simple/test_nibbles/test_data_set_0/output_0.pb": x.SerializeToString(),
            "light/light_net.onnx": b"not read",
            "node/README": b"not read",
        },
    )
    write_cases(read_node_tests(archive), tmp_path / "cases")
    cases = {case.id: case for case in read_cases(tmp_path / "cases")}
    assert list(cases) == [
        "node/test_abs",
        "node/test_abs/1",
        "node/test_seq",
        "simple/test_nibbles",
    ]
    first = cases["node/test_abs"]
    assert (first.group, first.rtol, first.atol) == ("node", 1e-3, 1e-7)
    assert first.expected is not None
    np.testing.assert_array_equal(
        numbers(first.expected[0]),
        np.array([-1.0, np.nan], np.float32),
    )
    seq = cases["node/test_seq"]
    assert isinstance(seq.inputs[0][1], Items)
    assert len(seq.inputs[0][1].items) == 2
    assert seq.inputs[1][1] == Absent()
    # Written as uint16 by a library that had no bfloat16; the model says what it is.
    assert seq.expected == (Tensor(element=16, shape=(1,), data=b"\x80\x3f"),)
    bound = onnx.load_model_from_string(cases["simple/test_nibbles"].model)
    assert cases["simple/test_nibbles"].inputs == ()
    assert cases["simple/test_nibbles"].rtol == 0.5
    assert [item.name for item in bound.graph.initializer] == ["x"]
    assert bound.graph.initializer[0].raw_data == bytes([0x21, 0x0F])


def test_an_archive_without_test_data_is_refused(tmp_path: Path) -> None:
    empty = _archive(tmp_path / "empty.tar.gz", {})
    with pytest.raises(VerifyError, match="holds no onnx/backend/test/data"):
        list(read_node_tests(empty))
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes(b"no archive")
    with pytest.raises(VerifyError, match="cannot be read"):
        list(read_node_tests(broken))
    with pytest.raises(VerifyError, match="cannot be read"):
        list(read_node_tests(tmp_path / "missing.tar.gz"))


def test_a_folder_without_cases_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VerifyError, match="holds no differential cases"):
        read_cases(tmp_path)
