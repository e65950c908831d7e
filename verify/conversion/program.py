"""A package's program as a list of operations that numpy can evaluate one by one.

coremltools loads the program. Each operation there has ``value_inference``, which coremltools uses
to fold constants: it reads ``.val`` of the operation's inputs. :func:`run_operation` puts our
arrays where those are read from, so the semantics are coremltools' own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .package import Package, quiet

Array = NDArray[Any]


class NotEvaluated(Exception):
    """An operation that neither coremltools nor this package can evaluate."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Operation:
    """One operation: its kind, name, and the names of what it reads and writes.

    ``inputs`` maps an argument to value names; ``source`` is coremltools' operation.
    """

    kind: str
    name: str
    inputs: Mapping[str, tuple[str, ...]]
    outputs: tuple[str, ...]
    source: Any = field(repr=False, compare=False)

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of all values that the operation reads, in order."""
        return tuple(name for names in self.inputs.values() for name in names)


@dataclass(frozen=True, kw_only=True)
class Program:
    """Operations in order, with the constants as float32 or integers by name."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]
    constants: Mapping[str, Any]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of operations in it, sorted."""
        return tuple(sorted({operation.kind for operation in self.operations}))


class _Slot:
    """What ``Var.val`` reads a value from."""

    def __init__(self, val: Any) -> None:
        self.val = val


def load_program(package: Package, version: int | None = None) -> Program:
    """Load the program with coremltools, by its own specification or by another ``version`` of it.

    Raises
    ------
    Exception
        Whatever coremltools raises for a program that is not well formed.
    """
    quiet()
    from coremltools.converters.mil.frontend.milproto.load import load

    wanted = version or package.model.specificationVersion
    with _as_the_provider_writes():
        loaded = load(
            package.model,
            wanted,
            file_weights_dir=str(package.weights or ""),
            force_spec_version=True,
        )
    return from_function(loaded.functions["main"])


@contextmanager
def _as_the_provider_writes() -> Iterator[None]:
    """Let coremltools read what the provider writes and numpy 2.4 holds.

    It folds reductions of constants, with a numpy.bool that numpy takes for no bool; and a scalar
    result is declared ``[1]`` by the provider, since Core ML has no output without axes.
    """
    from coremltools.converters.mil.mil import types
    from coremltools.converters.mil.mil.ops.defs.iOS15.reduction import ReductionAxes

    folding, compatible = ReductionAxes.value_inference, types.is_compatible_type

    def compatible_or_scalar(found: Any, declared: Any) -> bool:
        if types.is_scalar(found) and types.is_tensor(declared):
            single = tuple(declared.get_shape()) == (1,)
            return bool(single and declared.get_primitive() == found)
        return bool(compatible(found, declared))

    ReductionAxes.value_inference = lambda self: None
    types.is_compatible_type = compatible_or_scalar
    try:
        yield
    finally:
        ReductionAxes.value_inference = folding
        types.is_compatible_type = compatible


def from_function(function: Any) -> Program:
    """Turn coremltools' function into a :class:`Program`."""
    constants: dict[str, Any] = {}
    operations: list[Operation] = []
    for op in function.operations:
        if op.op_type == "const":
            constants[op.outputs[0].name] = _widened(op.outputs[0].val)
            continue
        operations.append(
            Operation(
                kind=op.op_type,
                name=op.outputs[0].name,
                inputs={
                    key: tuple(var.name for var in _listed(value))
                    for key, value in op.inputs.items()
                    if value is not None
                },
                outputs=tuple(var.name for var in op.outputs),
                source=op,
            )
        )
    return Program(
        inputs=tuple(function.inputs),
        outputs=tuple(var.name for var in function.outputs),
        operations=tuple(operations),
        constants=constants,
    )


def same_but_names(one: Program, two: Program) -> bool:
    """Whether two programs differ in the names of their values alone."""
    if len(one.inputs) != len(two.inputs) or len(one.operations) != len(two.operations):
        return False
    known = dict(zip(one.inputs, two.inputs, strict=True))
    for before, after in zip(one.operations, two.operations, strict=True):
        arguments_before = {key: len(names) for key, names in before.inputs.items()}
        arguments_after = {key: len(names) for key, names in after.inputs.items()}
        if before.kind != after.kind or arguments_before != arguments_after:
            return False
        for key, names in before.inputs.items():
            for first, second in zip(names, after.inputs[key], strict=True):
                if first in one.constants:
                    same = second in two.constants and _equal(
                        one.constants[first], two.constants[second]
                    )
                else:
                    same = known.get(first) == second
                if not same:
                    return False
        known.update(zip(before.outputs, after.outputs, strict=True))
    return [known.get(name) for name in one.outputs] == list(two.outputs)


def _equal(one: Any, two: Any) -> bool:
    first, second = np.asarray(one), np.asarray(two)
    return first.dtype == second.dtype and np.array_equal(
        first, second, equal_nan=first.dtype.kind == "f"
    )


def evaluable(kind: str, source: Any) -> bool:
    """Whether coremltools or :mod:`verify.conversion.evaluators` has semantics for it."""
    from coremltools.converters.mil.mil import Operation as Base

    from .evaluators import OWN

    return kind in OWN or type(source).value_inference is not Base.value_inference


def run_operation(operation: Operation, values: Mapping[str, Any]) -> tuple[Array, ...]:
    """Evaluate one operation on ``values`` (by name) and return its outputs in single precision.

    Raises
    ------
    NotEvaluated
        When there are no semantics for it, or coremltools' refuse these inputs.
    """
    from .evaluators import OWN

    own: Callable[[Mapping[str, Any]], Any] | None = OWN.get(operation.kind)
    try:
        with np.errstate(all="ignore"):
            if own is not None:
                answer = own(arguments(operation, values))
            else:
                answer = _coremltools(operation.source, values)
    except Exception as error:
        # numpy's words for arguments that do not fit each other come in every class.
        raise NotEvaluated(f"{operation.kind} {operation.name}: {error}") from error
    if answer is None:
        raise NotEvaluated(f"{operation.kind} {operation.name}: coremltools gives no value")
    several = answer if isinstance(answer, (tuple, list)) else (answer,)
    return tuple(
        _typed(part, var) for part, var in zip(several, operation.source.outputs, strict=True)
    )


def _coremltools(source: Any, values: Mapping[str, Any]) -> Any:
    """Ask coremltools' operation for its value on our arrays."""
    variables = [var for value in source.inputs.values() for var in _listed(value)]
    for var in variables:
        value = values[var.name]
        # coremltools asks numpy with them, and numpy 2.4 takes no numpy.bool for a bool.
        var._sym_val = _Slot(bool(value) if isinstance(value, np.bool_) else value)
    try:
        return source.value_inference()
    finally:
        for var in variables:
            var._sym_val = _Slot(None)


def arguments(operation: Operation, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the operation's arguments by name: a value, or a list where it takes several."""
    found: dict[str, Any] = {}
    for key, given in operation.source.inputs.items():
        if given is None:
            found[key] = None
        elif isinstance(given, (tuple, list)):
            found[key] = [values[var.name] for var in given]
        else:
            found[key] = values[given.name]
    return found


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (tuple, list)) else [value]


def _widened(value: Any) -> Any:
    """Return half precision as single; everything else as it is."""
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype == np.float16:
        return value.astype(np.float32)
    return value


def _typed(value: Any, var: Any) -> Array:
    """Return a result with the kind of its declared type, floats always in single precision."""
    from coremltools.converters.mil.mil import types

    declared = np.dtype(types.nptype_from_builtin(var.dtype))
    array = np.asarray(value)
    with np.errstate(all="ignore"):
        return array.astype(np.float32 if declared.kind == "f" else declared, copy=False)
