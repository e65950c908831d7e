"""Axes by name, by place and by expression; hints that a shell takes; what no model may cause."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.odd_models import MODELS, constant, model, node, value, write, write_external
from verify import cli
from verify.coverage import fixed_shapes
from verify.coverage.advice import MENDED_BY, advise, cure, node_faults, patches_of
from verify.coverage.axes import computed, fix_words, symbols, to_give
from verify.coverage.fixed_shapes import fix_axes, load_whole, parse_fixes, set_constants
from verify.coverage.nodes import ModelFileError, expand, facts
from verify.coverage.rewrite import RULES, rewritten
from verify.encoder.number_types import FLOAT, FLOAT16, float_types, widened
from verify.errors import VerifyError


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("s1 + 1", 8),
        ("2*s1 + s0", 17),
        ("floor(s1/2)", 3),
        ("(s1//2) + 1", 4),
        ("s0**2", 9),
        ("Max(1, s0 - s1)", 1),
        ("ceiling(s1/2)", 4),
        ("Mod(s1, 4)", 3),
        ("s1/2", None),
        ("s0 - s1", None),
        ("other + 1", None),
        ("s0**s1**s1", None),
        ("batch size", None),
        ("-1", None),
        ("__import__('os')", None),
        ("s0 +", None),
        ("9" * 9000, None),
        ("(" * 300, None),
    ],
)
def test_an_expression_of_axes(name: str, size: int | None) -> None:
    assert computed(name, {"s0": 3, "s1": 7}) == size


def test_only_what_cannot_be_computed_must_be_given() -> None:
    axes = ["b", "t - 1", "t", "n-x", "2*q"]
    assert to_give(axes, axes) == ["b", "t", "n-x", "2*q"]
    assert symbols("floor(s0/2)") == {"s0"}
    assert to_give(["t - 9"], ["t", "t - 9"]) == ["t - 9"]  # t is given, and too small


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=3))
def test_a_hint_is_read_back_as_it_was_meant(names: list[str]) -> None:
    words = shlex.split(fix_words(names).replace("=N", "=7"))
    options = cli.Parser()
    fixed_shapes.add_fix(options)
    pairs = [name.replace("=N", "=7") + "=7" for name in names]
    assert options.parse_args(words).fix == pairs


@pytest.mark.parametrize("name", ["minus_one", "zero", "no_shape"])
def test_an_axis_that_is_not_positive_is_dynamic(name: str) -> None:
    assert facts(MODELS[name]()).dynamic_axes == ("x:0",)


def test_a_place_wins_over_a_name_and_both_are_checked() -> None:
    nodes = [node("Relu", ["x"], ["y"], name="relu")]
    twice = model(nodes, [value("x", ["?", "?"])], [value("y", ["?", "?"])])
    fixed = fix_axes(twice, {"?": 4, "x:1": 6})
    assert [dim.dim_value for dim in fixed.graph.input[0].type.tensor_type.shape.dim] == [4, 6]
    assert [dim.dim_value for dim in fixed.graph.output[0].type.tensor_type.shape.dim] == [4, 6]
    for wrong in ({"x:2": 1, "?": 2}, {"y:0": 1, "?": 2}, {"none": 1, "?": 2}):
        with pytest.raises(VerifyError, match="has no dynamic axis"):
            fix_axes(twice, wrong)


@pytest.mark.parametrize("pair", ["b=-1", "b=²", "b=9999999999", "b=1.5", "=3", "b"])
def test_a_size_is_a_whole_number_that_an_axis_can_have(pair: str) -> None:
    with pytest.raises(VerifyError, match="not of the form AXIS=N"):
        parse_fixes([pair])


def test_a_size_of_nothing_is_told_as_such() -> None:
    with pytest.raises(VerifyError, match="--fix past=0 leaves its tensor without elem") as caught:
        parse_fixes(["past=0"])
    assert "a later step" in caught.value.hint


@pytest.mark.parametrize(
    ("op", "reason", "axes", "wanted"),
    [
        ("TreeEnsembleRegressor", "", (), "use the CPU provider for it"),
        ("ZipMap", "", ("N",), "zipmap=False"),
        ("RandomNormalLike", "", (), "make them an input of the model"),
        ("NonMaxSuppression", "", (), "compute it afterwards"),
        ("SplitToSequence", "", (), "without lists"),
        ("StringNormalizer", "", (), "do that before the model"),
        ("Loop", "", (), "The 3 nodes inside stay on the CPU: export the model with the loop unro"),
        ("If", "", (), "where an input decides it"),
        ("BatchNormalization", "may be in training mode, please", (), "model.eval()"),
        ("Gemm", "C of Gemm must be a constant initializer", (), 'disabled_optimizers=["MatMulAdd'),
        ("Relu", "set to only allow static input shapes. Input has", (), "depends on the data"),
        ("Relu", "set to only allow static input shapes. Input has", ("b",), "--fix b=N"),
        ("Relu", "shapes with rank greater than 5", (), "Core ML holds five axes at most"),
        ("Concat", "shapes with dimension values of 0. Input:e", (), "has no elements"),
        ("Tanh", "Input [f] of Node [t] type [Tanh] has no shape", (), "put a Reshape"),
        ("Gelu", "Geluis only supported for opset [6, 21]", (), "of ONNX's opsets 6 to 21"),
        ("MatMul", "[MatMul] Input type: [11] is not", (), "export the model in float32"),
        ("Cast", "[Cast] Input type: [16] is not", (), "export the model in float32"),
        ("Cast", "[Cast] Input type: [2] is not", (), "uint8: at the graph's entry it stays"),
        ("Reshape", "[Reshape] Input type: [9] is not", (), "bool: at the graph's entry it stays"),
        ("ConstantOfShape", "", ("a",), "--fix a=N"),
        ("Size", "", ("a",), "write ReduceProd of a Shape"),
        ("Neg", "[Neg] Input type: [7] is not", (), "int64: at the graph's entry"),
    ],
)
def test_an_advice_is_one_that_can_be_followed(
    op: str, reason: str, axes: tuple[str, ...], wanted: str
) -> None:
    found = advise(op, reason, shapes=[], axes=axes, model_format="MLProgram", inside=3)
    assert wanted in found


def test_an_advice_names_every_axis_that_the_command_wants() -> None:
    axes = ("batch size", "-1", "s", "s + 1")
    found = advise("Softmax", "odd", shapes=[("s", 4)], axes=axes, model_format="MLProgram")
    assert "dynamic axis `s`" in found
    assert "--fix 'batch size=N' --fix=-1=N --fix s=N`" in found


def test_cures_say_both_numbers() -> None:
    said = "Unsupported model IR version: 12, max supported IR version: 9"
    assert "model.ir_version = 9" in cure(said)
    assert cure("something else") == ""
    for failure, wanted in (
        ("Could not find an implementation for Relu(1) node", "kernels begin with opset 7"),
        ("Could not find an implementation for Relu(14) node", "export the model in float32"),
        ("Exception during initialization: narrowing_error", "give it a smaller size"),
        ("Exception during initialization: std::bad_alloc", "not enough memory for the tensors"),
        ("cannot be reshaped to the requested shape. Input shape:{1,8}", "A node does not fit"),
        ("Invalid tensor data type 77.", "export it in float32"),
        ("Missing model IR version.", "model.ir_version = 8"),
        ("This is an invalid model. Error: two nodes with same node name (n).", "are called n: gi"),
        ("Deserialize tensor w failed.tensorprotoutils.cc:1077", "The file that holds w is not"),
        ("This is an invalid model. No Op registered for Gelu with domain_version of 17",
         "Opset 17, which the model says it is of, has no Gelu"),
        ("Op registered for Upsample is deprecated in domain_version of 11", "Upsample left ONNX"),
        ("MLDataType for: tensor(complex64) is not currently", "has no tensor(complex64)"),
        ("Failed to construct locale with name:en_US.UTF-8:lo", "the locale en_US.UTF-8"),
        ("Invalid model. Node input 'a' is not a graph input", "is no valid ONNX"),
    ):  # fmt: skip
        assert wanted in cure(failure)


def test_known_faults_are_about_what_is_there() -> None:
    assert set(node_faults(MODELS["power_of_two"]())) == {"Pow"}
    assert set(node_faults(MODELS["transposed"]())) == {"ConvTranspose"}
    assert node_faults(MODELS["good"]()) == {}
    explicit = MODELS["transposed"]()
    explicit.graph.node[1].attribute.append(onnx.helper.make_attribute("auto_pad", "NOTSET"))
    assert set(node_faults(explicit)) == {"ConvTranspose"}
    assert rewritten(explicit, "ConvTranspose")[1] == 1
    explicit.graph.node[1].attribute[-1].s = b"SAME_UPPER"
    assert node_faults(explicit) == {}
    assert rewritten(explicit, "ConvTranspose")[1] == 0
    inside, vector = MODELS["power_of_two"](), MODELS["power_of_two"]()
    inside.graph.node.insert(0, node("Constant", [], ["two"], value=inside.graph.initializer.pop()))
    vector.graph.initializer[0].CopyFrom(constant(np.full((1, 8), 2, np.float32), "two"))
    assert set(node_faults(inside)) == set(node_faults(vector)) == {"Pow"}
    vector.graph.initializer[0].raw_data = b"cut"
    assert node_faults(vector) == {}


@pytest.mark.parametrize(
    ("ends", "axes", "faulty"),
    [
        ({"start": 0, "end": 2}, ["a", 2], True),
        ({"start": 0, "end": 2**63 - 1}, ["a", 2], True),
        ({"start": 2}, ["a", 2], True),
        ({"end": -3}, ["a", 2], True),
        ({"end": 1}, ["a", 2], False),
        ({"end": -1}, ["a", 2], False),
        ({"start": 1}, ["a", 2], False),
        ({}, ["a", 2], False),
        ({"end": 2}, [1, 2], False),  # folded before anybody is asked
        ({"end": 2}, None, True),
        ({}, None, False),
    ],
)
def test_a_shape_is_a_fault_where_its_ends_are_no_axes(
    ends: dict[str, int], axes: list[Any] | None, faulty: bool
) -> None:
    made = model([node("Shape", ["x"], ["y"], **ends)], [value("x", axes)], [value("y", [None])])
    found = node_faults(made, shapes=facts(made).values)
    assert set(found) == ({"Shape"} if faulty else set())


def test_only_nodes_of_onnx_have_its_faults_and_a_node_may_have_no_inputs() -> None:
    nodes = [node("Reciprocal", ["x"], ["a"], domain="my.library"), node("Pow", [], ["b"])]
    nodes += [node("Shape", [], ["c"], end=1)]
    made = model(nodes, [value("x", [1])], [value("a", [1])], domain="my.library")
    assert set(node_faults(made)) <= {"Shape"}


def test_a_fault_that_a_patch_mends_is_said_of_wheels_without_it() -> None:
    without, rest = MODELS["transposed"](), MODELS["power_of_two"]()
    assert "without our patch" in node_faults(without)["ConvTranspose"]
    patch = MENDED_BY["ConvTranspose"]
    manifest = {
        "wheel": {"file": "a.whl"},
        "patches": [{"file": f"onnxruntime-1.21.0/0006-{patch}.patch"}],
    }
    assert patches_of(manifest, "a.whl") == {patch}
    assert node_faults(without, patches_of(manifest, "a.whl")) == {}
    for other in (patches_of(manifest, "b.whl"), patches_of(None, "a.whl")):
        assert set(node_faults(without, other)) == {"ConvTranspose"}
    assert set(node_faults(rest, patches_of(manifest, "a.whl"))) == {"Pow"}


def test_files_in_capitals_and_lost_weights(tmp_path: Path) -> None:
    capitals = write("good", tmp_path, "A.ONNX")
    assert expand([tmp_path]) == [capitals]
    with pytest.raises(ModelFileError, match=r"keeps weights in weights\.bin"):
        load_whole(write_external(tmp_path, lost=True))
    for key, text in (("location", ""), ("offset", "many"), ("length", "-4")):
        path = write_external(tmp_path)
        made = onnx.load(str(path), load_external_data=False)
        entry = next(e for e in made.graph.initializer[0].external_data if e.key == key)
        entry.value = text
        path.write_bytes(made.SerializeToString())
        with pytest.raises(ModelFileError, match="does not say where its weights are"):
            load_whole(path)


def test_a_model_over_the_limit_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_external(tmp_path)
    monkeypatch.setattr(fixed_shapes, "LARGEST_FILE", 200)
    with pytest.raises(ModelFileError, match="GB with its weights") as caught:
        load_whole(path)
    assert "half precision" in caught.value.hint
    made = onnx.load(str(path), load_external_data=False)
    data = made.graph.initializer[0].external_data
    data.remove(next(entry for entry in data if entry.key == "length"))
    path.write_bytes(made.SerializeToString())
    with pytest.raises(ModelFileError, match="GB with its weights"):
        load_whole(path)


def test_types_inside_of_nodes_are_widened_too() -> None:
    wide = widened(MODELS["half_branches"]())
    assert float_types(wide) == {FLOAT}
    assert FLOAT16 in float_types(MODELS["half_branches"]())
    (then,) = (entry.g for entry in wide.graph.node[1].attribute if entry.name == "then_branch")
    assert then.initializer[0].data_type == FLOAT


def test_types_inside_of_functions_and_sparse_weights_are_widened_too() -> None:
    half = MODELS["half_function"]()
    assert float_types(half) == {FLOAT16}
    wide = widened(half)
    assert float_types(wide) == {FLOAT}
    assert wide.functions[0].node[0].attribute[0].t.data_type == FLOAT
    assert wide.graph.sparse_initializer[0].values.data_type == FLOAT


def test_an_input_that_is_set_is_a_constant() -> None:
    made = set_constants(MODELS["scalar_int64"](), ["s=16000"])
    assert [item.name for item in made.graph.input] == ["x"]
    assert onnx.numpy_helper.to_array(made.graph.initializer[0]) == 16000
    for wrong in ("s=1.5", "s=", "t=1", "s", "s=99999999999999999999"):
        with pytest.raises(VerifyError):
            set_constants(MODELS["scalar_int64"](), [wrong])


@pytest.mark.parametrize("opset", [7, 9, 10, 11, 13, 17, 18, 21])
@pytest.mark.parametrize("op", sorted(RULES))
def test_a_rewrite_computes_the_same(op: str, opset: int) -> None:
    import numpy as np
    import onnxruntime

    since = {"HardSwish": 14}.get(op, 1)
    if opset < since:
        opset = since
    shape = [1, 3, 4, 4]
    inputs, attributes, constants = ["x"], {}, []
    if op in ("Min", "Mean", "Sum"):
        inputs = ["x", "z", "x"]
    if op.startswith("Reduce"):
        attributes = {"axes": [1, -1], "keepdims": 0}
        if opset >= 18:
            constants = [onnx.numpy_helper.from_array(np.asarray(attributes.pop("axes")), "axes")]
            inputs.append("axes")
        elif opset < 11:
            attributes["axes"] = [1, 3]
    if op == "ConvTranspose":
        weight = np.linspace(-1, 1, 3 * 2 * 2 * 2, dtype=np.float32).reshape(3, 2, 2, 2)
        constants, inputs = [onnx.numpy_helper.from_array(weight, "w")], ["x", "w"]
    before = model(
        [node(op, inputs, ["y"], name="it", **attributes)],
        [value("x", shape), *([value("z", shape)] if "z" in inputs else [])],
        [value("y", None)],
        constants,
        opset=opset,
    )
    after, count = rewritten(before, op)
    assert count == 1
    assert [item.op_type for item in after.graph.node] != [op] or op == "ConvTranspose"
    random = np.random.default_rng(1)
    feeds = {
        name: random.standard_normal(shape).astype(np.float32) + 0.01
        for name in ("x", "z")
        if name in inputs
    }
    one, two = (
        onnxruntime.InferenceSession(
            made.SerializeToString(), providers=["CPUExecutionProvider"]
        ).run(None, feeds)[0]
        for made in (before, after)
    )
    assert np.allclose(one, two, rtol=1e-6, atol=1e-6)


def test_what_no_module_foresaw_is_exit_3_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in cli.COMMANDS:
        for error in (ValueError("negative dimensions"), RecursionError(), MemoryError()):

            def fails(*_: object, error: Exception = error) -> int:
                raise error

            failing = replace(cli.command(name), run=fails)
            monkeypatch.setattr(cli, "command", lambda _, found=failing: found)
            monkeypatch.setattr(cli, "parse", lambda argv, n=name: argparse.Namespace(command=n))
            assert cli.main([name]) == 3
            said = capsys.readouterr().err
            assert type(error).__name__ in said
            assert "Traceback" not in said
            assert "fault of ortmill" in said
