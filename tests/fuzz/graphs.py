"""Random small models: operators, ranks, odd axes, types, opsets, subgraphs, broken files."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.kit.odd_models import node, value

UNARY = [
    "Abs", "Ceil", "Elu", "Erf", "Exp", "Flatten", "Floor", "HardSigmoid", "HardSwish", "Identity",
    "LeakyRelu", "Log", "LogSoftmax", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid",
    "Sign", "Sin", "Softmax", "Softplus", "Softsign", "Sqrt", "Squeeze", "Tanh",
]  # fmt: skip
BINARY = ["Add", "Div", "Max", "Mean", "Min", "Mul", "Pow", "PRelu", "Sub", "Sum"]
REDUCING = ["ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
            "ReduceSumSquare"]  # fmt: skip
SINCE = {"Erf": 9, "HardSwish": 14, "Round": 11, "Sign": 9}
WAYS = ["unary", "unary", "binary", "binary", "reduce", "matmul", "conv", "reshape", "transpose",
        "shape", "if", "pool", "cast", "slice", "concat", "pad", "clip", "norm", "gather", "where",
        "loop"]  # fmt: skip
NAMES = ["batch", "batch size", "-1", "s1", "s1 + 1", "?", "x:0", "a=b", "n`m", "2*s1", "é"]


@dataclass(frozen=True, kw_only=True)
class Made:
    """A model's file, the options that fix it, and whether it is one that may be refused."""

    path: Path
    fixes: list[str]
    broken: bool
    what: str


@dataclass
class _Graph:
    rng: random.Random
    opset: int
    kind: int
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    inputs: list[Any] = field(default_factory=list)
    fixes: dict[str, int] = field(default_factory=dict)
    count: int = 0

    def name(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def constant(self, array: Any) -> str:
        name = self.name()
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def floats(self, shape: list[int]) -> str:
        dtype = helper.tensor_dtype_to_np_dtype(self.kind)
        seeded = np.random.default_rng(self.rng.randrange(2**32))
        return self.constant(np.asarray(seeded.standard_normal(shape) * 0.5).astype(dtype))

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = self.name()
        named = self.rng.random() < 0.8
        label = f"{op}/{name}" if named else ""
        self.nodes.append(node(op, list(inputs), [name], name=label, **attributes))
        return name

    def input(self, shape: list[int], *, odd: float = 0.5) -> str:
        name = self.rng.choice(["x", "pixel values", "x:0", "in/put"]) + str(len(self.inputs))
        axes: list[Any] = []
        for place, size in enumerate(shape):
            way = self.rng.random()
            if way > odd:
                axes.append(size)
                continue
            axis = self.rng.choice([None, -1, 0, *NAMES])
            axes.append(axis)
            self.fixes[f"{name}:{place}"] = size
        if self.rng.random() < 0.05 and shape:
            self.fixes.update({f"{name}:{place}": size for place, size in enumerate(shape)})
            self.inputs.append(value(name, None, self.kind))
        else:
            self.inputs.append(value(name, axes, self.kind))
        return name

    def step(self, x: str, shape: list[int]) -> tuple[str, list[int] | None]:
        """Add an operator to a value; its shape is ``None`` where nobody follows it further."""
        way = self.rng.choice(WAYS)
        found = self.moved(way, x, shape) or self.kept(way, x, shape)
        return found or self.computed(way, x, shape)

    def moved(self, way: str, x: str, shape: list[int]) -> tuple[str, list[int] | None] | None:
        """Add an operator that only moves values; ``None`` for another way."""
        rng = self.rng
        place = rng.randrange(len(shape)) if shape else 0
        axis = rng.choice([place, place - len(shape)])
        if way == "slice" and shape and self.opset >= 10:
            first, size = rng.randrange(shape[place]), rng.choice([1, 2, 2**31])
            bounds = [self.constant(np.int64([n])) for n in (first, first + size, axis)]
            last = min(first + size, shape[place])
            return self.add("Slice", x, *bounds), [
                *shape[:place], last - first, *shape[place + 1 :],
            ]  # fmt: skip
        if way == "concat" and shape:
            other = x if rng.random() < 0.3 else self.floats(shape)
            size = 2 * shape[place]
            return self.add("Concat", x, other, axis=axis), [
                *shape[:place], size, *shape[place + 1 :],
            ]  # fmt: skip
        if way == "pad" and shape and self.opset >= 11:
            ends = [rng.randrange(3) for _ in range(2 * len(shape))]
            mode = rng.choice(["constant", "constant", "edge"])
            made = self.add("Pad", x, self.constant(np.int64(ends)), mode=mode)
            halves = zip(ends[: len(shape)], ends[len(shape) :], strict=True)
            return made, [n + sum(pair) for n, pair in zip(shape, halves, strict=True)]
        if way == "gather" and shape:
            rows = [rng.randrange(shape[place]) for _ in range(rng.randrange(1, 4))]
            chosen = self.constant(np.int64(rows if rng.random() < 0.7 else rows[0]))
            made = self.add("Gather", x, chosen, axis=axis)
            sizes = [] if self.scalar(chosen) else [len(rows)]
            return made, [*shape[:place], *sizes, *shape[place + 1 :]]
        return None

    def scalar(self, name: str) -> bool:
        return not next(tensor for tensor in self.constants if tensor.name == name).dims

    def kept(self, way: str, x: str, shape: list[int]) -> tuple[str, list[int] | None] | None:
        """Add an operator whose result has the value's own shape; ``None`` for another way."""
        rng = self.rng
        if way == "clip":
            if self.opset < 11:
                return self.add("Clip", x, min=-0.5, max=0.5), shape
            ends = [self.floats([]), ""][: rng.randrange(1, 3)]
            return self.add("Clip", x, *rng.sample([*ends, self.floats([])], len(ends))), shape
        if way == "norm" and len(shape) > 1:
            if self.opset >= 17 and rng.random() < 0.5:
                sizes = shape[-1:]
                return self.add("LayerNormalization", x, self.floats(sizes), axis=-1), shape
            sizes = shape[1:2]
            spread = self.add("Abs", self.floats(sizes))
            parts = [self.floats(sizes) for _ in range(3)]
            return self.add("BatchNormalization", x, *parts, spread), shape
        if way == "where" and self.opset >= 9:
            chosen = self.add("Greater", x, self.floats([1]))
            return self.add("Where", chosen, x, self.floats(rng.choice([shape, [1]]))), shape
        if way == "loop" and rng.random() < 0.4:
            return self.loop(x), shape
        return None

    def loop(self, x: str) -> str:
        going, kept = self.name(), self.name()
        inner = [node("Identity", ["on"], [going]), node("Tanh", ["state"], [kept])]
        ends = [value("on", [], TensorProto.BOOL), value("state", None, self.kind)]
        made = helper.make_graph(
            inner,
            "body",
            [value("turn", [], TensorProto.INT64), *ends],
            [value(going, [], TensorProto.BOOL), value(kept, None, self.kind)],
        )
        turns, on = self.constant(np.int64(self.rng.randrange(4))), self.constant(np.bool_(True))
        return self.add("Loop", turns, on, x, body=made)

    def computed(self, way: str, x: str, shape: list[int]) -> tuple[str, list[int] | None]:
        """Add an operator that computes."""
        rng = self.rng
        if way == "unary":
            op = rng.choice([op for op in UNARY if SINCE.get(op, 1) <= self.opset])
            made = self.add(op, x)
            if op == "Squeeze":
                return made, [size for size in shape if size != 1]
            if op == "Flatten":
                first = int(np.prod(shape[:1]))
                return made, [first, int(np.prod(shape)) // max(first, 1)]
            return made, shape
        if way == "binary":
            other = self.floats(rng.choice([shape, shape[-1:], [1], []]))
            return self.add(rng.choice(BINARY), x, other), shape
        if way == "reduce" and shape:
            axis, keep = rng.randrange(len(shape)), rng.random() < 0.5
            op = rng.choice(REDUCING)
            if self.opset >= 18:
                made = self.add(op, x, self.constant(np.int64([axis])), keepdims=int(keep))
            else:
                made = self.add(op, x, axes=[axis], keepdims=int(keep))
            rest = [1] if keep else []
            return made, [*shape[:axis], *rest, *shape[axis + 1 :]]
        if way == "matmul" and shape:
            width = rng.randrange(1, 5)
            return self.add("MatMul", x, self.floats([shape[-1], width])), [*shape[:-1], width]
        if way == "conv" and len(shape) == 4 and min(shape[2:]) > 1:
            out = rng.randrange(1, 4)
            if rng.random() < 0.3:
                made = self.add("ConvTranspose", x, self.floats([shape[1], out, 2, 2]))
                return made, [shape[0], out, shape[2] + 1, shape[3] + 1]
            made = self.add("Conv", x, self.floats([out, shape[1], 2, 2]))
            return made, [shape[0], out, shape[2] - 1, shape[3] - 1]
        if way == "pool" and len(shape) == 4:
            op = rng.choice(["GlobalAveragePool", "GlobalMaxPool"])
            return self.add(op, x), [*shape[:2], 1, 1]
        if way == "reshape":
            return self.add("Reshape", x, self.constant(np.int64([-1, 1]))), [
                int(np.prod(shape)),
                1,
            ]
        if way == "transpose" and shape:
            order = rng.sample(range(len(shape)), len(shape))
            return self.add("Transpose", x, perm=order), [shape[place] for place in order]
        if way == "shape" and shape:
            ends = {"start": 0, "end": len(shape)} if self.opset >= 15 else {}
            sizes = self.add("Cast", self.add("Shape", x, **ends), to=self.kind)
            return self.add("Mul", x, self.add("ReduceMax", sizes, keepdims=1)), shape
        if way == "if":
            return self.branch(x), shape
        if way == "cast":
            return self.add("Cast", self.add("Cast", x, to=TensorProto.FLOAT), to=self.kind), shape
        return self.add("Relu", x), shape

    def branch(self, x: str) -> str:
        parts = []
        for op in self.rng.sample(["Relu", "Tanh", "Neg", "Sigmoid"], 2):
            out = self.name()
            inner = [node(op, [x], [out], name=f"inner {op}")]
            made = helper.make_graph(inner, "part", [], [value(out, None, self.kind)])
            parts.append(made)
        if self.rng.random() < 0.5:
            condition = self.constant(np.bool_(self.rng.random() < 0.5))
        else:
            condition = f"flag{len(self.inputs)}"
            self.inputs.append(value(condition, [], TensorProto.BOOL))
        return self.add("If", condition, then_branch=parts[0], else_branch=parts[1])


def make(seed: int, folder: Path) -> Made:
    """Write the model of a seed: the same seed gives the same model."""
    rng = random.Random(seed)
    opset = rng.choice([*range(7, 23), *range(9, 22), 25])
    odd = [TensorProto.FLOAT16, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT64]
    kind = rng.choice([*[TensorProto.FLOAT] * 10, *odd, TensorProto.BOOL])
    graph = _Graph(rng=rng, opset=opset, kind=kind)
    rank = rng.choice([0, 1, 2, 2, 3, 3, 4, 4, 4, 5, 6])
    shape: list[int] | None = [rng.choice([1, 1, 2, 3, 4]) for _ in range(rank)]
    x = graph.input(shape or [], odd=rng.choice([0.0, 0.3, 1.0]))
    for _ in range(rng.randrange(1, 9)):
        if shape is None:
            break
        x, shape = graph.step(x, shape)
    outputs = [value(x, rng.choice([None, [None] * len(shape or [])]), kind)]
    made = helper.make_graph(graph.nodes, "fuzz", graph.inputs, outputs, graph.constants)
    sets = [helper.make_opsetid("", opset)]
    ir = rng.choice([7, 8, 8, 8, 8, 8, 9, 9, 10, 10, 10, 10, 10, 10, 10, 11])
    model = helper.make_model(made, opset_imports=sets, ir_version=ir)
    path = folder / rng.choice(["net.onnx", "net.onnx", "a net.ONNX", "né.onnx"])
    what = f"opset {opset}, ir {ir}, type {kind}, rank {rank}"
    if rng.random() < 0.1 and graph.constants:
        onnx.save_model(
            model, path, save_as_external_data=True, location="weights.bin", size_threshold=0
        )
        what += ", external"
        if rng.random() < 0.5:
            (folder / "weights.bin").unlink(missing_ok=True)
            return Made(path=path, fixes=_words(graph), broken=True, what=f"{what} and lost")
    else:
        path.write_bytes(model.SerializeToString())
    broken = rng.random() < 0.12
    if broken:
        kind_of = rng.choice(list(BREAK))
        path.write_bytes(BREAK[kind_of](path.read_bytes(), rng))
        what += f", {kind_of}"
    return Made(path=path, fixes=_words(graph), broken=broken, what=what)


def _words(graph: _Graph) -> list[str]:
    return [f"--fix={axis}={size}" for axis, size in graph.fixes.items()]


def _flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randrange(1, 9)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


BREAK: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "cut": lambda content, rng: content[: rng.randrange(len(content))],
    "bytes changed": _flipped,
    "empty": lambda content, rng: b"",
    "a page": lambda content, rng: b"<!DOCTYPE html><title>Sign in</title>",
    "twice": lambda content, rng: content + content,
}
