"""Seeded inputs rich in the values that implementations treat differently."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
Shape = tuple[int, ...]
#: What an input is made of. ``finite``: small normal numbers. ``special``: about half of all
#: elements from :func:`specials`. ``nan``, ``inf``: finite with some of those, always in the first
#: and last place. ``zeros``: zeros of both signs and denormals. ``sweep``: a dense ramp over
#: the range of the type. ``unit``: within [-1, 1]. ``positive``: above zero.
Content = Literal["finite", "special", "nan", "inf", "zeros", "sweep", "unit", "positive"]

#: Lengths around the widths of SSE, AVX2 and AVX-512 for 4- and 8-byte elements, and one that is
#: long enough to be split over threads or blocks.
SIZES = (1, 3, 4, 7, 8, 9, 15, 16, 17, 33, 1000)


@dataclass(frozen=True)
class Draw:
    """An input of a case, drawn by :func:`make` once the case's name is known.

    The seed is the case's name and ``mark``, which tells the inputs of one case apart.
    """

    dtype: DTypeLike
    shape: Shape
    content: Content = "special"
    mark: str = ""

    def of(self, case: str) -> Array:
        """Return the input of one case."""
        return make(case + self.mark, self.dtype, self.shape, self.content)


def numbered(
    dtype: DTypeLike, shapes: Sequence[Shape], content: Content = "special", *, first: int = 0
) -> list[Draw]:
    """Return an input for each shape, marked ``#0``, ``#1`` and so on from ``first``."""
    return [Draw(dtype, shape, content, f"#{n}") for n, shape in enumerate(shapes, first)]


def integers(*values: int) -> Array:
    """Return int64 ``[len(values)]``: axes, sizes and places are inputs of that type."""
    return np.array(values, dtype=np.int64)


def generator(name: str) -> np.random.Generator:
    """Make a random generator whose seed is a name."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]))


def specials(dtype: DTypeLike) -> Array:
    """List the values of a type that are worth trying everywhere, in one dimension.

    Floats: NaN, infinities, zeros of both signs, denormals, smallest normal, largest, halves (for
    rounding), and where exp, tanh and erf saturate. Integers: the ends of the range and their
    neighbours.
    """
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return np.array([True, False])
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        ends = [limits.min, limits.min + 1, limits.max, limits.max - 1, limits.max // 2]
        small = [0, 1, 2, 3, 7, 10, 100] + ([-1, -2, -3, -7, -100] if kind.kind == "i" else [])
        return np.array(ends + small, dtype=kind)
    info = np.finfo(kind)
    least = float(info.smallest_subnormal)
    magnitudes = [0.0, least, 3 * least, float(info.tiny) / 2, float(info.tiny), float(info.eps)]
    magnitudes += [1e-4, 0.25, 0.5, 1.0, 1.5, 2.5, np.pi, 4.0, 9.0, 10.0, 17.3, 87.0, 88.7, 89.5]
    magnitudes += [103.5, 104.5, 2049.0, float(info.max) / 2, float(info.max), np.inf]
    if kind.itemsize >= 4:
        magnitudes += [2.0**24 + 2, 2.0**31, 2.0**63, 1e10, 1e20, 1e30]
    if kind.itemsize == 8:
        magnitudes += [709.0, 709.9, 745.5, 2.0**53 + 2, 1e100, 1e300]
    both = np.array([*magnitudes, *(-value for value in magnitudes), np.nan, -np.nan])
    with np.errstate(over="ignore"):
        return both.astype(kind)


def make(name: str, dtype: DTypeLike, shape: Shape, content: Content = "special") -> Array:
    """Make one input, seeded by ``name``: the case's name and the input's.

    For integers and booleans every content but ``special`` means small numbers.
    """
    rng = generator(name)
    kind = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64))
    if kind.kind == "b":
        return rng.random(size).reshape(shape) < 0.5
    if kind.kind in "iu":
        flat = _integers(rng, kind, size, content)
    else:
        flat = _floats(rng, kind, size, content)
    return flat.astype(kind).reshape(shape)


def _integers(rng: np.random.Generator, kind: np.dtype[Any], size: int, content: Content) -> Array:
    low = -10 if kind.kind == "i" else 0
    if content == "positive":
        low = 1
    flat = rng.integers(low, 11, size=size).astype(kind)
    if content == "special" and size:
        picked = rng.random(size) < 0.5
        values = specials(kind)
        flat[picked] = values[rng.integers(0, values.size, size=int(picked.sum()))]
    return flat


def _floats(rng: np.random.Generator, kind: np.dtype[Any], size: int, content: Content) -> Array:
    if content == "sweep":
        return _sweep(kind, size)
    if content == "unit":
        return rng.uniform(-1.0, 1.0, size).astype(kind)
    if content == "positive":
        return rng.uniform(0.05, 4.0, size).astype(kind)
    flat = (rng.standard_normal(size) * 3.0).astype(kind)
    if content == "finite" or size == 0:
        return flat
    pools = {
        "special": specials(kind),
        "nan": np.array([np.nan], dtype=kind),
        "inf": np.array([np.inf, -np.inf], dtype=kind),
        "zeros": specials(kind)[[0, 1, 2, 3, (specials(kind).size - 2) // 2]],
    }
    pool = pools[content]
    share = {"special": 0.5, "nan": 0.2, "inf": 0.2, "zeros": 1.0}[content]
    picked = rng.random(size) < share
    if content in ("nan", "inf"):
        picked[0] = picked[-1] = True
    flat[picked] = pool[rng.integers(0, pool.size, size=int(picked.sum()))]
    return flat


def _sweep(kind: np.dtype[Any], size: int) -> Array:
    """Half the elements evenly over [-12, 12], half evenly in the exponent, both signs."""
    info = np.finfo(kind)
    even = np.linspace(-12.0, 12.0, size - size // 2)
    quarter = size // 4
    exponents = np.linspace(np.log2(float(info.tiny)) + 1, np.log2(float(info.max)) - 1, quarter)
    steep = np.exp2(exponents)
    rest = np.linspace(-110.0, 110.0, size // 2 - quarter)
    flat = np.concatenate([even, steep, rest])
    return flat.astype(kind)
