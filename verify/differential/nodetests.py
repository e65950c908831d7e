"""Read the node test data of an ONNX source archive as cases.

The archive holds ``onnx/backend/test/data/<group>/<test>/model.onnx`` and, per data set,
``test_data_set_<n>/input_<i>.pb`` and ``output_<i>.pb``: a TensorProto, SequenceProto or
OptionalProto as the graph's input or output says. The groups ``light`` and ``real`` hold no data
of that form (their weights are fetched elsewhere) and are left out.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ..errors import VerifyError
from .store import Case
from .values import ELEMENT_TYPES, STRING, Absent, Items, Tensor, Value, from_array

GROUPS = ("node", "simple", "pytorch-operator", "pytorch-converted")
_MEMBER = re.compile(
    r"(?:^|/)onnx/backend/test/data/(?P<group>[^/]+)/(?P<test>[^/]+)/"
    r"(?P<file>model\.onnx|data\.json|test_data_set_\d+/(?:input|output)_\d+\.pb)$"
)
_PROTOS = {"sequence_type": onnx.SequenceProto, "optional_type": onnx.OptionalProto}


def read_node_tests(archive: Path) -> Iterator[Case]:
    """Give every node test of a source archive of onnx, sorted by name.

    They are named ``node/test_abs`` (``…/1`` and so on for further data sets).

    Raises
    ------
    VerifyError
        When the file cannot be read or holds no node test.
    """
    tests: dict[tuple[str, str], dict[str, bytes]] = {}
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                match = _MEMBER.search(member.name)
                if not match or match["group"] not in GROUPS or not member.isfile():
                    continue
                stream = tar.extractfile(member)
                if stream is not None:
                    files = tests.setdefault((match["group"], match["test"]), {})
                    files[match["file"]] = stream.read()
    except (OSError, tarfile.TarError, EOFError) as error:
        raise VerifyError(
            f"the onnx source archive {archive.name} cannot be read: {error}",
            hint="Give the path of the source archive of onnx 1.17.0 with --onnx-archive.",
            context={"file": str(archive)},
        ) from error
    if not tests:
        raise VerifyError(
            f"{archive.name} holds no onnx/backend/test/data",
            hint="A wheel or an sdist without test data will not do; the source archive has it.",
            context={"file": str(archive)},
        )
    for (group, test), files in sorted(tests.items()):
        yield from _cases(f"{group}/{test}", files)


def _cases(name: str, files: dict[str, bytes]) -> Iterator[Case]:
    if "model.onnx" not in files:
        return
    model = onnx.load_model_from_string(files["model.onnx"])
    settings = json.loads(files.get("data.json", b"{}"))
    sets = sorted({int(file.split("/")[0].rsplit("_", 1)[1]) for file in files if "/" in file})
    constant = {item.name for item in model.graph.initializer}
    graph_inputs = [item for item in model.graph.input if item.name not in constant]
    for number in sets:
        inputs = _values(files, f"test_data_set_{number}/input", list(graph_inputs))
        outputs = _values(files, f"test_data_set_{number}/output", list(model.graph.output))
        feeds, bound = _bind_nibbles(model, inputs)
        yield Case(
            id=name if number == 0 else f"{name}/{number}",
            group="node",
            model=bound,
            inputs=feeds,
            expected=tuple(value for _, value in outputs),
            rtol=float(settings.get("rtol", 1e-3)),
            atol=float(settings.get("atol", 1e-7)),
        )


def _values(
    files: dict[str, bytes], prefix: str, infos: list[onnx.ValueInfoProto]
) -> list[tuple[str, Value]]:
    values: list[tuple[str, Value]] = []
    for position, info in enumerate(infos):
        data = files.get(f"{prefix}_{position}.pb")
        if data is not None:
            values.append((info.name, _parse(data, info.type)))
    return values


def _parse(data: bytes, type_: onnx.TypeProto) -> Value:
    proto: Any = _PROTOS.get(type_.WhichOneof("value") or "", onnx.TensorProto)()
    proto.ParseFromString(data)
    value = _value(proto)
    declared = type_.tensor_type.elem_type
    if isinstance(value, Tensor) and declared in ELEMENT_TYPES and value.element != declared:
        # Test data for types that numpy lacks was written as unsigned integers of their width.
        bits = ELEMENT_TYPES[declared].bits
        if value.type.kind == "int" and value.type.bits == bits:
            return Tensor(element=declared, shape=value.shape, data=value.data)
    return value


def _value(proto: Any) -> Value:
    if isinstance(proto, onnx.SequenceProto):
        # Only the field that the element type names is filled.
        filled = (*proto.tensor_values, *proto.sequence_values, *proto.optional_values)
        return Items(items=tuple(_value(item) for item in filled))
    if isinstance(proto, onnx.OptionalProto):
        if proto.elem_type == onnx.OptionalProto.TENSOR:
            return _value(proto.tensor_value)
        if proto.elem_type == onnx.OptionalProto.SEQUENCE:
            return _value(proto.sequence_value)
        return Absent()
    return tensor_from_proto(proto)


def tensor_from_proto(proto: onnx.TensorProto) -> Tensor:
    """Take a TensorProto by its raw bits, whichever field holds them."""
    shape = tuple(proto.dims)
    element = ELEMENT_TYPES[proto.data_type]
    if proto.data_type == STRING:
        strings = tuple(item.decode("utf-8", "surrogateescape") for item in proto.string_data)
        return Tensor(element=STRING, shape=shape, strings=strings)
    if proto.HasField("raw_data"):
        return Tensor(element=proto.data_type, shape=shape, data=proto.raw_data)
    if element.bits == 4 or not element.native:
        # onnx.proto: types of 4, 8 and 16 bits that have no field of their own lie in int32_data,
        # 4-bit elements two to an entry.
        storage = np.dtype(element.storage)
        packed = np.array(proto.int32_data, dtype=np.int64).astype(storage)
        return Tensor(element=proto.data_type, shape=shape, data=packed.tobytes())
    return from_array(numpy_helper.to_array(proto).reshape(shape))


def _bind_nibbles(
    model: onnx.ModelProto, inputs: list[tuple[str, Value]]
) -> tuple[tuple[tuple[str, Value], ...], bytes]:
    """Turn 4-bit inputs into initializers: the Python bindings cannot feed them."""
    nibbles = {
        name: value for name, value in inputs if isinstance(value, Tensor) and value.type.bits == 4
    }
    if not nibbles:
        return tuple(inputs), model.SerializeToString()
    bound = onnx.ModelProto()
    bound.CopyFrom(model)
    kept = [item for item in bound.graph.input if item.name not in nibbles]
    del bound.graph.input[:]
    bound.graph.input.extend(kept)
    for name, value in nibbles.items():
        bound.graph.initializer.append(
            onnx.TensorProto(
                name=name, data_type=value.element, dims=value.shape, raw_data=value.data
            )
        )
    feeds = tuple((name, value) for name, value in inputs if name not in nibbles)
    return feeds, bound.SerializeToString()
