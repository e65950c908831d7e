"""Half precision in numpy: rounding, what it loses, and sums that are kept in it.

Half precision (IEEE 754 binary16) ends at 65504 and below 2**-24 (6e-8) there is only zero. The
Neural Engine computes in it: Apple's guide to typed execution keeps programs of float32 on the GPU
and the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .evaluators import avg_pool, conv, conv_transpose

Array = NDArray[Any]
Loss = Literal["overflow", "underflow"]
CHUNK = 32
"""Products that are summed in one go before the sum is rounded, in the pessimistic mode."""


@dataclass(frozen=True, kw_only=True)
class Lost:
    """What rounding to half destroyed in one value.

    ``share`` is the part of the elements; ``lowest`` and ``highest`` the range before rounding.
    """

    kind: Loss
    operation: str
    value: str
    share: float
    lowest: float
    highest: float

    def sentence(self) -> str:
        """Return it as a line for a person."""
        what = "overflows to infinity" if self.kind == "overflow" else "underflows to zero"
        return (
            f"{self.operation} {self.value} {what} in half precision "
            f"({self.share:.1%} of its elements, range {self.lowest:.4g} to {self.highest:.4g})"
        )


def rounded(value: Any) -> Any:
    """Return floats rounded to half and kept in single precision; other values as they are.

    To nearest, ties to even, as ``astype(float16)`` does, in a third of its time: 13 bits are
    rounded off the significand of a normal number, a subnormal one is rounded to multiples of
    2**-24, which is the distance of single precision numbers next to 0.75.
    """
    array = np.asarray(value)
    if array.dtype.kind != "f":
        return value
    single = np.ascontiguousarray(array, dtype=np.float32)
    bits = single.view(np.uint32)
    kept = (bits >> np.uint32(13)) & np.uint32(1)
    kept += bits
    kept += np.uint32(0xFFF)
    kept &= np.uint32(0xFFFFE000)
    result = kept.view(np.float32)
    size = np.abs(single)
    with np.errstate(all="ignore"):
        small = size < np.float32(2.0**-14)
        if small.any():
            tiny = single[small]
            result[small] = np.copysign((tiny + np.float32(0.75)) - np.float32(0.75), tiny)
        large = ~(size < np.float32(65520))  # infinite, NaN, or rounded up to infinity
        if large.any():
            result[large] = single[large].astype(np.float16)
    return result.reshape(array.shape)


def losses(before: Any, after: Any, *, operation: str, value: str) -> list[Lost]:
    """Return what rounding ``before`` to ``after`` lost, at most one of each kind."""
    full, half = np.asarray(before), np.asarray(after)
    if full.dtype.kind != "f" or not full.size:
        return []
    if np.count_nonzero(half) == np.count_nonzero(full) and np.isfinite(half).all():
        return []
    found: list[Lost] = []
    checks: tuple[tuple[Loss, Array], ...] = (
        ("overflow", np.isfinite(full) & np.isinf(half)),
        ("underflow", (full != 0) & (half == 0)),
    )
    for kind, hit in checks:
        count = int(np.count_nonzero(hit))
        if count:
            found.append(
                Lost(
                    kind=kind,
                    operation=operation,
                    value=value,
                    share=count / full.size,
                    lowest=float(np.nanmin(full)),
                    highest=float(np.nanmax(full)),
                )
            )
    return found


def half_sum(x: Array, axis: int | tuple[int, ...], *, chunk: int = CHUNK) -> Array:
    """Sum over axes, rounding the running sum to half after each ``chunk`` elements; keeps dims."""
    axes = (axis,) if isinstance(axis, int) else axis
    axes = tuple(sorted(entry % x.ndim for entry in axes))
    last = np.moveaxis(x, axes, range(-len(axes), 0))
    shape = last.shape[: x.ndim - len(axes)]
    flat = last.reshape(*shape, -1)
    total = np.zeros(shape, dtype=np.float32)
    for start in range(0, flat.shape[-1], chunk):
        part = rounded(flat[..., start : start + chunk].sum(axis=-1, dtype=np.float32))
        total = rounded(total + part)
    return np.expand_dims(total, axes)


def half_matmul(x: Array, y: Array, *, chunk: int = CHUNK) -> Array:
    """Matrix product whose running sum is rounded to half after each ``chunk`` products."""
    total: Any = np.float32(0)
    for start in range(0, x.shape[-1], chunk):
        part = np.matmul(x[..., start : start + chunk], y[..., start : start + chunk, :])
        total = rounded(total + rounded(part))
    return np.asarray(total)


def _matmul(given: Mapping[str, Any]) -> Array:
    x, y = np.asarray(given["x"]), np.asarray(given["y"])
    x = np.swapaxes(x, -1, -2) if given.get("transpose_x") else x
    y = np.swapaxes(y, -1, -2) if given.get("transpose_y") else y
    if min(x.ndim, y.ndim) < 2:
        return np.asarray(np.matmul(x, y))
    return half_matmul(x, y)


def _linear(given: Mapping[str, Any]) -> Array:
    result = half_matmul(np.asarray(given["x"]), np.asarray(given["weight"]).T)
    bias = given.get("bias")
    return result if bias is None else np.asarray(result + bias)


def _softmax(given: Mapping[str, Any]) -> Array:
    x, axis = np.asarray(given["x"]), int(given["axis"])
    powers = rounded(np.exp(rounded(x - x.max(axis=axis, keepdims=True))))
    return np.asarray(powers / half_sum(powers, axis))


def _squares(given: Mapping[str, Any]) -> tuple[Array, Array, tuple[int, ...], int]:
    """Return a norm's distances from the mean, the half sum of their squares, axes and count."""
    x = np.asarray(given["x"])
    axes = given.get("axes")
    chosen = tuple(range(x.ndim)) if axes is None else tuple(int(axis) % x.ndim for axis in axes)
    count = int(np.prod([x.shape[axis] for axis in chosen]))
    apart = rounded(x - rounded(half_sum(x, chosen) / count))
    return apart, half_sum(rounded(np.square(apart)), chosen), chosen, count


def squares_lost(given: Mapping[str, Any], value: str) -> list[Lost]:
    """Return the overflow of a layer norm's squares, which its result hides.

    Divided by an infinite deviation everything is zero, so the norm returns its bias: finite,
    and wrong.
    """
    apart, half, chosen, _ = _squares(given)
    whole = np.square(apart, dtype=np.float64).sum(axis=chosen, keepdims=True)
    found = losses(whole, half, operation="the sum of squares inside layer_norm", value=value)
    return [entry for entry in found if entry.kind == "overflow"]


def _layer_norm(given: Mapping[str, Any]) -> Array:
    x = np.asarray(given["x"])
    apart, squares, chosen, count = _squares(given)
    variance = rounded(squares / count)
    result = rounded(apart / rounded(np.sqrt(rounded(variance + given["epsilon"]))))
    shape = [x.shape[axis] if axis in chosen else 1 for axis in range(x.ndim)]
    if given.get("gamma") is not None:
        result = rounded(result * np.reshape(given["gamma"], shape))
    if given.get("beta") is not None:
        result = result + np.reshape(given["beta"], shape)
    return np.asarray(result)


def _reduce(mean: bool) -> Callable[[Mapping[str, Any]], Array]:
    def reduce(given: Mapping[str, Any]) -> Array:
        x = np.asarray(given["x"])
        axes = given.get("axes")
        chosen = tuple(range(x.ndim)) if axes is None else tuple(int(a) % x.ndim for a in axes)
        total = half_sum(x, chosen)
        if mean:
            total = total / int(np.prod([x.shape[axis] for axis in chosen]))
        return total if given.get("keep_dims") else np.squeeze(total, axis=chosen)

    return reduce


def _conv(given: Mapping[str, Any]) -> Array:
    return conv(given, half_matmul)


def _conv_transpose(given: Mapping[str, Any]) -> Array:
    return conv_transpose(given, half_matmul)


def _avg_pool(given: Mapping[str, Any]) -> Array:
    return avg_pool(given, lambda x, axes: np.squeeze(half_sum(x, axes), axis=axes))


PESSIMISTIC: Mapping[str, Callable[[Mapping[str, Any]], Array]] = MappingProxyType(
    {
        "avg_pool": _avg_pool,
        "conv": _conv,
        "conv_transpose": _conv_transpose,
        "layer_norm": _layer_norm,
        "linear": _linear,
        "matmul": _matmul,
        "reduce_mean": _reduce(True),
        "reduce_sum": _reduce(False),
        "softmax": _softmax,
    }
)
"""Operations with a sum inside, with that sum kept in half."""
