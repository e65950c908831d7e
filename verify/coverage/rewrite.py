"""The same computation with operators that the provider of 1.21.0 takes.

Every rule is for one operator; :data:`~verify.coverage.advice.REWRITTEN` says in words what it
gives. The caller proves that the result is equal.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .advice import lacks_pads
from .axes import size_of
from .inference import inferred

if TYPE_CHECKING:
    import onnx

_FLOATS = (1, 10)
"""FLOAT and FLOAT16 of ``TensorProto.DataType``; nothing else is rewritten."""
_FAR = 2**31 - 1
"""The end of a Slice that goes to the axis's end."""


class _Maker:
    """Makes the nodes that stand for one node, with names that the graph does not have yet."""

    def __init__(self, model: onnx.ModelProto, types: dict[str, onnx.TypeProto.Tensor]) -> None:
        self.graph = model.graph
        versions = [e.version for e in model.opset_import if e.domain in ("", "ai.onnx")]
        self.opset = versions[0] if versions else 0  # no operator of ONNX's own is there then
        self.types = types
        taken = {name for node in model.graph.node for name in [*node.output, node.name]}
        taken |= {tensor.name for tensor in model.graph.initializer}
        taken |= {item.name for item in model.graph.input}
        self._free = (f"rewritten.{n}" for n in itertools.count() if f"rewritten.{n}" not in taken)
        self.made: list[onnx.NodeProto] = []

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        name = next(self._free)
        self.made.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        self.types[name] = self.types[inputs[0]]
        return name

    def constant(self, values: Any, like: str = "") -> str:
        """Add an initializer of the type of a value, or of whole numbers."""
        from onnx import helper, numpy_helper

        kind = helper.tensor_dtype_to_np_dtype(self.types[like].elem_type) if like else np.int64
        name = next(self._free)
        tensor = numpy_helper.from_array(np.asarray(values, kind), name)
        self.graph.initializer.append(tensor)
        self.types[name] = helper.make_tensor_type_proto(tensor.data_type, tensor.dims).tensor_type
        return name

    def negative(self, name: str) -> str:
        return self.node("Mul", name, self.constant(-1, name))

    def size(self, name: str) -> str:
        return self.node("Max", name, self.negative(name))

    def reduced(self, node: onnx.NodeProto, squares: str) -> str:
        """Sum squares over the axes of a reduction, which are an input since opset 13."""
        attributes = _attributes(node)
        inputs = [squares, *node.input[1:]]
        if self.opset >= 13 and "axes" in attributes:
            inputs.append(self.constant(attributes.pop("axes")))
        return self.node("ReduceSum", *inputs, **attributes)

    def share(self, x: str, slope: float, offset: float) -> str:
        """Return ``slope * x + offset``, kept between 0 and 1."""
        product = self.node("Mul", x, self.constant(slope, x))
        line = self.node("Add", product, self.constant(offset, x))
        if self.opset < 11:
            return self.node("Clip", line, min=0.0, max=1.0)
        return self.node("Clip", line, self.constant(0, x), self.constant(1, x))


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    from onnx import helper

    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def _hard_sigmoid(node: onnx.NodeProto, make: _Maker) -> str:
    given = _attributes(node)
    return make.share(node.input[0], given.get("alpha", 0.2), given.get("beta", 0.5))


def _hard_swish(node: onnx.NodeProto, make: _Maker) -> str:
    return make.node("Mul", node.input[0], make.share(node.input[0], 1 / 6, 0.5))


def _squares(node: onnx.NodeProto, make: _Maker) -> str:
    return make.reduced(node, make.node("Mul", node.input[0], node.input[0]))


def _root(node: onnx.NodeProto, make: _Maker) -> str:
    return make.node("Sqrt", _squares(node, make))


def _negative(node: onnx.NodeProto, make: _Maker) -> str:
    return make.negative(node.input[0])


def _size(node: onnx.NodeProto, make: _Maker) -> str:
    return make.size(node.input[0])


def _least(node: onnx.NodeProto, make: _Maker) -> str:
    found = node.input[0]
    for other in node.input[1:]:
        largest = make.node("Max", make.negative(found), make.negative(other))
        found = make.negative(largest)
    return found if len(node.input) > 1 else ""


def _sum(node: onnx.NodeProto, make: _Maker) -> str:
    found = node.input[0]
    for other in node.input[1:]:
        found = make.node("Add", found, other)
    return found if len(node.input) > 1 else ""


def _mean(node: onnx.NodeProto, make: _Maker) -> str:
    total = _sum(node, make)
    return total and make.node("Mul", total, make.constant(1 / len(node.input), node.input[0]))


def _softsign(node: onnx.NodeProto, make: _Maker) -> str:
    x = node.input[0]
    return make.node("Div", x, make.node("Add", make.size(x), make.constant(1, x)))


def _flatten(node: onnx.NodeProto, make: _Maker) -> str:
    dims = [size_of(dim) for dim in make.types[node.input[0]].shape.dim]
    if not dims or None in dims:
        return ""
    axis = _attributes(node).get("axis", 1)
    first = int(np.prod([dim for dim in dims[: axis if axis >= 0 else len(dims) + axis] if dim]))
    return make.node("Reshape", node.input[0], make.constant([first, -1]))


def _quotient(node: onnx.NodeProto, make: _Maker) -> str:
    return make.node("Div", make.constant(1, node.input[0]), node.input[0])


def _padded(node: onnx.NodeProto, make: _Maker) -> str:
    """Write pads of zero; where others are given, or output_padding, cut what they leave out."""
    given = _attributes(node)
    rank = len(make.types[node.input[0]].shape.dim) - 2
    if rank < 1:
        return ""
    plain = {**given, "pads": [0] * (2 * rank)}
    if lacks_pads(node) and not any(given.get("output_padding", [])):
        return make.node("ConvTranspose", *node.input, **plain)
    pads = given.get("pads", plain["pads"])
    more = plain.pop("output_padding", [0] * rank)
    ends = [end - extra for end, extra in zip(pads[rank:], more, strict=True)]
    same = len(set(pads)) == 1 and not any(more)
    named = given.get("auto_pad", b"NOTSET") != b"NOTSET" or "output_shape" in given
    if same or named or make.opset < 10 or min(ends) < 0:
        return ""
    whole = make.node("ConvTranspose", *node.input, **plain)
    bounds = pads[:rank], [-end or _FAR for end in ends], range(2, rank + 2)
    return make.node("Slice", whole, *(make.constant(list(each)) for each in bounds))


RULES: Mapping[str, Callable[[onnx.NodeProto, _Maker], str]] = {
    "Abs": _size,
    "ConvTranspose": _padded,
    "Flatten": _flatten,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Mean": _mean,
    "Min": _least,
    "Neg": _negative,
    "Reciprocal": _quotient,
    "ReduceL2": _root,
    "ReduceSumSquare": _squares,
    "Softsign": _softsign,
    "Sum": _sum,
}
"""Each adds its nodes and returns its value's name; an empty one leaves the node as it is."""


def rewritten(model: onnx.ModelProto, op: str) -> tuple[onnx.ModelProto, int]:
    """Return a copy in which one operator is spelt otherwise, and how many nodes that were.

    Nodes on anything but single and half precision, inside of others, or of another domain than
    ONNX's stay as they are.
    """
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(model)
    types = _types(made)
    make = _Maker(made, types)
    nodes: list[onnx.NodeProto] = []
    count = 0
    for node in made.graph.node:
        value = ""
        if node.op_type == op and node.domain in ("", "ai.onnx"):
            kinds = {types[name].elem_type if name in types else 0 for name in node.input[:1]}
            value = RULES[op](node, make) if kinds <= {*_FLOATS} else ""
        if value and make.made:
            make.made[-1].output[0] = node.output[0]
            nodes += make.made
            count += 1
        else:
            nodes.append(node)
        make.made = []
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del made.graph.node[:]
    made.graph.node.extend(kept)
    return made, count


def _types(model: onnx.ModelProto) -> dict[str, onnx.TypeProto.Tensor]:
    import onnx

    graph = inferred(model).graph
    found = {
        item.name: item.type.tensor_type
        for item in (*graph.input, *graph.value_info, *graph.output)
    }
    for tensor in graph.initializer:
        kind = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
        found[tensor.name] = kind.tensor_type
    return found
