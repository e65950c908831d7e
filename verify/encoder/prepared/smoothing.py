"""Outliers of the inputs moved into the weights: ``(x * f) @ (W / f)``.

A column whose largest value stands above the median of all columns is divided by the root of how
far it does, so that half of what stands out (in the logarithm) goes into the weights, as Xiao et
al., "SmoothQuant", 2023, do with an exponent of one half. The factors are powers of two:
multiplying by them rounds nothing, so the graph in float32 stays the same to the last bit.

What a factor costs depends on who makes the input. The attention's output is linear in the value,
so its factors go into the value's weights and cost nothing. A layer norm's output is also what the
next residual adds, so factors in its weights would have to be taken back there: one multiplication
either way, and it stands before the codes. No factor passes through GELU: one multiplication too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
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

    Query, key and value have one input, and so the same factors.
    """
    found = {part: _moved(each) if part in wanted else each for part, each in parts.items()}
    passed = found["joined"].factors
    if passed is not None:
        found["value"] = replace(found["value"], weight=found["value"].weight * passed)
        found["joined"] = replace(found["joined"], factors=None)
    return found


def _moved(linear: Linear) -> Linear:
    inputs = linear.inputs
    largest = np.maximum(-inputs.low, inputs.high)
    above = np.maximum(largest / max(float(np.median(largest)), _LEAST), 1.0)
    factors = np.exp2(-np.rint(np.log2(above) / 2))
    return Linear(
        weight=linear.weight / factors[:, None],
        inputs=Inputs(
            moments=inputs.moments * np.outer(factors, factors),
            low=inputs.low * factors,
            high=inputs.high * factors,
        ),
        factors=factors.astype(np.float32),
    )
