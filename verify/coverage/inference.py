"""ONNX's shape inference, in a process of its own: a broken model can end the one that asks.

A Slice of an axis of size -1 is enough: its native code ends in an assertion.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..environment.channel import Worker, call

if TYPE_CHECKING:
    import onnx

INFER = ".coverage.inference:infer"
_SECONDS = 300.0
_LARGEST = 1024
"""Elements of a constant that may be a shape; of larger ones only type and axes are asked."""


def inferred(model: onnx.ModelProto, *, values: bool = False) -> onnx.ModelProto:
    """Return the model with every shape that follows, and without the data of large constants.

    Where the inference fails, the shapes are those that the model declares.

    Parameters
    ----------
    model : onnx.ModelProto
    values : bool
        Whether shapes that are computed in the graph are followed too.
    """
    import onnx

    lean = _without_data(model)
    with tempfile.TemporaryDirectory(prefix="ortmill-shapes-") as folder:
        source, target = Path(folder) / "model.onnx", Path(folder) / "inferred.onnx"
        try:
            source.write_bytes(lean.SerializeToString())
        except Exception:  # protobuf's own error for more than 2 GiB
            return lean
        payload = {"path": str(source), "output": str(target), "values": values}
        worker = Worker(Path(sys.executable), INFER, payload, work=Path(folder))
        answer = call(worker, _SECONDS)
        return onnx.load(str(target)) if answer.value else lean


def infer(payload: Mapping[str, Any]) -> bool:
    """Do the work of :func:`inferred`, in its process."""
    import onnx

    model = onnx.load(payload["path"])
    found = onnx.shape_inference.infer_shapes(model, data_prop=payload["values"])
    Path(payload["output"]).write_bytes(found.SerializeToString())
    return True


def _without_data(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx

    lean = onnx.ModelProto(ir_version=model.ir_version)
    lean.opset_import.extend(model.opset_import)
    lean.functions.extend(model.functions)
    lean.graph.name = model.graph.name
    for part in ("node", "input", "output", "value_info", "sparse_initializer"):
        getattr(lean.graph, part).extend(getattr(model.graph, part))
    for item in (*lean.graph.input, *lean.graph.output, *lean.graph.value_info):
        for dim in item.type.tensor_type.shape.dim:
            if dim.HasField("dim_value") and dim.dim_value < 1:
                dim.Clear()  # a dynamic axis, as old exporters write it
    for tensor in model.graph.initializer:
        outside = tensor.data_location == onnx.TensorProto.EXTERNAL
        if math.prod(tensor.dims) > _LARGEST or outside:
            lean.graph.initializer.add(
                name=tensor.name, data_type=tensor.data_type, dims=tensor.dims
            )
        else:
            lean.graph.initializer.add().CopyFrom(tensor)
    return lean
