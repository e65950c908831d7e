"""Pooling and normalisation: inside the graph, in the form that CoreML takes whole, and in numpy.

Measured with the provider of 1.21.0 on [1, 128] (docs/coverage.md): ReduceL2 has no writer and
cuts the graph in two, Sqrt of a sum of squares is taken. The mean as a MatMul by the mask's row is
taken like Mul and ReduceSum, in three nodes less and without a second tensor of all tokens. The
sums are made in float32 in a half-precision graph too: the least length that guards the division
is zero in half precision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .graph import _Writer
    from .model_recipe import EncoderSpec

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

LEAST_LENGTH = 1e-12
"""A shorter vector is divided by this, as torch.nn.functional.normalize does."""


def sentence_embedding(writer: _Writer, states: str, encoder: EncoderSpec) -> None:
    """Add the nodes from token vectors to ``sentence_embedding`` (float32 ``[batch, hidden]``).

    Parameters
    ----------
    writer : _Writer
        Holds a graph with ``mask_float`` (``[batch, 1, 1, sequence]``).
    states : str
        The token vectors, float32 ``[batch, sequence, hidden]``.
    encoder : EncoderSpec
        Says how to pool, and whether the result is scaled to length 1.
    """

    def single(name: str, value: float) -> str:
        return writer.constant(name, np.asarray(value, dtype="<f4"))

    first, last = writer.integers("axis_1", 1), writer.integers("axis_2", 2)
    if encoder.pooling == "cls":
        ends = [writer.integers("row_0", 0), writer.integers("row_1", 1), first]
        mean = writer.node("Slice", [states, *ends], "pool_first")
    else:
        mean = _mean(writer, states, single("one_token", 1.0), first, last)
    if encoder.normalise:
        squares = writer.node("Mul", [mean, mean], "squares")
        summed = writer.node("ReduceSum", [squares, last], "squares_total", keepdims=1)
        length = writer.node("Sqrt", [summed], "length")
        least = single("least_length", LEAST_LENGTH)
        guarded = writer.node("Max", [length, least], "length_guarded")
        mean = writer.node("Div", [mean, guarded], "normalised")
    writer.node("Squeeze", [mean, first], "sentence_embedding")


def _mean(writer: _Writer, states: str, one: str, first: str, last: str) -> str:
    from onnx import TensorProto

    mask = "mask_float"
    if writer.dtype.itemsize == 2:
        mask = writer.node("Cast", [mask], "mask_single", to=TensorProto.FLOAT)
    row = writer.node("Squeeze", [mask, first], "mask_row")
    total = writer.node("MatMul", [row, states], "pool_total")
    count = writer.node("ReduceSum", [row, last], "pool_count", keepdims=1)
    # A text without any token is the zero vector and not NaN.
    some = writer.node("Max", [count, one], "pool_count_guarded")
    return writer.node("Div", [total, some], "pool_mean")


def pool(states: Floats, mask: Integers, how: Literal["mean", "cls"] = "mean") -> Floats:
    """Mean of the token vectors under the mask, or the first of them: float32 ``[batch, hidden]``.

    For the mean the padded places are multiplied by zero, so a NaN there still shows.
    """
    if how == "cls":
        return np.asarray(states[:, 0], dtype=np.float32)
    weights = mask.astype(np.float32)[:, :, None]
    total = np.einsum("bsh,bs->bh", states, weights[:, :, 0], optimize=False)
    return np.asarray(total / weights.sum(axis=1), dtype=np.float32)


def normalise(pooled: Floats) -> Floats:
    """Scale each row to length 1, or less where it is shorter than the least one."""
    norms = np.linalg.norm(pooled, axis=1, keepdims=True)
    return np.asarray(pooled / np.maximum(norms, LEAST_LENGTH), dtype=np.float32)
