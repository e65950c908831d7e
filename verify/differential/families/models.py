"""Small ONNX models of one or a few nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from ..store import Case
from ..values import Tensor, from_array
from .data import Draw

#: The opset and IR version that ONNX Runtime 1.21 supports without reservation.
OPSET = 21
IR_VERSION = 10
MICROSOFT = "com.microsoft"
ML = "ai.onnx.ml"
_OPSETS = {"": OPSET, MICROSOFT: 1, ML: 3}

Input = NDArray[Any] | np.generic | Tensor | Draw


@dataclass(frozen=True)
class Constant:
    """An input of a node that the graph holds as an initializer."""

    name: str
    value: Input


def node(
    op: str, inputs: Sequence[str], outputs: Sequence[str], *, domain: str = "", **attributes: Any
) -> onnx.NodeProto:
    """Make one node; attributes that are None are left out."""
    given = {key: value for key, value in attributes.items() if value is not None}
    return helper.make_node(op, list(inputs), list(outputs), domain=domain, **given)


def graph_case(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Input],
    outputs: Sequence[str],
    *,
    constants: Mapping[str, Input] | None = None,
    opset: int = OPSET,
) -> Case:
    """Make a case of several nodes, called ``name``.

    The inputs' ranks are declared, their dimensions are left open, so that nothing is decided
    before the run; the outputs' types are inferred by ONNX Runtime. ``constants`` are initializers,
    ``opset`` is the version of the default domain.
    """
    feeds = {key: _tensor(name, value) for key, value in inputs.items()}
    graph = helper.make_graph(
        list(nodes),
        "differential",
        [
            helper.make_tensor_value_info(key, value.element, [None] * len(value.shape))
            for key, value in feeds.items()
        ],
        [helper.make_empty_tensor_value_info(key) for key in outputs],
        initializer=[_proto(key, _tensor(name, value)) for key, value in (constants or {}).items()],
    )
    domains = {item.domain for item in nodes} | {""}
    model = helper.make_model(
        graph,
        opset_imports=[
            helper.make_opsetid(domain, opset if domain == "" else _OPSETS[domain])
            for domain in sorted(domains)
        ],
        ir_version=IR_VERSION,
        producer_name="ortmill",
    )
    return Case(
        id=name, group="generated", model=model.SerializeToString(), inputs=tuple(feeds.items())
    )


def op_case(
    name: str,
    op: str,
    inputs: Sequence[Any],
    *,
    outputs: int = 1,
    domain: str = "",
    opset: int = OPSET,
    **attributes: Any,
) -> Case:
    """Make a case of one node, called ``name``.

    The inputs are in the node's order and are named ``x0``, ``x1`` … by their places; None is one
    that is left out. ``attributes`` are the node's.
    """
    feeds: dict[str, Input] = {}
    constants: dict[str, Input] = {}
    names = []
    for place, item in enumerate(inputs):
        if isinstance(item, Constant):
            names.append(item.name)
            constants[item.name] = item.value
        elif item is None:
            names.append("")
        else:
            names.append(f"x{place}")
            feeds[names[-1]] = item
    results = [f"y{n}" for n in range(outputs)]
    only = node(op, names, results, domain=domain, **attributes)
    return graph_case(name, [only], feeds, results, constants=constants, opset=opset)


def _tensor(case: str, value: Input) -> Tensor:
    if isinstance(value, Draw):
        value = value.of(case)
    return value if isinstance(value, Tensor) else from_array(np.asarray(value))


def _proto(name: str, tensor: Tensor) -> onnx.TensorProto:
    if tensor.strings or tensor.type.kind == "string":
        encoded = [item.encode() for item in tensor.strings]
        return onnx.TensorProto(
            name=name, data_type=tensor.element, dims=tensor.shape, string_data=encoded
        )
    return onnx.TensorProto(
        name=name, data_type=tensor.element, dims=tensor.shape, raw_data=tensor.data
    )
