"""From the provider's reason to what helps.

The reasons are the provider's own words (builders/impl/*.cc, base_op_builder.cc and helper.cc of
1.21.0). Advice is given only where it was measured or follows from the words themselves.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..program import as_called
from .nodes import UNKNOWN, Shape

_TYPE = re.compile(r"Input type: \[(\d+)\]")
_INTEGERS = {"6": "int32", "7": "int64"}
_HALF = "10"
_SPELLED = {"ReduceL2": "Sqrt of a ReduceSum of squares"}
_SIZED = frozenset({"Slice", "Reshape", "Expand", "Resize", "Range", "ConstantOfShape", "Tile"})
"""Operators whose sizes are inputs: computed from a dynamic axis, they are no constants."""
_NEEDS_PROGRAM = {
    "a and b inputs must be 2D": "multiplies matrices of two dimensions only",
    "MatMul B input must be a constant": "multiplies by constant matrices only",
    "Cast's producing node is not ArgMax": "casts what ArgMax gives and nothing else",
    "[Erf]": "has no Erf",
    "[LayerNormalization]": "has no LayerNormalization",
}


def advise(
    op: str, reason: str, *, shapes: Sequence[Shape], axes: Sequence[str], model_format: str
) -> str:
    """Return one sentence that helps with a node left behind, or an empty string.

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
    """
    kind = _TYPE.search(reason)
    if kind and kind.group(1) == _HALF and model_format == "NeuralNetwork":
        return "NeuralNetwork holds no half precision: use ModelFormat=MLProgram."
    if axes and op == "Shape":  # goes away with the axis: its value is then a constant
        return _about_axes(shapes, axes)
    if not reason:
        instead = _SPELLED.get(op, "other operators")
        return f"This provider has no writer for {op}: spell it with {instead}."
    if kind and kind.group(1) in _INTEGERS:
        return (
            f"It works on {_INTEGERS[kind.group(1)]}: at the graph's entry it stays on the CPU at "
            "no second partition; inside the graph put a Cast to float before it."
        )
    if "does not support MLProgram" in reason:
        if op == "Gather":
            return (
                "This provider writes no Gather into an MLProgram: a look-up at the graph's entry "
                "stays on the CPU at no second partition; inside the graph use Slice or Split."
            )
        return f"This provider writes no {op} into an MLProgram: spell it with other operators."
    if "Cast has no preceding nodes" in reason:
        return "A Cast at the graph's entry stays on the CPU, at no second partition."
    if "dim > 16384" in reason:
        return (
            "Core ML takes no axis over 16384: a look-up table of this size stays on the CPU; "
            "keep it at the graph's entry."
        )
    if model_format == "NeuralNetwork":
        for words, why in _NEEDS_PROGRAM.items():
            if words in reason:
                return f"The NeuralNetwork writer {why}: use ModelFormat=MLProgram."
    dynamic = any(isinstance(dim, str) for shape in shapes for dim in shape)
    computed = op in _SIZED or "constant" in reason or "initializer" in reason
    return _about_axes(shapes, axes) if axes and (dynamic or computed) else ""


def _about_axes(shapes: Sequence[Shape], axes: Sequence[str]) -> str:
    """Name the axes to fix: the node's own, or all when its own have no name in the model."""
    own = {dim for shape in shapes for dim in shape if isinstance(dim, str)}
    named = [name for name in axes if name in own] if own and own <= set(axes) else list(axes)
    words = ", ".join(f"`{name}`" for name in named)
    fixes = "".join(f" --fix {name}=N" for name in named if name != UNKNOWN)
    return (
        f"dynamic {'axis' if len(named) == 1 else 'axes'} {words}: fix with "
        f"`{as_called('python -m verify')} model --from-onnx FILE{fixes}`."
    )
