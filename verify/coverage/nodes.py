"""Facts of an ONNX file that the provider's log does not hold: shapes and dynamic axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..encoder.number_types import graphs_of
from ..errors import VerifyError
from .axes import input_axes, size_of
from .inference import inferred

if TYPE_CHECKING:
    import onnx

Dim = int | str
Shape = tuple[Dim, ...]
UNKNOWN = "?"
_WEIGHTS_APART = 4


class ModelFileError(VerifyError):
    """A file that is missing or no ONNX model."""

    title = "model"


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What one model declares.

    Parameters
    ----------
    inputs : Mapping[str, Shape]
        Shape of each input of the graph; a str is a dynamic axis by its name.
    node_inputs : Mapping[str, tuple of Shape]
        Shapes of each named node's inputs, as far as ONNX's shape inference finds them. An axis
        that it does not find is ``"?"``; an input without any shape is left out.
    half : bool
        Whether a weight, an input or an output is in half precision.
    external : bool
        Whether weights are in another file than the model's.
    inside : Mapping[str, int]
        How many nodes there are inside each named If, Loop or Scan.
    values : Mapping[str, Shape]
        Shapes of the graph's values, as far as they are found.
    overridable : bool
        Whether a weight is an input too, so that it may be given and is no constant.
    """

    inputs: Mapping[str, Shape]
    node_inputs: Mapping[str, tuple[Shape, ...]]
    half: bool = False
    external: bool = False
    inside: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, Shape] = field(default_factory=dict)
    overridable: bool = False

    @property
    def dynamic_axes(self) -> tuple[str, ...]:
        """Names of the inputs' dynamic axes, each once."""
        found = (dim for shape in self.inputs.values() for dim in shape if isinstance(dim, str))
        return tuple(dict.fromkeys(found))

    def shapes(self, node: str) -> tuple[Shape, ...]:
        """Return the input shapes of a node, or of the node that a fusion made it from.

        onnxruntime names a fused node after its first one: ``a.matmul/MatMulAddFusion``.
        """
        name = node
        while name not in self.node_inputs and "/" in name:
            name = name.rpartition("/")[0]
        return self.node_inputs.get(name, ())


def load(path: Path) -> onnx.ModelProto:
    """Parse an ONNX file without its external data.

    Raises
    ------
    ModelFileError
        When it is missing or not an ONNX model.
    """
    import onnx
    from google.protobuf.message import DecodeError

    if not path.is_file():
        said = f"{path} is no file" if path.exists() else f"There is no model at {path}"
        raise ModelFileError(f"{said}.", hint="Give a .onnx file.")
    try:
        # By its name onnx would read JSON or text too, which no runtime takes.
        model = onnx.load(str(path), format="protobuf", load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise _not_onnx(path, str(error)) from None
    if not model.graph.node and not model.opset_import:
        raise _not_onnx(path, "it holds no graph")
    if not model.graph.node:
        raise ModelFileError(
            f"{path} computes nothing: its graph has no node.",
            hint="Its outputs are inputs or constants, and no provider is needed.",
        )
    if not model.graph.output:
        raise ModelFileError(
            f"{path} gives nothing: its graph has no output.",
            hint="Export it with its outputs named; onnx.utils.extract_model(FILE, PART, INPUTS, "
            "OUTPUTS) names some of an exported one.",
        )
    if not model.opset_import:
        raise ModelFileError(
            f"{path} does not say which opset its operators are of.",
            hint="Export it again; or load it with onnx.load, call "
            "`model.opset_import.add(version=N)` with the opset it was written for, and save it.",
        )
    wrong = next((item for item in model.graph.initializer if min(item.dims, default=0) < 0), None)
    if wrong is not None:
        raise ModelFileError(
            f"{path} is damaged: its weight {wrong.name} has an axis of size {min(wrong.dims)}.",
            hint="Export or fetch it again.",
        )
    _check_external(model, path)
    return model


def external_files(model: onnx.ModelProto) -> dict[str, int]:
    """Return the files beside a model that hold weights, with the bytes used of each."""
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    sizes: dict[str, int] = {}
    for graph in graphs_of(model.graph):
        for tensor in filter(uses_external_data, graph.initializer):
            info = ExternalDataInfo(tensor)
            size = _bytes(tensor) if info.length is None else int(info.length)
            sizes[info.location] = sizes.get(info.location, 0) + size
    return sizes


def _bytes(tensor: onnx.TensorProto) -> int:
    """Return the size of a tensor that does not say how long its data are."""
    from onnx import helper

    return math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _check_external(model: onnx.ModelProto, path: Path) -> None:
    try:
        files = external_files(model)
        lost = [name for name in files if not (path.parent / name).is_file()]
    except (KeyError, OSError, ValueError) as error:
        raise ModelFileError(
            f"{path} does not say where its weights are: {error}.", hint="Export it again."
        ) from None
    if "" in lost:
        raise ModelFileError(
            f"{path} does not say where its weights are: a file without a name.",
            hint="Export it again.",
        )
    if lost:
        raise ModelFileError(
            f"{path} keeps weights in {lost[0]}, and there is no such file beside it.",
            hint="Get that file too, with the same name; an exporter writes both together.",
        )


def facts(model: onnx.ModelProto) -> ModelFacts:
    """Collect shapes and dynamic axes, with ONNX's shape inference where it works."""
    import onnx

    known = {item.name for item in model.graph.initializer}
    inputs = {item.name: input_axes(item) for item in model.graph.input if item.name not in known}
    graph = inferred(model).graph
    shapes: dict[str, Shape] = {item.name: tuple(item.dims) for item in graph.initializer}
    shapes |= {
        item.name: inputs[item.name]
        for item in graph.input
        if item.name in inputs and item.type.tensor_type.HasField("shape")
    }
    declared = {dim for shape in inputs.values() for dim in shape if isinstance(dim, str)}
    for item in (*graph.input, *graph.value_info, *graph.output):
        if item.type.tensor_type.HasField("shape"):
            # The inference makes up names (unk__2), which nobody could look for in the model.
            dims = (d if isinstance(d, int) or d in declared else UNKNOWN for d in _shape(item))
            shapes.setdefault(item.name, tuple(dims))
    nodes = {
        node.name: tuple(shapes[name] for name in node.input if name in shapes)
        for node in graph.node
        if node.name
    }
    weights = model.graph.initializer
    types = {item.data_type for item in weights}
    types |= {item.type.tensor_type.elem_type for item in (*graph.input, *graph.output)}
    return ModelFacts(
        inputs=inputs,
        node_inputs=nodes,
        half=onnx.TensorProto.FLOAT16 in types,
        inside={node.name: _count_inside(node) for node in graph.node if _count_inside(node)},
        values=shapes,
        external=any(item.data_location == onnx.TensorProto.EXTERNAL for item in weights),
        overridable=bool(weights_given(model)),
    )


def weights_given(model: onnx.ModelProto) -> list[str]:
    """Return the weights that are inputs too: they may be given, and so are no constants.

    Before ONNX's IR version 4 every weight had to be an input, and is a constant all the same.
    """
    weights = {item.name for item in model.graph.initializer}
    named = [item.name for item in model.graph.input if item.name in weights]
    return named if model.ir_version >= _WEIGHTS_APART else []


def _count_inside(node: onnx.NodeProto) -> int:
    graphs = [graph for entry in node.attribute for graph in (entry.g, *entry.graphs)]
    return sum(1 + _count_inside(inner) for graph in graphs for inner in graph.node)


def expand(given: Sequence[Path]) -> list[Path]:
    """Return the files named, and every ``.onnx`` below the folders named, in order.

    Raises
    ------
    ModelFileError
        When a folder holds none, or something does not exist.
    """
    found: list[Path] = []
    for path in given:
        if len(path.name.encode()) > _LONGEST_NAME:
            raise ModelFileError(
                f"A name of {len(path.name.encode())} bytes is no file's: {path.name[:40]}….",
                hint="Give a .onnx file or a folder.",
            )
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if is_onnx(file))
            if not inside:
                raise ModelFileError(
                    f"The folder {path} holds no .onnx file.", hint="Name the files themselves."
                )
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise ModelFileError(
                f"There is no model at {path}.", hint="Give a .onnx file or a folder."
            )
    return list(dict.fromkeys(found))


def is_onnx(path: Path) -> bool:
    """Return whether a file's name is a model's; capitals are as good."""
    return path.suffix.lower() == ".onnx" and not path.is_dir()


def _shape(item: onnx.ValueInfoProto) -> Shape:
    return tuple(
        size_of(dim) or dim.dim_param or UNKNOWN for dim in item.type.tensor_type.shape.dim
    )


_LONGEST_NAME = 255
"""Bytes of a file's name, of every common file system."""
_SIGN_IN = "Open the address in a browser: it may want you to sign in."
_KINDS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"version https://git-lfs", "a pointer of Git LFS", "Fetch the file: `git lfs pull`."),
    (0, b"<!doctype html", "a web page", _SIGN_IN),
    (0, b"<html", "a web page", _SIGN_IN),
    (0, b'{"error', "a server's refusal", _SIGN_IN),
    (0, b"<?xml", "a server's refusal", _SIGN_IN),
    (0, b"pk\3\4", "a zip archive", "Unpack it, or export the model of PyTorch as .onnx."),
    (0, b"\x1f\x8b", "a gzip archive", "Unpack it."),
    (4, b"ortm", "ONNX Runtime's own format", "Give the .onnx file that it was made from."),
    (4, b"tfl3", "a TensorFlow Lite model", "Export it as .onnx."),
    (8, b'{"', "a safetensors file", "`python -m verify model` builds a graph from its weights."),
)
"""Where a file that is no model has which bytes (capitals made small), what it is, what to do."""


def _not_onnx(path: Path, why: str) -> ModelFileError:
    try:
        with path.open("rb") as stream:
            start = stream.read(64).lower()
    except OSError as error:
        return ModelFileError(f"{path} cannot be read: {error}.", hint="Look at its permissions.")
    if not start:
        return ModelFileError(f"{path} is empty.", hint="Export or fetch it again.")
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    for at, magic, kind, cure in _KINDS:
        if start[at:].startswith(magic) or text.startswith(magic):
            return ModelFileError(f"{path} is not an ONNX model but {kind}.", hint=cure)
    return ModelFileError(
        f"{path} is not an ONNX model: {why}.",
        hint="Give a file that an exporter wrote as .onnx; a safetensors file is built into one "
        "with `python -m verify model`.",
    )
