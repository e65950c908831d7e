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

from .resizing import IMAGES

Array = NDArray[Any]
Arguments = Mapping[str, Any]
Product = Callable[[Array, Array], Array]
Total = Callable[[Array, tuple[int, ...]], Array]


def erf(given: Arguments) -> Array:
    """Gauss error function; coremltools has it one element at a time."""
    from scipy import special

    return np.asarray(special.erf(np.asarray(given["x"], dtype=np.float64)))


def cast(given: Arguments) -> Array:
    """Cast; to half precision it stays single, because rounding is the mode's business."""
    kind = str(given["dtype"])
    return np.asarray(given["x"]).astype({"fp16": "float32", "fp32": "float32"}.get(kind, kind))


def _reduction(function: Callable[..., Any]) -> Callable[[Arguments], Array]:
    """Return a reduction over axes; coremltools' own rounds to half where that is declared."""

    def reduce(given: Arguments) -> Array:
        axes = given.get("axes")
        chosen = None if axes is None else tuple(int(axis) for axis in np.asarray(axes).reshape(-1))
        keep = bool(given.get("keep_dims"))
        return np.asarray(function(np.asarray(given["x"]), axis=chosen, keepdims=keep))

    return reduce


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


def instance_norm(given: Arguments) -> Array:
    """Normalise each channel of each example by its own mean and variance, scale and shift."""
    x = np.asarray(given["x"])
    inner = tuple(range(2, x.ndim))
    shape = (1, -1) + (1,) * len(inner)
    epsilon = 1e-5 if given.get("epsilon") is None else float(given["epsilon"])
    apart = x - x.mean(axis=inner, keepdims=True)
    result = apart / np.sqrt(np.square(apart).mean(axis=inner, keepdims=True) + epsilon)
    if given.get("gamma") is not None:
        result = result * np.reshape(given["gamma"], shape)
    if given.get("beta") is not None:
        result = result + np.reshape(given["beta"], shape)
    return np.asarray(result, dtype=x.dtype)


def conv(given: Arguments, product: Product = np.matmul) -> Array:
    """Cross-correlation over all spatial axes: x ``[n, c, d…]``, weight ``[o, c/groups, k…]``.

    Every window is laid out as a row, and the rows are multiplied by the kernels: ``product``
    does that, so that an arithmetic with other sums needs no convolution of its own.
    """
    x, weight = np.asarray(given["x"]), np.asarray(given["weight"])
    rank = x.ndim - 2
    strides = _each(given.get("strides"), rank)
    dilations = _each(given.get("dilations"), rank)
    groups = 1 if given.get("groups") is None else int(given["groups"])
    spans = [(size - 1) * step + 1 for size, step in zip(weight.shape[2:], dilations, strict=True)]
    pads = padding(given.get("pad_type"), given.get("pad"), x.shape[2:], spans, strides)
    windows = _windows(np.pad(x, [(0, 0), (0, 0), *pads]), spans, strides, dilations)
    shape = (x.shape[0], *windows.shape[2 : 2 + rank])
    parts = []
    for part, kernel in zip(
        np.split(windows, groups, axis=1), np.split(weight, groups, axis=0), strict=True
    ):
        # windows [n, c, out…, k…] as rows [n * out…, c * k…], kernel [o, c, k…] as columns
        columns = kernel.reshape(kernel.shape[0], -1).T
        rows = np.moveaxis(part, 1, 1 + rank).reshape(-1, columns.shape[0])
        parts.append(product(rows, columns).reshape(*shape, -1))
    result = np.moveaxis(np.concatenate(parts, axis=-1), -1, 1)
    if given.get("bias") is not None:
        result = result + np.asarray(given["bias"]).reshape((1, -1) + (1,) * rank)
    return np.asarray(result)


def conv_transpose(given: Arguments, product: Product = np.matmul) -> Array:
    """Gradient of :func:`conv`: x ``[n, c, d…]``, weight ``[c, o/groups, k…]``.

    It is the correlation of x, with zeros between its elements, with the kernel turned around.

    Raises
    ------
    ValueError
        For an explicit ``output_shape``, or padding that would make the result larger.
    """
    if given.get("output_shape") is not None:
        raise ValueError("an explicit output_shape has no semantics here")
    x, weight = np.asarray(given["x"]), np.asarray(given["weight"])
    rank = x.ndim - 2
    strides, dilations = _each(given.get("strides"), rank), _each(given.get("dilations"), rank)
    groups = 1 if given.get("groups") is None else int(given["groups"])
    spans = [(size - 1) * step + 1 for size, step in zip(weight.shape[2:], dilations, strict=True)]
    spread = [(size - 1) * step + 1 for size, step in zip(x.shape[2:], strides, strict=True)]
    apart = np.zeros((*x.shape[:2], *spread), dtype=x.dtype)
    apart[(slice(None), slice(None), *(slice(None, None, step) for step in strides))] = x
    turned = np.flip(weight, axis=tuple(range(2, 2 + rank)))
    kernels = [part.swapaxes(0, 1) for part in np.split(turned, groups, axis=0)]
    whole = conv(
        {
            "x": apart,
            "weight": np.concatenate(kernels),
            "bias": given.get("bias"),
            "dilations": dilations,
            "groups": groups,
            "pad_type": "custom",
            "pad": [span - 1 for span in spans for _ in range(2)],
        },
        product,
    )
    kind = "valid" if given.get("pad_type") is None else str(given["pad_type"])
    if kind.startswith("same"):
        cut = [span - step for span, step in zip(spans, strides, strict=True)]
        halves = [(size // 2, size - size // 2) for size in cut]
        cuts = [pair[::-1] if kind == "same_lower" else pair for pair in halves]
    else:
        cuts = padding(kind, given.get("pad"), x.shape[2:], spans, strides)
    if min(min(pair) for pair in cuts) < 0:
        raise ValueError(f"padding {cuts} would make the result larger")
    inner = [
        slice(low, size - high) for size, (low, high) in zip(whole.shape[2:], cuts, strict=True)
    ]
    return np.asarray(whole[(slice(None), slice(None), *inner)])


def max_pool(given: Arguments) -> Array:
    """Largest element of each window; padding never wins."""
    windows, inner, _ = _pooled(given, -np.inf)
    return np.asarray(windows.max(axis=inner))


def avg_pool(given: Arguments, total: Total = np.sum) -> Array:
    """Mean of each window, with or without the padding in the divisor; ``total`` sums it.

    What a window reaches beyond the padding, in ceil mode, is never in the divisor: coremltools
    documents that mode as torch's.
    """
    windows, inner, real = _pooled(given, 0.0, bool(given.get("exclude_padding_from_average")))
    return np.asarray(total(windows, inner) / real.sum(axis=inner))


def padding(
    kind: Any, pad: Any, sizes: Sequence[int], spans: Sequence[int], strides: Sequence[int]
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


def _pooled(
    given: Arguments, fill: float, bare: bool = False
) -> tuple[Array, tuple[int, ...], Array]:
    """Return the windows, their inner axes, and windows of ones where something counts.

    ``bare`` counts the elements of x alone; else the padding counts as well.
    """
    x = np.asarray(given["x"])
    rank = x.ndim - 2
    sizes = _each(given["kernel_sizes"], rank)
    strides = _each(given.get("strides"), rank)
    pads = padding(given.get("pad_type"), given.get("pad"), x.shape[2:], sizes, strides)
    whole = [(0, 0), (0, 0), *pads]
    ones = np.pad(np.ones_like(x), whole, constant_values=0.0 if bare else 1.0)
    filled = np.pad(x, whole, constant_values=fill)
    if given.get("ceil_mode"):
        more = [
            _beyond(size, before, after, span, stride)
            for size, span, stride, (before, after) in zip(
                x.shape[2:], sizes, strides, pads, strict=True
            )
        ]
        further = [(0, 0), (0, 0), *((0, extra) for extra in more)]
        filled, ones = np.pad(filled, further, constant_values=fill), np.pad(ones, further)
    flat = [1] * rank
    windows = _windows(filled, sizes, strides, flat)
    return windows, tuple(range(2 + rank, 2 + 2 * rank)), _windows(ones, sizes, strides, flat)


def _beyond(size: int, before: int, after: int, span: int, stride: int) -> int:
    """Return how far the last window of ceil mode reaches; one that starts in padding is none."""
    extra = -(size + before + after - span) % stride
    last = size + before + after + extra - span
    return 0 if last >= size + before else extra


OWN: Mapping[str, Callable[[Arguments], Array]] = MappingProxyType(
    {
        "avg_pool": avg_pool,
        "batch_norm": batch_norm,
        "cast": cast,
        "conv": conv,
        "conv_transpose": conv_transpose,
        "erf": erf,
        "instance_norm": instance_norm,
        "max_pool": max_pool,
        "reduce_max": _reduction(np.max),
        "reduce_mean": _reduction(np.mean),
        "reduce_min": _reduction(np.min),
        "reduce_prod": _reduction(np.prod),
        "reduce_sum": _reduction(np.sum),
        "silu": silu,
        **IMAGES,
    }
)
