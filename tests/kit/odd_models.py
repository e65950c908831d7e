"""Small models as exporters and converters really write them, each with one oddity.

:func:`write` writes one by its name; what is odd about it is the name of its function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
node = helper.make_node


def value(name: str, shape: Sequence[Any] | None, kind: int = FLOAT) -> onnx.ValueInfoProto:
    """A value whose axes may be -1 or 0, as no checker would write them."""
    made = helper.make_tensor_value_info(name, kind, None if shape is None else [None] * len(shape))
    for dim, size in zip(made.type.tensor_type.shape.dim, shape or (), strict=True):
        if isinstance(size, str):
            dim.dim_param = size
        elif size is not None:
            dim.dim_value = size
    return made


def constant(array: Any, name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(array), name)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Sequence[onnx.TensorProto] = (),
    *,
    opset: int = 17,
    ir: int = 8,
    domain: str = "",
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "odd", inputs, outputs, constants)
    sets = [helper.make_opsetid("", opset)]
    sets += [helper.make_opsetid(domain, 1)] if domain else []
    return helper.make_model(graph, opset_imports=sets, ir_version=ir)


WEIGHT = (np.arange(32, dtype=np.float32).reshape(8, 4) - 13) / 20


def dense(batch: Any, *, shape: bool = True, **versions: Any) -> onnx.ModelProto:
    """A matrix product and a Relu on ``[batch, 8]``."""
    return model(
        [node("MatMul", ["x", "w"], ["m"], name="mm"), node("Relu", ["m"], ["y"], name="relu")],
        [value("x", [batch, 8] if shape else None)],
        [value("y", [batch, 4] if shape else None)],
        [constant(WEIGHT, "w")],
        **versions,
    )


def rank_unknown() -> onnx.ModelProto:
    nodes = [node("Relu", ["x"], ["r"], name="relu")]
    nodes += [node("Mul", ["r", "r"], ["m"], name="mul"), node("Squeeze", ["m"], ["y"], name="sq")]
    return model(nodes, [value("x", ["rows", "columns", 4])], [value("y", None)])


def half_taken() -> onnx.ModelProto:
    nodes = [node("Relu", ["x"], ["r"], name="relu"), node("Sin", ["r"], ["s"], name="sin")]
    nodes += [node("Cos", ["s"], ["y"], name="cos")]
    return model(nodes, [value("x", [1, 8])], [value("y", [1, 8])])


def fused() -> onnx.ModelProto:
    nodes = [node("Relu", ["x"], ["r"], name="relu")]
    nodes += [node("FastGelu", ["r"], ["y"], name="gelu", domain="com.microsoft")]
    shapes = [value("x", ["batch size", 8])], [value("y", ["batch size", 8])]
    return model(nodes, *shapes, domain="com.microsoft")


def large_mean() -> onnx.ModelProto:
    nodes = [node("ReduceMean", ["x"], ["m"], name="mean", axes=[1], keepdims=1)]
    nodes += [node("Mul", ["m", "m"], ["y"], name="square")]
    return model(nodes, [value("x", [1, 5000])], [value("y", [1, 1])])


def large_norm() -> onnx.ModelProto:
    """Return a layer norm whose squares leave half's range for inputs of some hundreds."""
    ones = constant(np.ones(64, np.float32), "gain")
    nodes = [node("LayerNormalization", ["x", "gain"], ["y"], name="norm")]
    return model(nodes, [value("x", [1, 64])], [value("y", [1, 64])], [ones])


def scalar(kind: int = FLOAT) -> onnx.ModelProto:
    if kind == FLOAT:
        nodes = [node("Mul", ["x", "s"], ["y"], name="mul")]
    else:
        nodes = [node("Cast", ["s"], ["f"], name="cast", to=FLOAT)]
        nodes += [node("Mul", ["x", "f"], ["y"], name="mul")]
    return model(nodes, [value("x", [2, 4]), value("s", [], kind)], [value("y", [2, 4])])


def no_upper_bound() -> onnx.ModelProto:
    nodes = [node("Clip", ["x", "low"], ["c"], name="clip"), node("Tanh", ["c"], ["y"], name="t")]
    low = constant(np.float32(1e-6), "low")
    return model(nodes, [value("x", [2, 8])], [value("y", [2, 8])], [low])


def small_sigmoid() -> onnx.ModelProto:
    nodes = [node("Sub", ["x", "b"], ["d"], name="sub"), node("Sigmoid", ["d"], ["y"], name="sig")]
    return model(
        nodes, [value("x", [1, 96])], [value("y", [1, 96])], [constant(np.float32([13] * 96), "b")]
    )


def mask() -> onnx.ModelProto:
    """Attention scores, minus infinity where the mask is 0: a row without a 1 is NaN."""
    nodes = [node("Equal", ["mask", "zero"], ["off"], name="off")]
    nodes += [node("Where", ["off", "inf", "x"], ["w"], name="where")]
    nodes += [node("Softmax", ["w"], ["y"], name="softmax", axis=-1)]
    constants = [constant(np.int64(0), "zero"), constant(np.float32(-np.inf), "inf")]
    inputs = [value("x", [1, 2]), value("mask", [1, 2], TensorProto.INT64)]
    return model(nodes, inputs, [value("y", [1, 2])], constants)


def transposed() -> onnx.ModelProto:
    nodes = [node("Relu", ["x"], ["r"], name="relu")]
    nodes += [node("ConvTranspose", ["r", "w"], ["y"], name="up", kernel_shape=[2, 2])]
    weight = constant(np.ones((2, 3, 2, 2), np.float32) / 7, "w")
    return model(nodes, [value("x", [1, 2, 3, 3])], [value("y", [1, 3, 4, 4])], [weight])


def shape_to_its_end(*, end: int = 2) -> onnx.ModelProto:
    """Return a model with a Shape up to an axis; 2 is one that its input does not have."""
    nodes = [node("Shape", ["x"], ["s"], name="shape", start=0, end=end)]
    nodes += [node("Cast", ["s"], ["f"], name="cast", to=FLOAT)]
    nodes += [node("Mul", ["x", "f"], ["y"], name="mul")]
    return model(nodes, [value("x", ["a", 2])], [value("y", ["a", 2])])


def half_branches() -> onnx.ModelProto:
    one = constant(np.ones(4, np.float16), "one")
    yes = helper.make_graph(
        [node("Sub", ["m", "one"], ["t"], name="sub")], "t", [], [value("t", None, HALF)], [one]
    )
    no = helper.make_graph(
        [node("Tanh", ["m"], ["e"], name="tanh")], "e", [], [value("e", None, HALF)]
    )
    nodes = [node("MatMul", ["x", "w"], ["m"], name="mm")]
    nodes += [node("If", ["flag"], ["b"], name="if", then_branch=yes, else_branch=no)]
    nodes += [node("Relu", ["b"], ["y"], name="relu")]
    inputs = [value("x", ["n", 8], HALF), value("flag", [], TensorProto.BOOL)]
    weight = constant(WEIGHT.astype(np.float16), "w")
    return model(nodes, inputs, [value("y", ["n", 4], HALF)], [weight])


def settled_branches() -> onnx.ModelProto:
    """``half_branches`` with a condition that the file itself settles."""
    made = half_branches()
    del made.graph.input[1]
    made.graph.initializer.append(constant(np.array(True), "flag"))
    return made


def one_number(*, picked: bool = False) -> onnx.ModelProto:
    """Return a model whose result has no axis: of a number, or of one that is picked by Gather."""
    index = constant(np.array(1), "index")
    nodes = [node("Gather", ["x", "index"], ["p"], name="pick", axis=0)] if picked else []
    nodes += [node("Relu", ["p" if picked else "x"], ["r"], name="relu")]
    nodes += [node("Sigmoid", ["r"], ["y"], name="sigmoid")]
    x = value("x", [3] if picked else [])
    return model(nodes, [x], [value("y", [])], [index] if picked else [])


def expressions() -> onnx.ModelProto:
    nodes = [node("Concat", ["past", "x"], ["all"], name="cat", axis=1)]
    nodes += [node("Relu", ["all"], ["y"], name="relu")]
    return model(
        nodes,
        [value("past", ["b", "t - 1", 4]), value("x", ["b", "t", 4])],
        [value("y", ["b", "2*t - 1", 4])],
    )


def unnamed() -> onnx.ModelProto:
    return model(
        [node("MatMul", ["x", "w"], ["y"], name="mm")],
        [value("x", [None, None, 8])],
        [value("y", [None, None, None])],
        [constant(WEIGHT, "w")],
    )


def detector() -> onnx.ModelProto:
    """What mobile networks hold: HardSigmoid, HardSwish, Flatten, Neg, ReduceL2, Reciprocal."""
    nodes = [node("Conv", ["x", "w"], ["c"], name="conv")]
    nodes += [node("HardSigmoid", ["c"], ["h"], name="gate", alpha=1 / 6)]
    nodes += [node("Mul", ["c", "h"], ["d"], name="mul")]
    nodes += [node("HardSwish", ["d"], ["e"], name="swish")]
    nodes += [node("GlobalAveragePool", ["e"], ["g"], name="pool")]
    nodes += [node("Flatten", ["g"], ["f"], name="flat"), node("Neg", ["f"], ["n"], name="neg")]
    nodes += [node("ReduceL2", ["n"], ["l"], name="length", axes=[1])]
    nodes += [node("Reciprocal", ["l"], ["q"], name="inverse")]
    nodes += [node("Mul", ["n", "q"], ["y"], name="unit")]
    kernel = np.random.default_rng(3).standard_normal((4, 3, 3, 3)).astype(np.float32)
    shapes = [value("x", ["b", 3, 8, 8])], [value("y", ["b", 4])]
    return model(nodes, *shapes, [constant(kernel, "w")])


def power_of_two() -> onnx.ModelProto:
    two = constant(np.float32(2), "two")
    return model(
        [node("Pow", ["two", "x"], ["y"], name="pow")],
        [value("x", [1, 8])],
        [value("y", [1, 8])],
        [two],
    )


def own_nan() -> onnx.ModelProto:
    """The root of what may be negative, and a maximum over it that passes NaN over."""
    return model(
        [
            node("Pow", ["x", "half"], ["root"], name="root"),
            node("ReduceMax", ["root"], ["y"], name="largest", axes=[0], keepdims=0),
        ],
        [value("x", [2, 1, 1])],
        [value("y", [1, 1])],
        [constant(np.float32([0.5]), "half")],
        opset=13,
    )


def own_operator() -> onnx.ModelProto:
    nodes = [node("Sharpen", ["x"], ["y"], name="sharpen", domain="my.library")]
    shapes = [value("x", [1, 8])], [value("y", [1, 8])]
    return model(nodes, *shapes, domain="my.library")


def half_function() -> onnx.ModelProto:
    """Half precision inside of a function, and in weights that are mostly zero."""
    half = constant(np.float16(0.25), "half")
    body = [node("Constant", [], ["k"], value=half), node("Add", ["a", "k"], ["b"])]
    function = helper.make_function(
        "local", "Lift", ["a"], ["b"], body, [helper.make_opsetid("", 17)]
    )
    nodes = [node("MatMul", ["x", "w"], ["m"], name="mm")]
    nodes += [node("Lift", ["m"], ["l"], name="lift", domain="local")]
    nodes += [node("Relu", ["l"], ["y"], name="relu")]
    shapes = [value("x", ["n", 8], HALF)], [value("y", ["n", 4], HALF)]
    made = model(nodes, *shapes, domain="local")
    made.functions.append(function)
    places = constant(np.int64([3, 9]), "places")
    weights = helper.make_sparse_tensor(constant(np.float16([1, -2]), "w"), places, [8, 4])
    made.graph.sparse_initializer.append(weights)
    return made


def nothing_taken() -> onnx.ModelProto:
    nodes = [node("Sin", ["x"], ["y"], name="sin")]
    return model(nodes, [value("x", [1, 8])], [value("y", [1, 8])])


def same_for_all() -> onnx.ModelProto:
    """Return a model whose result is zero, whatever it is given."""
    zero = constant(np.float32(0), "zero")
    nodes = [
        node("Sigmoid", ["x"], ["s"], name="sigmoid"),
        node("Mul", ["s", "zero"], ["z"], name="mul"),
    ]
    nodes += [node("Relu", ["z"], ["y"], name="relu")]
    return model(nodes, [value("x", [1, 8])], [value("y", [1, 8])], [zero])


def small_table() -> onnx.ModelProto:
    """Return a look-up in a table of one row, which 1 is beyond."""
    nodes = [node("Gather", ["table", "ids"], ["g"], name="look-up")]
    nodes += [node("Relu", ["g"], ["y"], name="relu")]
    shapes = [value("ids", [1, 4], TensorProto.INT64)], [value("y", [1, 4, 4])]
    return model(nodes, *shapes, [constant(WEIGHT[-1:], "table")])


def text_beside() -> onnx.ModelProto:
    """Return a model with an input of text beside one of numbers, and a list as a result."""
    nodes = [node("Neg", ["x"], ["n"], name="neg"), node("Relu", ["n"], ["r"], name="relu")]
    nodes += [node("SplitToSequence", ["r"], ["parts"], name="split", axis=1)]
    nodes += [node("Identity", ["words"], ["same"], name="same")]
    parts = helper.make_tensor_sequence_value_info("parts", FLOAT, None)
    words = [value(name, [1], TensorProto.STRING) for name in ("words", "same")]
    return model(nodes, [value("x", [1, 8]), words[0]], [parts, words[1]])


def wide_integers() -> onnx.ModelProto:
    """Return a part of a list of 64-bit integers."""
    ends = [constant(np.int64([end]), name) for name, end in (("from", 1), ("to", 3))]
    nodes = [node("Mul", ["x", "x"], ["square"], name="square")]
    nodes += [node("Slice", ["square", "from", "to"], ["part"], name="part")]
    nodes += [node("Mul", ["part", "part"], ["y"], name="last")]
    shapes = [value("x", [4], TensorProto.INT64)], [value("y", [2], TensorProto.INT64)]
    return model(nodes, *shapes, ends)


def small_tail() -> onnx.ModelProto:
    nodes = [node("Sigmoid", ["x"], ["y"], name="sigmoid")]
    return model(nodes, [value("x", [1, 96])], [value("y", [1, 96])])


def dead(*, alone: bool = False) -> onnx.ModelProto:
    """Return a model with a result that is zero for all inputs, by itself or beside another."""
    nodes = [
        node("Sub", ["x", "far"], ["d"], name="sub"),
        node("Relu", ["d"], ["low"], name="relu"),
    ]
    nodes += [] if alone else [node("Mul", ["x", "x"], ["y"], name="mul")]
    outputs = [value(name, [1, 8]) for name in (["low"] if alone else ["low", "y"])]
    return model(nodes, [value("x", [1, 8])], outputs, [constant(np.float32(99), "far")])


def small_gelu() -> onnx.ModelProto:
    nodes = [node("Gelu", ["x"], ["y"], name="gelu")]
    return model(nodes, [value("x", [1, 96])], [value("y", [1, 96])], opset=20)


def small_root() -> onnx.ModelProto:
    nodes = [node("Sqrt", ["x"], ["y"], name="root")]
    return model(nodes, [value("x", [1, 96])], [value("y", [1, 96])])


def all_folded() -> onnx.ModelProto:
    """Return a model whose result follows from the shape of its input."""
    nodes = [node("Shape", ["x"], ["s"], name="shape")]
    nodes += [node("Cast", ["s"], ["f"], name="cast", to=FLOAT)]
    nodes += [node("Relu", ["f"], ["y"], name="relu")]
    return model(nodes, [value("x", [1, 8])], [value("y", [2])])


def spelt_alike(*, dead: bool = False) -> onnx.ModelProto:
    """Inputs, outputs, a weight, a node and a branch whose names differ in signs alone.

    With ``dead`` one output is zero for all inputs.
    """
    nodes = [node("Sub", ["a.b", "a/b"], ["o.1"], name="o/1")]
    nodes += [node("Mul", ["o.1", "a_b"], ["w.1"], name="mul")]
    nodes += [node("Add", ["w.1", "w_1"], ["o_1"], name="add")]
    branches = [
        helper.make_graph([node(op, ["o.1"], [f"{op}.1"])], op, [], [value(f"{op}.1", [1, 8])])
        for op in ("Tanh", "Neg")
    ]
    flags = {"then_branch": branches[0], "else_branch": branches[1]}
    nodes += [node("If", ["flag"], ["o/1"], name="if", **flags)]
    nodes += [node("Mul", ["o_1", "zero"], ["o:1"], name="dead")] if dead else []
    inputs = [value(name, [1, 8]) for name in ("a.b", "a/b", "a_b")]
    outputs = [value(name, [1, 8]) for name in ["o.1", "o_1", "o/1", *(["o:1"] if dead else [])]]
    constants = [constant(np.arange(8, dtype=np.float32), "w_1"), constant(np.float32(0), "zero")]
    flag = value("flag", [], TensorProto.BOOL)
    return model(nodes, [*inputs, flag], outputs, constants)


def weights_as_inputs(*, ir: int = 8) -> onnx.ModelProto:
    """Return a Gemm as old exporters wrote it (``keep_initializers_as_inputs=True``)."""
    nodes = [node("Relu", ["x"], ["r"], name="relu")]
    nodes += [node("Gemm", ["r", "w", "b"], ["y"], name="gemm")]
    inputs = [value("x", ["n", 8]), value("w", [8, 4]), value("b", [4])]
    constants = [constant(WEIGHT, "w"), constant(np.float32([1, 2, 3, 4]), "b")]
    return model(nodes, inputs, [value("y", ["n", 4])], constants, opset=9, ir=ir)


def never_runs(op: str = "ReduceSum") -> onnx.ModelProto:
    """Return a reduction over no axes, of which 1.21.0 has no kernel though its session is made."""
    nodes = [node("Relu", ["x"], ["r"], name="relu")]
    nodes += [node(op, ["r"], ["y"], name="none", noop_with_empty_axes=1)]
    return model(nodes, [value("x", [2, 8])], [value("y", [2, 8])], opset=18)


def shaped_by_an_input() -> onnx.ModelProto:
    """Return a Reshape to sizes that are an input: neither drawn ones nor zeros nor ones fit."""
    nodes = [node("Relu", ["x"], ["r"], name="relu")]
    nodes += [node("Reshape", ["r", "sizes"], ["y"], name="reshape", allowzero=1)]
    inputs = [value("x", [2, 8]), value("sizes", [2], TensorProto.INT64)]
    return model(nodes, inputs, [value("y", [None, None])])


def no_such_kernel() -> onnx.ModelProto:
    """Return a cubic Resize of all three axes, which no kernel is made for."""
    nodes = [node("Resize", ["x", "", "scales"], ["y"], name="resize", mode="cubic")]
    scales = constant(np.float32([2, 2, 2]), "scales")
    return model(nodes, [value("x", [2, 4, 4])], [value("y", [4, 8, 8])], [scales])


def cropped(**attributes: Any) -> onnx.ModelProto:
    """Return a transposed convolution as decoders have it: pads, and a row more at the end."""
    nodes = [node("Relu", ["x"], ["r"], name="relu")]
    nodes += [
        node("ConvTranspose", ["r", "w", "b"], ["y"], name="up", strides=[2, 2], **attributes)
    ]
    weight = constant((np.arange(54, dtype=np.float32).reshape(2, 3, 3, 3) - 20) / 30, "w")
    bias = constant(np.float32([1, 2, 3]), "b")
    return model(nodes, [value("x", [1, 2, 4, 5])], [value("y", [None] * 4)], [weight, bias])


def only_nan() -> onnx.ModelProto:
    """Return a model that is NaN everywhere, with an operator that has another spelling."""
    nodes = [node("Neg", ["x"], ["n"], name="neg"), node("Mul", ["n", "nan"], ["y"], name="mul")]
    nan = constant(np.float32(np.nan), "nan")
    return model(nodes, [value("x", [1, 8])], [value("y", [1, 8])], [nan])


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "rank_unknown": rank_unknown,
    "half_taken": half_taken,
    "fused": fused,
    "large_mean": large_mean,
    "large_norm": large_norm,
    "scalar": scalar,
    "scalar_int64": lambda: scalar(TensorProto.INT64),
    "scalar_bool": lambda: scalar(TensorProto.BOOL),
    "minus_one": lambda: dense(-1),
    "zero": lambda: dense(0),
    "no_shape": lambda: dense(1, shape=False),
    "dash": lambda: dense("-1"),
    "no_upper_bound": no_upper_bound,
    "small_sigmoid": small_sigmoid,
    "mask": mask,
    "ir99": lambda: dense(1, ir=99),
    "opset99": lambda: dense(1, opset=99, ir=10),
    "own_operator": own_operator,
    "own_nan": own_nan,
    "transposed": transposed,
    "shape_to_its_end": shape_to_its_end,
    "shape_of_one_axis": lambda: shape_to_its_end(end=1),
    "half_branches": half_branches,
    "one_number": one_number,
    "one_picked": lambda: one_number(picked=True),
    "settled_branches": settled_branches,
    "expressions": expressions,
    "unnamed": unnamed,
    "detector": detector,
    "power_of_two": power_of_two,
    "half_function": half_function,
    "same_for_all": same_for_all,
    "nothing_taken": nothing_taken,
    "small_table": small_table,
    "text_beside": text_beside,
    "only_nan": only_nan,
    "cropped": lambda: cropped(pads=[1, 1, 1, 1], output_padding=[1, 0]),
    "cropped_unevenly": lambda: cropped(pads=[0, 1, 2, 0]),
    "not_cropped": lambda: cropped(pads=[0, 0, 0, 0], output_padding=[1, 1]),
    "never_runs": never_runs,
    "shaped_by_an_input": shaped_by_an_input,
    "no_such_kernel": no_such_kernel,
    "weights_as_inputs": weights_as_inputs,
    "weights_as_inputs_ir3": lambda: weights_as_inputs(ir=3),
    "spelt_alike": spelt_alike,
    "spelt_alike_dead": lambda: spelt_alike(dead=True),
    "small_tail": small_tail,
    "small_gelu": small_gelu,
    "dead": dead,
    "dead_alone": lambda: dead(alone=True),
    "small_root": small_root,
    "all_folded": all_folded,
    "wide_integers": wide_integers,
    "good": lambda: dense(1),
}


def write(name: str, folder: Path, file: str = "") -> Path:
    """Write a model; return its path."""
    path = folder / (file or f"{name}.onnx")
    path.write_bytes(MODELS[name]().SerializeToString())
    return path


def write_external(folder: Path, *, lost: bool = False) -> Path:
    """Write a model whose weights are in a file beside it, or were."""
    path = folder / "external.onnx"
    onnx.save_model(
        dense(1), path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    if lost:
        (folder / "weights.bin").unlink()
    return path
