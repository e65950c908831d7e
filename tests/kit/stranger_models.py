"""Small models of further kinds that people bring; :func:`write` writes one by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.kit.odd_models import WEIGHT, constant, dense, model, never_runs, node, value


def beyond_ascii() -> onnx.ModelProto:
    """Return a model whose names hold letters of several bytes, blanks and slashes."""
    nodes = [node("Relu", ["größe é"], ["a b/c:0"], name="ein knoten/é")]
    nodes += [node("Tanh", ["a b/c:0"], ["日本"], name="")]
    return model(nodes, [value("größe é", [1, 8])], [value("日本", [1, 8])])


def names_alike() -> onnx.ModelProto:
    """Return a model whose values have the same name where only letters and digits count."""
    nodes = [node("Relu", ["x.1"], ["y.1"], name="r"), node("Tanh", ["x/1"], ["y/1"], name="t")]
    ends = [[value(f"{name}{sign}1", [1, 8]) for sign in "./"] for name in "xy"]
    return model(nodes, *ends)


def typed_input(kind: int) -> onnx.ModelProto:
    """Return a model that casts its input to single precision first."""
    nodes = [node("Cast", ["x"], ["c"], name="cast", to=TensorProto.FLOAT)]
    nodes += [node("Relu", ["c"], ["y"], name="relu")]
    return model(nodes, [value("x", [1, 8], kind)], [value("y", [1, 8])], opset=19, ir=9)


def no_kernel() -> onnx.ModelProto:
    """Return a product in bfloat16, which the CPU provider has no kernel for."""
    made = dense(1)
    kind = TensorProto.BFLOAT16
    made.graph.initializer[0].CopyFrom(
        helper.make_tensor("w", kind, WEIGHT.shape, WEIGHT.reshape(-1).tolist())
    )
    for item in (*made.graph.input, *made.graph.output):
        item.type.tensor_type.elem_type = kind
    return made


def no_output() -> onnx.ModelProto:
    made = dense(1)
    del made.graph.output[:]
    return made


def one_name_for_all() -> onnx.ModelProto:
    made = dense(1)
    for each in made.graph.node:
        each.name = "n"
    return made


def noise() -> onnx.ModelProto:
    """Return a model that is another one in every run, with an operator that can be respelt."""
    nodes = [node("MatMul", ["x", "w"], ["m"], name="mm")]
    nodes += [node("RandomNormalLike", ["m"], ["n"], name="noise")]
    nodes += [node("Add", ["m", "n"], ["a"], name="add"), node("Neg", ["a"], ["y"], name="neg")]
    shapes = [value("x", [1, 8])], [value("y", [1, 4])]
    return model(nodes, *shapes, [constant(WEIGHT, "w")])


def past() -> onnx.ModelProto:
    """Return a step of a decoder: keys of the past and of now."""
    nodes = [node("Concat", ["past", "k"], ["present"], axis=1, name="cat")]
    nodes += [node("Relu", ["present"], ["y"], name="relu")]
    inputs = [value("past", [1, "past_length", 4]), value("k", [1, 1, 4])]
    return model(nodes, inputs, [value("y", [1, "past_length + 1", 4])])


def loop() -> onnx.ModelProto:
    """Return a Loop and what comes after it, whose shape nobody knows."""
    inner = [node("Identity", ["on"], ["going"]), node("Tanh", ["state"], ["kept"])]
    flag = TensorProto.BOOL
    body = helper.make_graph(
        inner,
        "body",
        [value("turn", [], TensorProto.INT64), value("on", [], flag), value("state", None)],
        [value("going", [], flag), value("kept", None)],
    )
    nodes = [node("Loop", ["turns", "go", "x"], ["l"], name="loop", body=body)]
    nodes += [node("Relu", ["l"], ["y"], name="relu")]
    constants = [constant(np.int64(3), "turns"), constant(np.bool_(True), "go")]
    return model(nodes, [value("x", [1, 8])], [value("y", None)], constants)


def no_type() -> onnx.ModelProto:
    """Return a model whose output has a name alone, as the format allows."""
    made = dense(1)
    made.graph.output[0].ClearField("type")
    return made


def no_input() -> onnx.ModelProto:
    nodes = [node("Relu", ["w"], ["y"], name="relu")]
    return model(nodes, [], [value("y", [8, 4])], [constant(WEIGHT, "w")])


def negative_weight() -> onnx.ModelProto:
    made = dense(1)
    made.graph.initializer[0].dims[0] = -8
    return made


def wrong_axis() -> onnx.ModelProto:
    nodes = [node("Softmax", ["x"], ["y"], name="softmax", axis=5)]
    return model(nodes, [value("x", [1, 8])], [value("y", [1, 8])])


def found() -> onnx.ModelProto:
    """Return the places of what is above zero: how many there are depends on the data."""
    nodes = [node("Relu", ["x"], ["r"], name="relu"), node("NonZero", ["r"], ["n"], name="where")]
    nodes += [node("Cast", ["n"], ["c"], name="cast", to=TensorProto.FLOAT)]
    nodes += [node("Mul", ["c", "c"], ["y"], name="mul")]
    return model(nodes, [value("x", [2, 8])], [value("y", [2, "count"])])


def wrong_reshape() -> onnx.ModelProto:
    """Return a Reshape that eight numbers do not fit, where no shape is declared."""
    nodes = [node("Reshape", ["x", "to"], ["r"], name="reshape")]
    nodes += [node("Relu", ["r"], ["y"], name="relu")]
    to = constant(np.int64([3, 5]), "to")
    return model(nodes, [value("x", [1, 8])], [value("y", None)], [to])


def nan_weight() -> onnx.ModelProto:
    made = dense(1)
    weight = WEIGHT.copy()
    weight[0, 0] = np.nan
    made.graph.initializer[0].CopyFrom(constant(weight, "w"))
    return made


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "beyond_ascii": beyond_ascii,
    "names_alike": names_alike,
    "never_runs": never_runs,
    "bfloat16": lambda: typed_input(TensorProto.BFLOAT16),
    "float8": lambda: typed_input(TensorProto.FLOAT8E5M2),
    "no_kernel": no_kernel,
    "no_output": no_output,
    "one_name_for_all": one_name_for_all,
    "noise": noise,
    "past": past,
    "nan_weight": nan_weight,
    "wrong_reshape": wrong_reshape,
    "found": found,
    "no_type": no_type,
    "no_input": no_input,
    "negative_weight": negative_weight,
    "wrong_axis": wrong_axis,
    "loop": loop,
}


def write(name: str, folder: Path) -> Path:
    """Write a model; return its path."""
    path = folder / f"{name}.onnx"
    path.write_bytes(MODELS[name]().SerializeToString())
    return path
