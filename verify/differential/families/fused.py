"""Graphs of several nodes that the optimiser rewrites into fused kernels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..store import Case
from .data import Content, Draw, Shape, integers
from .models import Input, graph_case, node

_CONTENTS: tuple[Content, ...] = ("finite", "nan", "inf", "special")
_ACTIVATIONS = ("Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid")
#: Operator -> the shapes of its input, weights and bias.
_LAYERS: Mapping[str, tuple[Shape, Shape, Shape]] = {
    "Conv": ((1, 3, 9, 9), (4, 3, 3, 3), (4,)),
    "Gemm": ((5, 9), (9, 17), (17,)),
}


def cases() -> Iterator[Case]:
    """Give every graph with every content."""
    for content in _CONTENTS:
        yield from _activations(content)
        yield _gelu(content)
        yield _layer_norm(content)
        yield _attention_core(content)
        yield _clip_chain(content)


def _activations(content: Content) -> Iterator[Case]:
    for activation in _ACTIVATIONS:
        for layer, (shape, weights, bias) in _LAYERS.items():
            yield graph_case(
                f"fused/{layer}-{activation}/{content}",
                [node(layer, ["x", "w", "b"], ["t"]), node(activation, ["t"], ["y"])],
                {"x": Draw("float32", shape, content)},
                ["y"],
                constants={
                    "w": Draw("float32", weights, "unit", "#w"),
                    "b": Draw("float32", bias, "unit", "#b"),
                },
            )


def _gelu(content: Content) -> Case:
    nodes = [
        node("Div", ["x", "root"], ["a"]),
        node("Erf", ["a"], ["b"]),
        node("Add", ["b", "one"], ["c"]),
        node("Mul", ["x", "c"], ["d"]),
        node("Mul", ["d", "half"], ["y"]),
    ]
    constants: dict[str, Input] = {
        "root": np.float32(np.sqrt(2)),
        "one": np.float32(1),
        "half": np.float32(0.5),
    }
    data = {"x": Draw("float32", (3, 33), content)}
    return graph_case(f"fused/Gelu/{content}", nodes, data, ["y"], constants=constants)


def _layer_norm(content: Content) -> Case:
    nodes = [
        node("ReduceMean", ["x", "axes"], ["mean"]),
        node("Sub", ["x", "mean"], ["d"]),
        node("Pow", ["d", "two"], ["square"]),
        node("ReduceMean", ["square", "axes"], ["variance"]),
        node("Add", ["variance", "epsilon"], ["v"]),
        node("Sqrt", ["v"], ["s"]),
        node("Div", ["d", "s"], ["n"]),
        node("Mul", ["n", "gamma"], ["g"]),
        node("Add", ["g", "beta"], ["y"]),
    ]
    constants: dict[str, Input] = {
        "axes": integers(-1),
        "two": np.float32(2),
        "epsilon": np.float32(1e-5),
        "gamma": Draw("float32", (32,), "unit", "#g"),
        "beta": Draw("float32", (32,), "unit", "#b"),
    }
    data = {"x": Draw("float32", (2, 5, 32), content)}
    return graph_case(f"fused/LayerNorm/{content}", nodes, data, ["y"], constants=constants)


def _attention_core(content: Content) -> Case:
    nodes = [
        node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]),
        node("MatMul", ["q", "kt"], ["s"]),
        node("Div", ["s", "scale"], ["d"]),
        node("Add", ["d", "mask"], ["m"]),
        node("Softmax", ["m"], ["p"], axis=-1),
        node("MatMul", ["p", "v"], ["y"]),
    ]
    mask = np.zeros((1, 1, 1, 7), dtype=np.float32)
    mask[..., 5:] = np.finfo(np.float32).min
    data = {
        "q": Draw("float32", (1, 2, 7, 16), content),
        "k": Draw("float32", (1, 2, 7, 16), "finite", "#k"),
        "v": Draw("float32", (1, 2, 7, 16), "finite", "#v"),
    }
    constants: dict[str, Input] = {"scale": np.float32(4), "mask": mask}
    return graph_case(f"fused/attention-core/{content}", nodes, data, ["y"], constants=constants)


def _clip_chain(content: Content) -> Case:
    nodes = [
        node("Min", ["x", "high"], ["a"]),
        node("Max", ["a", "low"], ["b"]),
        node("Relu", ["b"], ["c"]),
        node("Clip", ["c", "low", "high"], ["y"]),
    ]
    constants: dict[str, Input] = {"low": np.float32(-1.5), "high": np.float32(2.5)}
    data = {"x": Draw("float32", (33,), content)}
    name = f"fused/Min-Max-Relu-Clip/{content}"
    return graph_case(name, nodes, data, ["a", "b", "y"], constants=constants)
