"""Semantics that coremltools lacks, or has only slowly: arguments by name in, value out.

Definitions are those of coremltools' documentation of the MIL operations (``defs/iOS15``): padding
in ``pad`` is before, after for each spatial axis; ``same`` puts the odd element after,
``same_lower`` before. Floats are single precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[Any]
Arguments = Mapping[str, Any]


def erf(given: Arguments) -> Array:
    """Gauss error function; coremltools has it one element at a time."""
    from scipy import special

    return np.asarray(special.erf(np.asarray(given["x"], dtype=np.float64)))


def cast(given: Arguments) -> Array:
    """Cast; to half precision it stays single, because rounding is the mode's business."""
    kind = str(given["dtype"])
    return np.asarray(given["x"]).astype({"fp16": "float32", "fp32": "float32"}.get(kind, kind))


def silu(given: Arguments) -> Array:
    """``x * sigmoid(x)``, without overflow for large negative x."""
    from scipy import special

    x = np.asarray(given["x"])
    return np.asarray(x * special.expit(x))


def batch_norm(given: Arguments) -> Array:
    """Normalise channel (axis 1) by given mean and variance, then scale and shift."""
    x = np.asarray(given["x"])
    shape = (1, -1) + (1,) * (x.ndim - 2)

    def channel(name: str, default: float) -> Array:
        value = given.get(name)
        return np.full((x.shape[1],), default, x.dtype) if value is None else np.asarray(value)

    epsilon = 1e-5 if given.get("epsilon") is None else float(given["epsilon"])
    scale = channel("gamma", 1.0) / np.sqrt(channel("variance", 1.0) + np.float32(epsilon))
    shift = channel("beta", 0.0) - channel("mean", 0.0) * scale
    return np.asarray(x * scale.reshape(shape) + shift.reshape(shape))


def conv(given: Arguments) -> Array:
    """Cross-correlation over all spatial axes: x ``[n, c, d…]``, weight ``[o, c/groups, k…]``."""
    x, weight = np.asarray(given["x"]), np.asarray(given["weight"])
    rank = x.ndim - 2
    strides = _each(given.get("strides"), rank)
    dilations = _each(given.get("dilations"), rank)
    groups = 1 if given.get("groups") is None else int(given["groups"])
    spans = [(size - 1) * step + 1 for size, step in zip(weight.shape[2:], dilations, strict=True)]
    pads = padding(given.get("pad_type"), given.get("pad"), x.shape[2:], spans, strides)
    windows = _windows(np.pad(x, [(0, 0), (0, 0), *pads]), spans, strides, dilations)
    parts = []
    for part, kernel in zip(
        np.split(windows, groups, axis=1), np.split(weight, groups, axis=0), strict=True
    ):
        # windows [n, c, out…, k…] times kernel [o, c, k…] over c and k gives [n, out…, o]
        inner = [1, *range(2 + rank, 2 + 2 * rank)]
        parts.append(np.tensordot(part, kernel, axes=(inner, [1, *range(2, 2 + rank)])))
    result = np.moveaxis(np.concatenate(parts, axis=-1), -1, 1)
    if given.get("bias") is not None:
        result = result + np.asarray(given["bias"]).reshape((1, -1) + (1,) * rank)
    return np.asarray(result)


def max_pool(given: Arguments) -> Array:
    """Largest element of each window; padding never wins."""
    windows, inner, _ = _pooled(given, -np.inf)
    return np.asarray(windows.max(axis=inner))


def avg_pool(given: Arguments) -> Array:
    """Mean of each window, with or without the padding in the divisor."""
    windows, inner, ones = _pooled(given, 0.0)
    total = windows.sum(axis=inner)
    if given.get("exclude_padding_from_average"):
        return np.asarray(total / ones.sum(axis=inner))
    return np.asarray(total / math.prod(np.asarray(given["kernel_sizes"]).tolist()))


def padding(
    kind: Any,
    pad: Any,
    sizes: Sequence[int],
    spans: Sequence[int],
    strides: Sequence[int],
) -> list[tuple[int, int]]:
    """Return before and after for each spatial axis."""
    kind = "valid" if kind is None else str(kind)
    if kind == "valid":
        return [(0, 0)] * len(sizes)
    if kind == "custom":
        flat = [int(entry) for entry in np.asarray(pad).reshape(-1)]
        return list(zip(flat[0::2], flat[1::2], strict=True))
    pads = []
    for size, span, stride in zip(sizes, spans, strides, strict=True):
        total = max((math.ceil(size / stride) - 1) * stride + span - size, 0)
        less, more = total // 2, total - total // 2
        pads.append((more, less) if kind == "same_lower" else (less, more))
    return pads


def _each(value: Any, rank: int) -> list[int]:
    return [1] * rank if value is None else [int(entry) for entry in np.asarray(value).reshape(-1)]


def _windows(
    x: Array, spans: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Array:
    rank = len(spans)
    view = sliding_window_view(x, tuple(spans), axis=tuple(range(2, 2 + rank)))
    steps = [slice(None, None, step) for step in (*strides, *dilations)]
    return np.asarray(view[(slice(None), slice(None), *steps)])


def _pooled(given: Arguments, fill: float) -> tuple[Array, tuple[int, ...], Array]:
    x = np.asarray(given["x"])
    rank = x.ndim - 2
    sizes = _each(given["kernel_sizes"], rank)
    strides = _each(given.get("strides"), rank)
    pads = padding(given.get("pad_type"), given.get("pad"), x.shape[2:], sizes, strides)
    if given.get("ceil_mode"):
        pads = [
            (before, after + -(size + before + after - span) % stride)
            for size, span, stride, (before, after) in zip(
                x.shape[2:], sizes, strides, pads, strict=True
            )
        ]
    whole = [(0, 0), (0, 0), *pads]
    ones = [1] * rank
    windows = _windows(np.pad(x, whole, constant_values=fill), sizes, strides, ones)
    real = _windows(np.pad(np.ones_like(x), whole), sizes, strides, ones)
    return windows, tuple(range(2 + rank, 2 + 2 * rank)), real


OWN: Mapping[str, Callable[[Arguments], Array]] = MappingProxyType(
    {
        "avg_pool": avg_pool,
        "batch_norm": batch_norm,
        "cast": cast,
        "conv": conv,
        "erf": erf,
        "max_pool": max_pool,
        "silu": silu,
    }
)
