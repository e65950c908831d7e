"""The sizes of a model's dynamic axes: given by name or by place, or computed from others.

An axis is called as the model calls it (``batch``), or by its input and its place there
(``pixels:2``); either names it in ``--fix``. Exporters also write expressions of other axes as a
name (``2*s1 + 1``): such an axis is computed where the others are given.
"""

from __future__ import annotations

import ast
import math
import operator
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ..errors import VerifyError
from .inference import inferred

if TYPE_CHECKING:
    import onnx


class DynamicAxes(VerifyError):
    """Axes that need a size; ``axes`` are those to give, as ``--fix`` takes them."""

    axes: tuple[str, ...] = ()


EVERY_UNNAMED = "?"
"""In ``--fix``: all axes without a name."""
LARGEST_SIZE = 2**31 - 1
_LARGEST_POWER = 8
_OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "ceiling": math.ceil,
    "min": min,
    "max": max,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
}


def size_of(dim: onnx.TensorShapeProto.Dimension) -> int | None:
    """Return an axis's size; ``None`` for a dynamic one, which old exporters write as -1 or 0."""
    return int(dim.dim_value) if dim.dim_value > 0 else None


def input_axes(item: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    """Return a size, a name, or ``input:place`` for each axis of an input.

    An input without a shape has an unknown number of axes: its first one stands for all.
    """
    kind = item.type.tensor_type
    if item.type.HasField("tensor_type") and not kind.HasField("shape"):
        return (f"{item.name}:0",)
    return tuple(
        size_of(dim) or dim.dim_param or f"{item.name}:{place}"
        for place, dim in enumerate(kind.shape.dim)
    )


def computed(name: str, sizes: Mapping[str, int]) -> int | None:
    """Return the size of an axis whose name is an expression, or ``None`` when it has none.

    Examples
    --------
    >>> computed("2*s1 + 1", {"s1": 4})
    9
    """
    try:
        value = _value(ast.parse(name.strip(), mode="eval").body, sizes)
    except (SyntaxError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
        return None
    whole = value == int(value) and 0 < value <= LARGEST_SIZE
    return int(value) if whole else None


def _value(node: ast.AST, sizes: Mapping[str, int]) -> Fraction:
    """Evaluate the few things that axes are made of; anything else raises LookupError."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return Fraction(node.value)
    if isinstance(node, ast.Name):
        return Fraction(sizes[node.id])
    if isinstance(node, ast.UnaryOp):
        return Fraction(_OPERATORS[type(node.op)](_value(node.operand, sizes)))
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, sizes), _value(node.right, sizes)
        if isinstance(node.op, ast.Pow) and right in range(_LARGEST_POWER + 1):
            return left ** int(right)
        return Fraction(_OPERATORS[type(node.op)](left, right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        given = [_value(argument, sizes) for argument in node.args]
        return Fraction(_FUNCTIONS[node.func.id.lower()](*given))
    raise LookupError(ast.dump(node))


def symbols(name: str) -> set[str]:
    """Return the names that an expression is made of; none for a plain name."""
    try:
        tree = ast.parse(name.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError):
        return set()
    if isinstance(tree, ast.Name):
        return set()
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called
    }


def to_give(missing: Sequence[str], axes: Sequence[str]) -> list[str]:
    """Return which of the missing axes must be given: not those that others of them will settle."""
    settled = {
        name for name in missing if symbols(name) <= {*axes} - {name} and symbols(name) & {*missing}
    }
    return [name for name in dict.fromkeys(missing) if name not in settled]


def fix_words(axes: Iterable[str]) -> str:
    """Return the options for these axes as a shell takes them; N stands for the size."""
    return " ".join(
        f"--fix={shlex.quote(f'{name}=N')}"
        if name.startswith("-")
        else f"--fix {shlex.quote(f'{name}=N')}"
        for name in axes
    )


def set_inputs(model: onnx.ModelProto, fixes: Mapping[str, int]) -> None:
    """Give every dynamic axis of the model's inputs its size.

    Raises
    ------
    VerifyError
        When something of ``fixes`` is not in the model, or an axis gets no size.
    """
    constants = {item.name for item in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in constants]
    axes = [axis for item in inputs for axis in input_axes(item) if isinstance(axis, str)]
    known = {*axes, *(part for axis in axes for part in symbols(axis))}
    missing: list[str] = []
    shapeless: list[str] = []
    used: set[str] = set()
    for item in inputs:
        if not item.type.HasField("tensor_type"):
            continue
        shape = item.type.tensor_type.shape
        if not item.type.tensor_type.HasField("shape"):
            shapeless.append(item.name)
            while f"{item.name}:{len(shape.dim)}" in fixes:
                shape.dim.add()
            if not shape.dim:
                missing.append(f"{item.name}:0")
        for place, dim in enumerate(shape.dim):
            if size_of(dim) is not None:
                continue
            position, name = f"{item.name}:{place}", dim.dim_param
            keys = [position, name] if name else [position, EVERY_UNNAMED]
            known.update(keys)
            key = next((key for key in keys if key in fixes), None)
            size = fixes[key] if key else computed(name, fixes)
            if key:
                used.add(key)
            if size is None:
                missing.append(name or position)
            else:
                dim.dim_value = size
    _refuse(fixes, known - {EVERY_UNNAMED} | used, axes)
    if missing:
        missing = to_give(missing, axes)
        more = "".join(
            f" {name} has no shape in the model: give every one of its axes, {name}:1 and so on."
            for name in shapeless
        )
        error = DynamicAxes(
            f"The dynamic axes {', '.join(missing)} would stay.",
            hint=f"Add {fix_words(missing)} (N is a size).{more}",
        )
        error.axes = tuple(missing)
        raise error


def _refuse(fixes: Mapping[str, int], known: set[str], axes: Sequence[str]) -> None:
    unknown = [name for name in fixes if name not in known]
    if unknown:
        listed = ", ".join(dict.fromkeys(axes))
        raise VerifyError(
            f"The model has no dynamic axis {unknown[0]}.",
            hint=f"It has: {listed}." if axes else "Its inputs are static already.",
        )


def set_outputs(model: onnx.ModelProto, fixes: Mapping[str, int]) -> None:
    """Give the outputs the shapes that follow from the inputs, as far as they can be inferred.

    What they declared was made for the dynamic axes, and may be wrong: several unnamed axes are
    seldom of one size. Where nothing is inferred, axes with a name that was given are set.
    """
    declared = {}
    for item in model.graph.output:
        kind = item.type.tensor_type
        if kind.HasField("shape") and not all(map(size_of, kind.shape.dim)):
            declared[item.name] = list(kind.shape.dim)
            kind.ClearField("shape")
    outputs = inferred(model, values=True).graph.output
    for item, found in zip(model.graph.output, outputs, strict=True):
        if not item.type.WhichOneof("value"):  # a shape alone would be a type without numbers
            item.type.CopyFrom(found.type)
            continue
        kind, shape = item.type.tensor_type, found.type.tensor_type.shape
        if found.type.tensor_type.HasField("shape") and all(map(size_of, shape.dim)):
            kind.shape.CopyFrom(shape)
        elif item.name in declared:
            for dim in declared[item.name]:
                size = size_of(dim) or fixes.get(dim.dim_param) or computed(dim.dim_param, fixes)
                added = kind.shape.dim.add()
                if size is not None:
                    added.dim_value = size
            kind.shape.SetInParent()
