"""Walk a program's operations on given inputs, in one of three arithmetics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from .closeness import is_scalar
from .half_precision import PESSIMISTIC, Lost, losses, rounded, squares_lost
from .program import NotEvaluated, Operation, Program, arguments, evaluable, run_operation

Mode = Literal["exact", "fp16", "fp16-accumulate"]
"""``exact``: single precision, no value rounded below it, so that what is left is the conversion.
``fp16``: weights, inputs and every result rounded to half. ``fp16-accumulate``: sums too."""
MOVING = frozenset(
    {
        "concat",
        "depth_to_space",
        "expand_dims",
        "identity",
        "reshape",
        "slice_by_index",
        "slice_by_size",
        "split",
        "squeeze",
        "transpose",
    }
)
"""Operations that only move values: what they give is rounded because what they got was."""
_BOUNDS = frozenset(
    {
        ("clip", "alpha"),
        ("clip", "beta"),
        *((kind, side) for kind in ("maximum", "minimum") for side in "xy"),
    }
)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Outputs by name, and what half precision lost."""

    outputs: Mapping[str, Any]
    lost: tuple[Lost, ...]
    first_nan: str = ""


@dataclass(frozen=True, kw_only=True)
class Departure:
    """The first operation whose result departs though its inputs do not.

    ``ranges`` maps each input to its lowest and highest value. ``suspects`` are the operations
    that cannot be told apart, because the reference has no value between them; the one named is
    the first of them that computes and does not only move values. ``nan_given`` is an input in
    which the reference itself has a NaN: what an operation makes of one is defined nowhere.
    """

    kind: str
    name: str
    max_abs: float
    ranges: Mapping[str, tuple[float, float]]
    suspects: tuple[str, ...] = ()
    nan_given: str = ""

    def sentence(self) -> str:
        """Return it as a line for a person."""
        inputs = ", ".join(
            f"{name} in [{low:.4g}, {high:.4g}]" for name, (low, high) in self.ranges.items()
        )
        text = f"{self.kind} {self.name} departs by {self.max_abs:.3g} ({inputs})"
        if len(self.suspects) > 1:
            text += f"; not told apart: {', '.join(self.suspects)}"
        return text


def unknown_operations(program: Program) -> dict[str, int]:
    """Return the kinds without semantics and how many operations of each there are."""
    return dict(
        Counter(
            entry.kind for entry in program.operations if not evaluable(entry.kind, entry.source)
        )
    )


def apply(operation: Operation, values: Mapping[str, Any], mode: Mode) -> tuple[Any, ...]:
    """Evaluate one operation without rounding its result."""
    pessimistic = PESSIMISTIC.get(operation.kind) if mode == "fp16-accumulate" else None
    if pessimistic is not None:
        with np.errstate(all="ignore"):
            return (pessimistic(arguments(operation, values)),)
    return run_operation(operation, values)


@dataclass(frozen=True, kw_only=True)
class Constants:
    """A program's constants as a mode sees them, with what rounding them lost."""

    values: Mapping[str, Any]
    lost: tuple[Lost, ...]


def constants_for(program: Program, mode: Mode) -> Constants:
    """Round the constants once; the same ones serve every evaluation in that mode."""
    if mode == "exact":
        return Constants(values=program.constants, lost=())
    values: dict[str, Any] = {}
    lost: list[Lost] = []
    bounds = _bounds(program)
    for name, value in program.constants.items():
        values[name] = value if isinstance(value, str) else rounded(value)
        if not isinstance(value, str) and name not in bounds:
            lost += losses(value, values[name], operation="constant", value=name)
    return Constants(values=values, lost=tuple(lost))


def _bounds(program: Program) -> set[str]:
    """Return the constants that only bound others: one that becomes infinite bounds nothing."""
    roles: dict[str, set[bool]] = {}
    for operation in program.operations:
        for argument, names in operation.inputs.items():
            bound = (operation.kind, argument) in _BOUNDS
            for name in names:
                roles.setdefault(name, set()).add(bound)
    return {name for name, found in roles.items() if found == {True}}


def evaluate(
    program: Program,
    inputs: Mapping[str, Any],
    mode: Mode = "exact",
    *,
    constants: Constants | None = None,
) -> Evaluation:
    """Evaluate a program on a value for each of its inputs, by their names there.

    ``constants`` is what :func:`constants_for` gave for this program and mode.

    Raises
    ------
    NotEvaluated
        At the first operation without semantics.
    """
    missing = [name for name in program.inputs if name not in inputs]
    if missing:
        raise NotEvaluated(f"no value for the inputs {', '.join(missing)}")
    ready = constants or constants_for(program, mode)
    lost = list(ready.lost)
    values = dict(ready.values)
    half = mode != "exact"
    for name in program.inputs:
        # Core ML's inputs have an axis: the provider writes a number as a list of one.
        values[name] = given = np.atleast_1d(_single(inputs[name]))
        if half:
            values[name] = rounded(given)
            lost += losses(given, values[name], operation="input", value=name)
    last_use = _last_uses(program)
    first_nan = ""
    for place, operation in enumerate(program.operations):
        for name, result in zip(operation.outputs, apply(operation, values, mode), strict=True):
            values[name] = result
            if half and operation.kind not in MOVING:
                values[name] = rounded(result)
                lost += losses(result, values[name], operation=operation.kind, value=name)
                if mode == "fp16-accumulate":
                    lost += _sum_lost(operation, values, values[name])
            if not first_nan and _has_nan(values[name]):
                first_nan = f"{operation.kind} {name}"
        for name in last_use.get(place, ()):
            values.pop(name, None)
    return Evaluation(
        outputs={name: values[name] for name in program.outputs},
        lost=tuple(lost),
        first_nan=first_nan,
    )


def _sum_lost(operation: Operation, values: Mapping[str, Any], result: Any) -> list[Lost]:
    """Return the overflow of a sum inside an operation whose inputs are finite."""
    finite = all(
        np.isfinite(np.asarray(values[name])).all()
        for name in operation.reads
        if np.asarray(values[name]).dtype.kind == "f"
    )
    if operation.kind not in PESSIMISTIC or not finite:
        return []
    if operation.kind == "layer_norm":
        with np.errstate(all="ignore"):
            return squares_lost(arguments(operation, values), operation.outputs[0])
    if np.isfinite(result).all():
        return []
    (whole,) = run_operation(operation, values)
    infinite = np.where(np.isfinite(result), result, np.copysign(np.inf, whole))
    return losses(
        whole, infinite, operation=f"the sum inside {operation.kind}", value=operation.outputs[0]
    )


def first_departure(
    program: Program,
    reference: Mapping[str, Any],
    *,
    tolerance: float = 1e-5,
    scale_least: float = 1.0,
) -> Departure | None:
    """Return the first operation that departs when it is fed with the reference's own values.

    Each operation gets the reference's values where there are any, so that an error does not
    travel: what departs is the culprit and not one that it fed. ``tolerance`` is relative to the
    largest element of the reference's value, or to ``scale_least`` where that is smaller.
    """
    values: dict[str, Any] = {**program.constants}
    values.update({name: _single(value) for name, value in reference.items()})
    known = set(reference)
    unproven: dict[str, tuple[Operation, ...]] = {}
    for operation in program.operations:
        before = [entry for name in operation.reads for entry in unproven.get(name, ())]
        chain = (*dict.fromkeys(before), operation)
        results = apply(operation, values, "exact")
        for name, result in zip(operation.outputs, results, strict=True):
            if name not in known:
                values[name] = result
                unproven[name] = chain
                continue
            worst = _distance(result, values[name])
            scale = max(scale_least, float(np.abs(values[name]).max(initial=0.0)))
            if not worst <= tolerance * scale:
                given = (each for entry in chain for each in entry.reads if each in known)
                nan = next((each for each in given if _has_nan(values[each])), "")
                return replace(_departure(chain, values, worst), nan_given=nan)
    return None


def _departure(chain: tuple[Operation, ...], values: Mapping[str, Any], worst: float) -> Departure:
    named = next((entry for entry in chain if entry.kind not in MOVING), chain[-1])
    return Departure(
        kind=named.kind,
        name=named.name,
        max_abs=worst,
        ranges={
            name: (float(np.min(values[name])), float(np.max(values[name])))
            for name in named.reads
            if np.asarray(values[name]).dtype.kind in "fi" and np.asarray(values[name]).size
        },
        suspects=tuple(f"{entry.kind} {entry.name}" for entry in chain),
    )


def _distance(found: Any, wanted: Any) -> float:
    if np.shape(found) != np.shape(wanted) and not is_scalar(found, wanted):
        return float("inf")
    if not np.size(found):
        return 0.0
    one, other = (np.atleast_1d(np.asarray(value, dtype=np.float64)) for value in (found, wanted))
    same = (one == other) | (np.isnan(one) & np.isnan(other))  # infinities and NaN agree too
    with np.errstate(invalid="ignore"):
        gap = np.where(same, 0.0, np.abs(one - other))
    return float(np.where(np.isnan(gap), np.inf, gap).max())


def _last_uses(program: Program) -> dict[int, list[str]]:
    """Return, for each operation's place, the intermediate values that nothing reads later."""
    made = {name for operation in program.operations for name in operation.outputs}
    last = {
        name: place
        for place, operation in enumerate(program.operations)
        for name in operation.reads
        if name in made and name not in program.outputs
    }
    places: dict[int, list[str]] = {}
    for name, place in last.items():
        places.setdefault(place, []).append(name)
    return places


def _single(value: Any) -> Any:
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    return array.astype(np.int32) if array.dtype == np.int64 else array


def _has_nan(value: Any) -> bool:
    array = np.asarray(value)
    return array.dtype.kind == "f" and bool(np.isnan(array).any())
