"""Outliers of the inputs moved into the weights: ``(x * f) @ (W / f)`` with equal peaks on both.

The factors follow Xiao et al., "SmoothQuant", 2023, equation 4 with an exponent of one half, as
powers of two: multiplying by them rounds nothing, so the graph in float32 stays the same to the
last bit.

What a factor costs depends on who makes the input. The attention's output is linear in the value,
so its factors go into the value's weights and cost nothing. A layer norm's output is also what the
next residual adds, so factors in its weights would have to be taken back there: one multiplication
either way, and it stands before the codes. No factor passes through GELU: one multiplication too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..weights import Array
from .moments import Inputs

_LEAST = 1e-20


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A weight ``[in, out]`` in float64, what it is given, and the factors of its input."""

    weight: Array
    inputs: Inputs
    factors: Array | None = None


def smoothed(parts: Mapping[str, Linear], wanted: Collection[str]) -> dict[str, Linear]:
    """Return one layer's weights by part, those that are wanted smoothed.

    Query, key and value have one input, so they are smoothed together.
    """
    found = dict(parts)
    for names in (("query", "key", "value"), ("joined",), ("wide",), ("narrow",)):
        if names[0] in wanted:
            factors = _factors([parts[name] for name in names])
            found.update({name: _moved(parts[name], factors) for name in names})
    if "joined" in wanted:
        passed = found["joined"].factors
        found["value"] = replace(found["value"], weight=found["value"].weight * passed)
        found["joined"] = replace(found["joined"], factors=None)
    return found


def _factors(alike: Sequence[Linear]) -> Array:
    """Return the factors, float32 ``[in]``, of weights that are given the same input."""
    weights = np.max([np.abs(each.weight).max(axis=1) for each in alike], axis=0)
    values = np.maximum(-alike[0].inputs.low, alike[0].inputs.high)
    ratio = np.maximum(weights, _LEAST) / np.maximum(values, _LEAST)
    return np.asarray(np.exp2(np.rint(np.log2(ratio) / 2)), dtype=np.float32)


def _moved(linear: Linear, factors: Array) -> Linear:
    wide = factors.astype(np.float64)
    inputs = linear.inputs
    return Linear(
        weight=linear.weight / wide[:, None],
        inputs=Inputs(
            moments=inputs.moments * np.outer(wide, wide),
            low=inputs.low * wide,
            high=inputs.high * wide,
        ),
        factors=factors,
    )
