"""How near two results of the same computation are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the CPU provider has at the edges of one package.

    ``data`` holds the values by ONNX name, ``[cases, …]`` each; ``names`` maps the package's names
    to these. There are attention masks where texts were run.
    """

    data: Mapping[str, Array]
    names: Mapping[str, str]
    masks: Array | None = None

    def values(self, names: Iterable[str], case: int) -> dict[str, Array]:
        """Return the values of one case by the package's names."""
        return {name: self.data[self.names[name]][case] for name in names}

    def compare(self, outputs: Mapping[str, Any], case: int) -> Compared:
        """Compare a package's outputs for one case with these values."""
        return compare(outputs, self.values(outputs, case), mask=self.mask(case))

    def mask(self, case: int) -> Array | None:
        """Return the attention mask of one case, if there is one."""
        return None if self.masks is None else self.masks[case]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """How near outputs are: the worst of them counts.

    ``vector`` is the largest difference as a share: of an element of the sentence vector of length
    1, or of the output's largest element. ``element`` is the largest difference as it is. A NaN,
    an infinity or another shape is cosine -1 and an infinite difference.
    """

    cosine: float
    vector: float
    element: float


def is_scalar(one: Any, other: Any) -> bool:
    """Return whether both are one number: the provider declares a scalar as ``[1]``."""
    return {np.shape(one), np.shape(other)} <= {(), (1,)}


def compare(
    found: Mapping[str, Any], wanted: Mapping[str, Any], *, mask: Array | None = None
) -> Compared:
    """Compare outputs by name; with a mask ``[1, tokens]``, token vectors are pooled under it."""
    worst = Compared(cosine=1.0, vector=0.0, element=0.0)
    kept = None if mask is None else mask.reshape(-1).astype(bool)
    for name, value in found.items():
        got = np.asarray(value, dtype=np.float64)
        expected = np.asarray(wanted[name], dtype=np.float64)
        if is_scalar(got, expected):
            got, expected = got.reshape(1), expected.reshape(1)
        if got.shape != expected.shape:
            return Compared(cosine=-1.0, vector=float("inf"), element=float("inf"))
        pooled = kept is not None and got.ndim == 3 and got.shape[:2] == (1, kept.size)
        if pooled:
            got, expected = got[0, kept], expected[0, kept]
        if not np.isfinite(got).all():
            return Compared(cosine=-1.0, vector=float("inf"), element=float("inf"))
        element = float(np.abs(got - expected).max(initial=0.0))
        if pooled:
            one, other = _unit(got), _unit(expected)
            cosine, vector = float(one @ other), float(np.abs(one - other).max(initial=0.0))
        else:
            cosine = similarity(got, expected)
            vector = element / (float(np.abs(expected).max(initial=0.0)) or 1.0)
        worst = Compared(
            cosine=min(worst.cosine, cosine),
            vector=max(worst.vector, vector),
            element=max(worst.element, element),
        )
    return worst


def similarity(one: Array, other: Array) -> float:
    """Return ``1 - |a - b|^2 / (2 max(|a|, |b|)^2)``: the cosine, were both of one length.

    A cosine does not see a wrong scale, and of a single number it is always 1 or -1.
    """
    longest = max(float(np.linalg.norm(one)), float(np.linalg.norm(other)))
    if not longest:
        return 1.0
    return 1.0 - float(np.linalg.norm((one - other) / longest)) ** 2 / 2


def finite(value: float) -> float | None:
    """Return a number that JSON has, or ``None`` for one that it has not."""
    return value if np.isfinite(value) else None


def _unit(value: Array) -> Array:
    flat = value.mean(axis=0)
    length = float(np.linalg.norm(flat))
    return np.asarray(flat / length) if length else np.asarray(flat)
