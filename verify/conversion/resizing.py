"""Semantics of the operations that change an image's size: coremltools documents them only.

Definitions are those of coremltools' documentation (``defs/iOS15/image_resizing.py`` and
``tensor_transformation.py``). Height and width are the last two axes. A nearest neighbour is the
one at or before the point, which is the only rounding that the provider asks for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arguments = Mapping[str, Any]


def depth_to_space(given: Arguments) -> Array:
    """Move blocks of channels into space; the block's place is the slowest part of the channel."""
    x, block = np.asarray(given["x"]), int(given["block_size"])
    n, channels, height, width = x.shape
    split = x.reshape(n, block, block, channels // block**2, height, width)
    turned = split.transpose(0, 3, 4, 1, 5, 2)
    return turned.reshape(n, channels // block**2, height * block, width * block)


def upsample_nearest_neighbor(given: Arguments) -> Array:
    """Repeat rows and columns by scale factors."""
    return _nearest(np.asarray(given["x"]), _scaled(given))


def resize_nearest_neighbor(given: Arguments) -> Array:
    """Take rows and columns for a target size."""
    return _nearest(np.asarray(given["x"]), _target(given))


def upsample_bilinear(given: Arguments) -> Array:
    """Interpolate by scale factors, on corners (the default) or on the pixels' middles."""
    corners = given.get("align_corners")
    mode = "STRICT_ALIGN_CORNERS" if corners is None or bool(corners) else "UNALIGN_CORNERS"
    if given.get("half_pixel_centers") is not None and mode == "UNALIGN_CORNERS":
        mode = "UNALIGN_CORNERS" if bool(given["half_pixel_centers"]) else "DEFAULT"
    return _linear(np.asarray(given["x"]), _scaled(given), mode)


def resize_bilinear(given: Arguments) -> Array:
    """Interpolate to a target size on the grid that ``sampling_mode`` names."""
    mode = given.get("sampling_mode")
    return _linear(np.asarray(given["x"]), _target(given), "DEFAULT" if mode is None else str(mode))


def grid(mode: str, size: int, wanted: int) -> Array:
    """Return the points, ``[wanted]`` in ``[0, size - 1]``, at which an axis is sampled.

    Raises
    ------
    ValueError
        For a mode that coremltools does not document.
    """
    place = np.arange(wanted, dtype=np.float64)
    steps = max(wanted - 1, 1)
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        points = place * (size - 1) / steps
        if mode == "ALIGN_CORNERS" and wanted == 1:
            points = np.asarray([(size - 1) / 2])
    elif mode == "DEFAULT":
        points = place * (size - size / wanted) / steps
    elif mode == "UNALIGN_CORNERS":
        points = (place + 0.5) * size / wanted - 0.5
    elif mode == "OFFSET_CORNERS":
        delta = max(1, size - 1) / wanted
        points = (place + 0.5) * delta
    else:
        raise ValueError(f"sampling mode {mode} is not known")
    return np.clip(points, 0, size - 1)


def _linear(x: Array, sizes: tuple[int, int], mode: str) -> Array:
    for axis, wanted in zip((-2, -1), sizes, strict=True):
        points = grid(mode, x.shape[axis], wanted)
        low = np.floor(points).astype(np.intp)
        high = np.minimum(low + 1, x.shape[axis] - 1)
        share = (points - low).astype(x.dtype)
        share = share[:, None] if axis == -2 else share
        x = np.take(x, low, axis=axis) * (1 - share) + np.take(x, high, axis=axis) * share
    return x


def _nearest(x: Array, sizes: tuple[int, int]) -> Array:
    for axis, wanted in zip((-2, -1), sizes, strict=True):
        x = np.take(x, np.arange(wanted) * x.shape[axis] // wanted, axis=axis)
    return x


def _scaled(given: Arguments) -> tuple[int, int]:
    height, width = np.shape(given["x"])[-2:]
    factors = [given.get(f"scale_factor_{name}") for name in ("height", "width")]
    one, other = (1.0 if factor is None else float(factor) for factor in factors)
    return math.floor(height * one), math.floor(width * other)


def _target(given: Arguments) -> tuple[int, int]:
    return int(given["target_size_height"]), int(given["target_size_width"])


IMAGES: Mapping[str, Callable[[Arguments], Array]] = MappingProxyType(
    {
        "depth_to_space": depth_to_space,
        "resize_bilinear": resize_bilinear,
        "resize_nearest_neighbor": resize_nearest_neighbor,
        "upsample_bilinear": upsample_bilinear,
        "upsample_nearest_neighbor": upsample_nearest_neighbor,
    }
)
