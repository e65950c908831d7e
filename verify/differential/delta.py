"""How far two values are apart: bit by bit first, then in units in the last place.

What must be equal exactly, whatever the tolerance: types, shapes, integers, booleans, strings,
where NaN is, where each infinity is, and the sign of a zero that is zero on both sides.
The payload and the sign of a NaN are not compared (IEEE 754-2019, 6.2.3 and 6.3, leave both open).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .values import STRING, Absent, Items, Tensor, Value, from_array, numbers, storage_array

Status = Literal["identical", "within", "differs"]


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """What one floating type may differ by: either limit is enough, element by element.

    Parameters
    ----------
    ulp : int
        Representable numbers between the two.
    relative : float
        ``|a - b| / max(|a|, |b|)``.
    """

    ulp: int
    relative: float


#: A compiler may order a sum or fuse a multiplication differently; more than this is another
#: algorithm. Types that are not named here allow nothing.
TOLERANCES: Mapping[str, Tolerance] = {
    "float": Tolerance(ulp=4, relative=1e-6),
    "double": Tolerance(ulp=4, relative=1e-14),
    "float16": Tolerance(ulp=1, relative=0.0),
    "bfloat16": Tolerance(ulp=1, relative=0.0),
    "complex64": Tolerance(ulp=4, relative=1e-6),
    "complex128": Tolerance(ulp=4, relative=1e-14),
}
_NUMBERS = ("elements", "unequal", "max_ulp", "max_abs", "max_rel", "scale")
_EXACT = Tolerance(ulp=0, relative=0.0)
_COMPLEX_PARTS = {"complex64": np.float32, "complex128": np.float64}


@dataclass(frozen=True, kw_only=True)
class Delta:
    """What the comparison of two values found.

    Parameters
    ----------
    status : {"identical", "within", "differs"}
        ``identical`` means the same bits everywhere but in the payloads of NaN.
    reason : str
        Why it is not identical.
    elements : int
        Elements compared.
    unequal : int
        Elements with other bits.
    max_ulp : int
        Largest distance in units in the last place, over finite elements.
    max_abs, max_rel : float
        Largest absolute and relative distance over finite elements.
    scale : float
        The largest finite magnitude among the official values: what ``max_abs`` is to be compared
        with where values cancel.
    """

    status: Status
    reason: str = ""
    elements: int = 0
    unequal: int = 0
    max_ulp: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    scale: float = 0.0

    def numbers(self) -> dict[str, Any]:
        """Return the measured distances as a JSON object."""
        return {name: value for name, value in asdict(self).items() if name in _NUMBERS}


def compare_values(
    official: Value, candidate: Value, *, tolerances: Mapping[str, Tolerance] = TOLERANCES
) -> Delta:
    """Compare two values, by tolerances of element type names; for sequences, the worst item.

    A type that is missing must be equal in every bit. The counts of a sequence's items add up.
    """
    if isinstance(official, Tensor) and isinstance(candidate, Tensor):
        return _tensors(official, candidate, tolerances)
    if isinstance(official, Absent) and isinstance(candidate, Absent):
        return Delta(status="identical")
    if isinstance(official, Items) and isinstance(candidate, Items):
        if len(official.items) != len(candidate.items):
            return _differs(
                f"{len(candidate.items)} items in the sequence, officially {len(official.items)}"
            )
        return worst_of(
            [
                compare_values(left, right, tolerances=tolerances)
                for left, right in zip(official.items, candidate.items, strict=True)
            ]
        )
    left, right = type(official).__name__.lower(), type(candidate).__name__.lower()
    return _differs(f"a value of another kind: {right}, officially {left}")


def worst_of(deltas: list[Delta]) -> Delta:
    """Join deltas: the worst status with its reason, largest distances, counts added up."""
    if not deltas:
        return Delta(status="identical")
    rank = {"identical": 0, "within": 1, "differs": 2}
    worst = max(deltas, key=lambda delta: rank[delta.status])
    return Delta(
        status=worst.status,
        reason=worst.reason,
        elements=sum(delta.elements for delta in deltas),
        unequal=sum(delta.unequal for delta in deltas),
        max_ulp=max(delta.max_ulp for delta in deltas),
        max_abs=max(delta.max_abs for delta in deltas),
        max_rel=max(delta.max_rel for delta in deltas),
        scale=max(delta.scale for delta in deltas),
    )


def _differs(reason: str, *, elements: int = 0, unequal: int = 0) -> Delta:
    return Delta(status="differs", reason=reason, elements=elements, unequal=unequal)


def _tensors(official: Tensor, candidate: Tensor, tolerances: Mapping[str, Tolerance]) -> Delta:
    if official.element != candidate.element:
        return _differs(f"type {candidate.type.name}, officially {official.type.name}")
    if official.shape != candidate.shape:
        return _differs(f"shape {list(candidate.shape)}, officially {list(official.shape)}")
    size = official.size
    if official.element == STRING:
        pairs = zip(official.strings, candidate.strings, strict=True)
        other = [(left, right) for left, right in pairs if left != right]
        if not other:
            return Delta(status="identical", elements=size)
        left, right = other[0]
        reason = f"string {right!r}, officially {left!r}"
        return _differs(reason, elements=size, unequal=len(other))
    if official.data == candidate.data:
        return Delta(status="identical", elements=size)
    tolerance = tolerances.get(official.type.name, _EXACT)
    if official.type.kind == "float":
        return _floats(official, candidate, tolerance)
    if official.type.kind == "complex":
        part = _COMPLEX_PARTS[official.type.name]
        return _floats(
            from_array(np.frombuffer(official.data, part)),
            from_array(np.frombuffer(candidate.data, part)),
            tolerance,
        )
    meant, found = numbers(official).ravel(), numbers(candidate).ravel()
    where = np.flatnonzero(meant != found)
    # Two booleans can hold different bytes that mean the same; only the meaning is compared.
    if where.size == 0:
        return Delta(status="identical", elements=size)
    first = int(where[0])
    reason = f"{candidate.type.name} {found[first]} at {first}, officially {meant[first]}"
    return _differs(reason, elements=size, unequal=int(where.size))


def ulp_distance(left: Tensor, right: Tensor) -> NDArray[np.uint64]:
    """Representable numbers between two float tensors of one type, element by element.

    The bits of a float without its sign, read as an integer, count the representable numbers from
    zero; across zero the two counts add up (-0 and +0 are the same place). NaN gives no
    meaningful number.
    """
    bits = left.type.bits
    sign = np.uint64(1 << (bits - 1))
    unsigned = np.dtype(f"u{bits // 8}")
    a = storage_array(left).view(unsigned).ravel().astype(np.uint64)
    b = storage_array(right).view(unsigned).ravel().astype(np.uint64)
    a_size, b_size = a & ~sign, b & ~sign
    apart = np.maximum(a_size, b_size) - np.minimum(a_size, b_size)
    distance: NDArray[np.uint64] = np.where((a ^ b) & sign, a_size + b_size, apart)
    return distance


def _first(mask: NDArray[np.bool_], official: Any, candidate: Any, what: str) -> str:
    position = int(np.flatnonzero(mask)[0])
    return (
        f"{what} at {int(mask.sum())} of {mask.size} elements, first at {position}: "
        f"{candidate[position]}, officially {official[position]}"
    )


def _floats(official: Tensor, candidate: Tensor, tolerance: Tolerance) -> Delta:
    left, right = numbers(official).ravel(), numbers(candidate).ravel()
    ulp = ulp_distance(official, candidate)
    both_nan = np.isnan(left) & np.isnan(right)
    zeros = (left == 0) & (right == 0) & (np.signbit(left) != np.signbit(right))
    unequal = int((~both_nan & ((ulp != 0) | zeros)).sum())
    if unequal == 0:
        return Delta(status="identical", elements=left.size)
    for mask, what in (
        (np.isnan(left) != np.isnan(right), "NaN"),
        (~both_nan & (_infinity(left) != _infinity(right)), "infinity"),
        (zeros, "sign of zero"),
    ):
        if mask.any():
            reason = _first(mask, left, right, what)
            return _differs(reason, elements=left.size, unequal=unequal)
    finite = np.isfinite(left)
    with np.errstate(all="ignore"):
        wide_left, wide_right = left.astype(np.float64), right.astype(np.float64)
        distance = np.where(finite, np.abs(wide_left - wide_right), 0.0)
        size = np.maximum(np.abs(wide_left), np.abs(wide_right))
        relative = np.where(distance > 0, distance / np.where(size > 0, size, 1.0), 0.0)
    ulp = np.where(finite, ulp, np.uint64(0))
    beyond = (ulp > tolerance.ulp) & (relative > tolerance.relative)
    reason = (
        _first(beyond, left, right, f"beyond {tolerance.ulp} ULP")
        if beyond.any()
        else f"{unequal} of {left.size} elements within {int(ulp.max())} ULP"
    )
    return Delta(
        status="differs" if beyond.any() else "within",
        reason=reason,
        elements=left.size,
        unequal=unequal,
        max_ulp=int(ulp.max()),
        max_abs=float(distance.max()),
        max_rel=float(relative.max()),
        scale=float(np.abs(np.where(finite, wide_left, 0.0)).max()),
    )


def _infinity(values: Any) -> NDArray[np.int8]:
    sign: NDArray[np.int8] = np.where(np.isinf(values), np.sign(values), 0).astype(np.int8)
    return sign
