"""From the provider's reason to what helps.

The reasons are the provider's own words (builders/impl/*.cc, base_op_builder.cc and helper.cc of
1.21.0). Advice is given only where it was measured or follows from the words themselves.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..program import as_called
from .axes import fix_words, to_give
from .elsewhere import of_operator, of_reason, otherwise
from .nodes import Shape

if TYPE_CHECKING:
    import onnx

_TYPE = re.compile(r"Input type: \[(\d+)\]")
_NUMBERS = {"2": "uint8", "3": "int8", "4": "uint16", "5": "int16", "6": "int32", "7": "int64",
            "9": "bool", "12": "uint32", "13": "uint64"}  # fmt: skip
_FLOAT, _HALF, _TEXT = "1", "10", "8"
_CAST_FROM = ("6", "7")
"""What a Cast of an MLProgram takes beside floats: where it is left, that is for what it makes."""
_OPSETS = re.compile(r"only supported for opset \[(\d+), (\d+)\]")
REWRITTEN = {
    "Abs": "Max of x and -x",
    "ConvTranspose": "ConvTranspose with pads of zero, cut by a Slice",
    "Flatten": "Reshape",
    "HardSigmoid": "Mul, Add and Clip",
    "HardSwish": "Mul, Add, Clip and Mul",
    "Mean": "Add and Mul",
    "Min": "Max of the negatives",
    "Neg": "Mul by -1",
    "Reciprocal": "Div",
    "ReduceL2": "Sqrt of a ReduceSum of squares",
    "ReduceSumSquare": "ReduceSum of squares",
    "Softsign": "Div by 1 and Max of x and -x",
    "Sum": "Add",
}
"""Operators that 1.21.0's provider does not take, or gets wrong, and how :mod:`.rewrite` spells
them."""
KNOWN_FAULTS = {
    "Reciprocal": "1.21.0's provider without our patch writes Reciprocal, and what divides by a "
    "root with it, with an epsilon of 1e-4: wrong where its input is small. `--rewrite` makes it a "
    "Div.",
    "ConvTranspose": "1.21.0's provider without our patch reads the pads of a ConvTranspose that "
    "has none, and may end the process: write pads of zero, as `--rewrite` does.",
    "Shape": "1.21.0's provider ends the session at a Shape whose `start` or `end` is not the "
    "place of an axis, such as the number of axes: fix the axes, and the Shape is folded away.",
    "Pow": "Pow of 2: on some devices Core ML's pow(2, 0) is 0 and not 1 (coremltools#2628): "
    "compare on a Mac, or write it as Exp.",
}
SHOWN_BY = {"Shape": "is not in valid range"}
"""Words of the failure without which a fault did not come to pass; it always ends the session."""
MENDED_BY = {
    "Reciprocal": "coreml-reciprocal",
    "ConvTranspose": "coreml-conv-transpose-without-pads",
}
"""The patch below ``recipes/patches`` with which a wheel has a fault no more."""
_CURES = (
    (
        r"Unsupported model IR version: (\d+), max supported IR version: (\d+)",
        "Set `model.ir_version = {1}` with onnx.load and onnx.save: a model that uses nothing of "
        "version {0} is then read; or take a newer onnxruntime.",
    ),
    (
        r"Opset (\d+) is under development.*is till opset (\d+)",
        "Export with opset {1} at most, or convert with onnx.version_converter.convert_version("
        "model, {1}); or take an onnxruntime that knows opset {0}.",
    ),
    (
        r"(\S+?)\(-?\d+\) is not a registered function/op",
        "{0} is an operator of a library of its own, which this wheel does not hold: export the "
        "model without it.",
    ),
    (
        r"implementation for (\S+?)\(([1-6])\) node",
        "{0} is of opset {1} here, and kernels begin with opset 7: convert the model with "
        "onnx.version_converter.convert_version(model, 13), or export it again.",
    ),
    (
        r"implementation for (\S+) node",
        "This onnxruntime has no kernel of {0} for these types: export the model in float32.",
    ),
    (
        r"Deserialize tensor (\S+) failed",
        "The file that holds {0} is not what the model says: cut off, or of another version. Fetch "
        "both again, from one place.",
    ),
    (
        r"Missing model IR version",
        "Set `model.ir_version = 8` with onnx.load and onnx.save; every exporter writes one.",
    ),
    (
        r"No Op registered for (\S+) with domain_version of (\d+)",
        "Opset {1}, which the model says it is of, has no {0}: export it with an opset that has, "
        "or with other operators.",
    ),
    (
        r"Op registered for (\S+) is deprecated in domain_version of (\d+)",
        "{0} left ONNX by opset {1}, which the model says it is of: export it again, or with a "
        "lower opset.",
    ),
    (
        r"MLDataType for: (\S+) is not",
        "This onnxruntime has no {0}: export the part of the model without it.",
    ),
    (
        r"Failed to construct locale with name:([\w.-]+?):",
        "The model wants the locale {0} for its text, which this machine lacks: install it "
        "(Debian: the package locales).",
    ),
    (
        r"ShapeInferenceError|cannot be reshaped to the requested shape",
        "A node does not fit the shapes of its inputs: give other sizes where axes were set, else "
        "export the model again.",
    ),
    (
        r"narrowing_error",
        "An axis is longer than Core ML's 32 bits can say: give it a smaller size.",
    ),
    (
        r"bad_alloc",
        "There is not enough memory for the tensors of this model: give smaller sizes, or take a "
        "machine with more.",
    ),
    (
        r"Invalid tensor data type",
        "A weight is of a type that this onnxruntime does not know: export it in float32.",
    ),
    (
        r"logged no GetCapability line",
        "Where a model's outputs are constants, every node is folded before a provider is asked, "
        "and none is needed.",
    ),
    (
        r"two nodes with same node name \((.*?)\)\.",
        "Several nodes are called {0}: give each a name of its own, `node.name = str(number)` for "
        "each of enumerate(model.graph.node), with onnx.load and onnx.save.",
    ),
    (
        r"Type Error:|Duplicate definition|[Ii]nvalid model",
        "The model itself is no valid ONNX, whatever its sizes: `onnx.checker.check_model(FILE, "
        "full_check=True)` says more. Export it again.",
    ),
    (
        r"Unable to get shape for output",
        "The provider needs the rank of that output, which follows from fixed axes: `{command}`.",
    ),
    (
        r"HandleNegativeAxis",
        "That is the provider's fault, not the model's: fix the axes with `{command}`, which folds "
        "the node away.",
    ),
    (
        r"killed by SIG",
        "The provider ended the process; leave that node to the CPU, or spell it otherwise: "
        "`{command} --rewrite` does where it can.",
    ),
    (r"was ended after", "The session took too long: ask about a smaller part of the model."),
    (
        r"Exception during initialization",
        "The runtime's own kernel refuses a node as it is written, whatever its inputs, and says "
        "what it takes: export it so.",
    ),
)
_NEVER_RUNS = (
    (
        r"running (\w+) node\. Name:'(.*?)'.*ValidateNoTransposeReduce",
        "No inputs help: this onnxruntime has no kernel for {0} with noop_with_empty_axes and no "
        "axes. By ONNX it gives its input: leave the node {1} out.",
    ),
    (
        r"running (\w+) node\. Name:'(.*?)'.*(?:NOT_IMPL|(?i:not implemented)|not supported)",
        "No inputs help: this onnxruntime does not carry out {0} as the node {1} has it. Write it "
        "otherwise.",
    ),
)
"""Refusals of a kernel that speak of the node, whatever it is given."""
_MODELS_OWN = (
    "ShapeInferenceError|cannot be reshaped to|Could not find an implementation|narrowing_er"
)
_SIZED = frozenset({"Slice", "Reshape", "Expand", "Resize", "Range", "ConstantOfShape", "Tile"})
"""Operators whose sizes are inputs: computed from a dynamic axis, they are no constants."""
_FROM_AXES = (
    "has no shape", "dimension values of 0", "only allow static input shapes", "static shape",
    "a known third from last", "to have fixed", "allowed to be dynamic",
    "with dynamic dimension", "into an axis of unknown size", "Invalid num_outputs provided",
    "Mismatch between the sum of 'split'",
)  # fmt: skip
_NEEDS_PROGRAM = {
    "a and b inputs must be 2D": "multiplies matrices of two dimensions only",
    "MatMul B input must be a constant": "multiplies by constant matrices only",
    "Cast's producing node is not ArgMax": "casts what ArgMax gives and nothing else",
    "[Erf]": "has no Erf",
    "[LayerNormalization]": "has no LayerNormalization",
}


def advise(
    op: str,
    reason: str,
    *,
    shapes: Sequence[Shape],
    axes: Sequence[str],
    model_format: str,
    inside: int = 0,
    overridable: bool = False,
) -> str:
    """Return one sentence that helps with a node left behind, or says that nothing is known to.

    Parameters
    ----------
    op : str
        Operator of the node.
    reason : str
        What the provider said.
    shapes : sequence of Shape
        Shapes of the node's inputs, as far as they are known.
    axes : sequence of str
        The dynamic axes of the model's inputs.
    model_format : {"NeuralNetwork", "MLProgram"}
        What the provider was asked to write.
    inside : int
        Nodes inside the node's subgraphs.
    overridable : bool
        Whether the model's weights are inputs of it too, which no runtime takes for constants.
    """
    count = f"{inside} nodes" if inside else "nodes"  # of a function's they are not counted
    if op == "If":
        return (
            f"The {count} inside stay on the CPU. An If whose condition is constant goes "
            f"away: where an input decides it, set that with `{_command(axes)} --set INPUT=VALUE`."
        )
    if op in ("Loop", "Scan"):
        return f"The {count} inside stay on the CPU: export the model with the loop unrolled."
    if sentence := of_operator(op):
        return sentence
    if "external" in reason:
        return (
            "The provider leaves weights in files beside the model to the CPU: write one file "
            f"with `{_command(axes)}`."
        )
    kind = _TYPE.search(reason)
    if kind and kind.group(1) == _HALF and model_format == "NeuralNetwork":
        return "NeuralNetwork holds no half precision: use ModelFormat=MLProgram."
    # These go away with the axis: their values are then constants.
    if axes and (op == "Shape" or (op in _SIZED and not reason)):
        return _about_axes(shapes, axes)
    if op in REWRITTEN and op not in KNOWN_FAULTS and not kind:
        return f"Spell it as {REWRITTEN[op]}: `{_command(axes)} --rewrite` does."
    if axes and any(words in reason for words in _FROM_AXES):
        return _about_axes(shapes, axes)
    if not reason:
        return f"This provider has no writer for {op}: spell it with other operators."
    taken = (_FLOAT, _HALF, *(_CAST_FROM if op == "Cast" and model_format == "MLProgram" else ()))
    if kind and kind.group(1) not in taken:
        return _about_numbers(op, kind.group(1))
    if opsets := _OPSETS.search(reason):
        return (
            f"It takes {op} of ONNX's opsets {opsets[1]} to {opsets[2]}: export the model with one "
            "of them, or try onnx.version_converter.convert_version(model, 13) and compare. Of "
            "com.microsoft's the unoptimised export has none."
        )
    if "does not support MLProgram" in reason:
        if op == "Gather":
            return (
                "This provider writes no Gather into an MLProgram: a look-up at the graph's entry "
                "stays on the CPU at no second partition; inside the graph use Slice or Split."
            )
        how = "write Concat with zeros" if op == "Pad" else "spell it with other operators"
        return f"This provider writes no {op} into an MLProgram: {how}."
    if overridable and "must be a constant" in reason:
        return (
            "Weights of this model are inputs of it too, and so no constants: "
            f"`{_command(axes)}` makes them such."
        )
    return _of_words(op, reason, shapes, axes, model_format)


def _of_words(
    op: str, reason: str, shapes: Sequence[Shape], axes: Sequence[str], model_format: str
) -> str:
    """Return what follows from the reason's own words, else from the axes that are dynamic."""
    if model_format == "NeuralNetwork":
        for words, why in _NEEDS_PROGRAM.items():
            if words in reason:
                return f"The NeuralNetwork writer {why}: use ModelFormat=MLProgram."
    if sentence := of_reason(reason):
        return sentence
    dynamic = any(isinstance(dim, str) for shape in shapes for dim in shape)
    computed = op in _SIZED or "constant" in reason or "initializer" in reason
    if axes and (dynamic or computed):
        return _about_axes(shapes, axes)
    return otherwise(op, reason, model_format, dynamic=dynamic)


def _about_numbers(op: str, kind: str) -> str:
    if kind == _TEXT:
        return "It works on text, which Core ML has not: do that before the model, or behind it."
    if kind not in _NUMBERS:
        return "It works on numbers that Core ML has not: export the model in float32."
    inner = "" if op == "Cast" else "; inside the graph put a Cast to float before it"
    return (
        f"It works on {_NUMBERS[kind]}: at the graph's entry it stays on the CPU at no second "
        f"partition{inner}."
    )


def _about_axes(shapes: Sequence[Shape], axes: Sequence[str]) -> str:
    """Name the axes to fix: the node's own, or all when its own have no name in the model."""
    own = {dim for shape in shapes for dim in shape if isinstance(dim, str)}
    named = [name for name in axes if name in own] if own and own <= set(axes) else list(axes)
    words = ", ".join(f"`{name}`" for name in named)
    return f"dynamic {'axis' if len(named) == 1 else 'axes'} {words}: fix with `{_command(axes)}`."


def _command(axes: Sequence[str]) -> str:
    """Return the command that fixes all axes; it refuses to leave one dynamic."""
    fixes = fix_words(to_give(axes, axes))
    return f"{as_called('python -m verify')} model --from-onnx FILE {fixes}".strip()


def cure(failure: str, *, axes: Sequence[str] = ()) -> str:
    """Return what helps with a model of which the runtime made no session; empty when unknown."""
    for words, sentence in _CURES:
        found = re.search(words, failure)
        if found:
            return sentence.format(*found.groups(), command=_command(axes))
    return ""


def never_runs(said: str) -> str:
    """Return what helps where a kernel refuses whatever it is given; empty where inputs may."""
    matches = ((re.search(words, said, re.DOTALL), hint) for words, hint in _NEVER_RUNS)
    return next((hint.format(*found.groups()) for found, hint in matches if found), "")


def models_own(said: str) -> bool:
    """Whether a failure's sentence speaks of the model itself, whichever provider met it."""
    return bool(re.search(_MODELS_OWN, said))


def patches_of(manifest: Mapping[str, Any] | None, wheel: str) -> frozenset[str]:
    """Return the names of the patches in a wheel, without their numbers; none where none is known.

    Parameters
    ----------
    manifest : Mapping, optional
        The manifest that lies beside the wheel.
    wheel : str
        The wheel's file name: the manifest may be another one's.
    """
    if manifest is None or manifest["wheel"]["file"] != wheel:
        return frozenset()
    files = (Path(entry["file"]).stem for entry in manifest.get("patches", ()))
    return frozenset(stem.lstrip("0123456789-") for stem in files)


def is_faulty(op: str, patches: Collection[str]) -> bool:
    """Whether the provider is known to take an operator and get it wrong, with these patches."""
    return op in KNOWN_FAULTS and MENDED_BY.get(op) not in patches


def node_faults(
    model: onnx.ModelProto,
    patches: Collection[str] = (),
    shapes: Mapping[str, Shape] = MappingProxyType({}),
) -> dict[str, str]:
    """Return, by operator, what is known to go wrong with nodes of this model on CoreML.

    ``shapes`` are those of the model's values, as far as they are known.
    """
    constants = {item.name: item for item in model.graph.initializer}
    for node in model.graph.node:
        for entry in node.attribute if node.op_type == "Constant" else ():
            if entry.name == "value":
                constants.update((name, entry.t) for name in node.output)
    found = {}
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            continue
        plain = node.op_type == "ConvTranspose" and lacks_pads(node)
        first = next(iter(node.input), "")  # a broken model may have none
        base = constants.get(first) if node.op_type == "Pow" else None
        if (
            node.op_type == "Reciprocal"
            or plain
            or (node.op_type == "Shape" and _is_refused(node, shapes.get(first)))
            or (base is not None and _is_two(base))
        ):
            found[node.op_type] = KNOWN_FAULTS[node.op_type]
    return {op: said for op, said in found.items() if is_faulty(op, patches)}


def _is_refused(node: onnx.NodeProto, shape: Shape | None) -> bool:
    """Whether the provider is asked about a Shape, and holds its `start` or `end` to be no axis.

    It allows from minus the number of axes to one below it, where ONNX takes any number. The shape
    of a static value is folded before anybody asks.
    """
    ends = [entry.i for entry in node.attribute if entry.name in ("start", "end")]
    if shape is None:
        return bool(ends)
    dynamic = any(isinstance(dim, str) for dim in shape)
    return dynamic and any(not -len(shape) <= end < len(shape) for end in ends)


def lacks_pads(node: onnx.NodeProto) -> bool:
    """Whether a node says nothing of its pads, neither by `pads` nor by `auto_pad`."""
    given = {entry.name: entry.s for entry in node.attribute}
    return "pads" not in given and given.get("auto_pad", b"NOTSET") == b"NOTSET"


def _is_two(tensor: onnx.TensorProto) -> bool:
    from onnx import numpy_helper

    if not math.prod(tensor.dims) or tensor.data_location == tensor.EXTERNAL:
        return False
    try:
        return bool((numpy_helper.to_array(tensor) == 2).all())
    except ValueError:  # damaged; the runtime says more
        return False
