"""Outliers of the inputs moved into the weights, or shared by the columns beside them.

**Smoothed**: ``(x * f) @ (W / f)``.

A column whose largest value stands above the median of all columns is divided by the root of how
far it does, so that half of what stands out (in the logarithm) goes into the weights, as Xiao et
al., "SmoothQuant", 2023, do with an exponent of one half. The factors are powers of two:
multiplying by them rounds nothing, so the graph in float32 stays the same to the last bit.

What a factor costs depends on who makes the input. The attention's output is linear in the value,
so its factors go into the value's weights and cost nothing. A layer norm's output is also what the
next residual adds, so factors in its weights would have to be taken back there: one multiplication
either way, and it stands before the codes. No factor passes through GELU: one multiplication too.

**Rotated**: ``(x @ R) @ (R.T @ W)``, R orthogonal within each block of columns and the same for all
of them (Ashkboos et al., "QuaRot", 2024). What stands out is shared by its block, values come near
a normal distribution, and no column has to be left apart. One small product turns the rows; in the
attention's output R goes through each head into the value's weights and costs nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..weights import Array
from .moments import Inputs, block_of, turned

_LEAST = 1e-20


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A weight ``[in, out]`` in float64, its input, and that one's factors or turned block."""

    weight: Array
    inputs: Inputs
    factors: Array | None = None
    block: int = 1


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


def rotated(parts: Mapping[str, Linear], wanted: Collection[str], head: int) -> dict[str, Linear]:
    """Return one layer's weights by part, the inputs of those that are wanted turned in blocks.

    ``head`` is the size of an attention head: the output projection's input is turned within it.
    """
    found = dict(parts)
    for part in parts.keys() & set(wanted):
        size = head if part == "joined" else len(parts[part].weight)
        found[part] = _turned(parts[part], block_of(size))
    if "joined" in wanted:
        value, joined = found["value"], found["joined"]
        found["value"] = replace(value, weight=turned(value.weight, joined.block))
        found["joined"] = replace(joined, block=1)
    return found


def _turned(linear: Linear, block: int) -> Linear:
    inputs, size = linear.inputs, len(linear.weight)
    low, high = inputs.turned
    return Linear(
        weight=turned(linear.weight.T, block).T,
        inputs=Inputs(
            moments=turned(turned(inputs.moments, block).T, block),
            low=np.full(size, low),
            high=np.full(size, high),
        ),
        block=block,
    )


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
