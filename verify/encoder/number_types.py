"""Which types of floating numbers a model has, and the same model in another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

FLOAT, FLOAT16, DOUBLE = 1, 10, 11
"""ONNX's numbers of single, half and double precision (``TensorProto.DataType``)."""
_TYPE_ATTRIBUTES = ("to", "dtype")


def float_types(model: Any) -> set[int]:
    """Return which of ONNX's FLOAT and FLOAT16 a model declares or casts to anywhere."""
    found: set[int] = set()
    for nodes, tensors, values in _parts(model):
        found |= {tensor.data_type for tensor in tensors}
        found |= {value.type.tensor_type.elem_type for value in values}
        for node in nodes:
            for attribute in node.attribute:
                if attribute.name in _TYPE_ATTRIBUTES:
                    found.add(attribute.i)
                if attribute.HasField("t"):
                    found.add(attribute.t.data_type)
    return found & {FLOAT, FLOAT16}


def _parts(model: Any) -> Iterator[tuple[Any, Sequence[Any], Sequence[Any]]]:
    """Yield the nodes, the tensors and the declared values of every graph and every function."""
    bodies = [graph for function in model.functions for graph in graphs_of(function)]
    for body in (*graphs_of(model.graph), *bodies):
        if not hasattr(body, "initializer"):  # a function has none
            yield body.node, (), body.value_info
        else:
            sparse = (each.values for each in body.sparse_initializer)
            values = (*body.input, *body.output, *body.value_info)
            yield body.node, (*body.initializer, *sparse), values


def graphs_of(graph: Any) -> Iterator[Any]:
    """Yield a graph and all those inside its nodes (If, Loop, Scan)."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from graphs_of(inner)


def widened(model: Any) -> Any:
    """Return a model with every half precision type made single; the weights keep their values.

    The CPU provider has no half kernels for most operations and rounds between some of those that
    it runs in single precision. The wide graph has the same weights and no rounding, so that it
    shows what the conversion changes.
    """
    return retyped(model, FLOAT16, FLOAT)


def retyped(model: Any, before: int, after: int) -> Any:
    """Return a copy of a model in which one type of numbers is another everywhere."""
    from onnx import ModelProto

    made = ModelProto()
    made.CopyFrom(model)
    for nodes, tensors, values in _parts(made):
        for tensor in tensors:
            _retype(tensor, before, after)
        for node in nodes:
            for attribute in node.attribute:
                if attribute.name in _TYPE_ATTRIBUTES and attribute.i == before:
                    attribute.i = after
                if attribute.HasField("t"):
                    _retype(attribute.t, before, after)
        for value in values:
            if value.type.tensor_type.elem_type == before:
                value.type.tensor_type.elem_type = after
    return made


def _retype(tensor: Any, before: int, after: int) -> None:
    from onnx import helper, numpy_helper

    if tensor.data_type == before:
        array = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(after))
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
