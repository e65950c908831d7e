"""Mixed precision: each matrix is tried alone in eight bits, and the most sensitive stay exact.

All of it is computed in float64, with the codes that the graph will have, so it needs no
onnxruntime and comes out the same on every processor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..model_recipe import EncoderSpec
from ..weights import Array
from .coded import MIDDLE, CodedMatrix
from .text_runner import TextRunner


def least_sensitive(
    tensors: Mapping[str, Array],
    encoder: EncoderSpec,
    matrices: Mapping[str, CodedMatrix],
    texts: Sequence[Sequence[int]],
    least: float,
) -> tuple[dict[str, CodedMatrix], dict[str, float]]:
    """Leave out the most sensitive matrices, one after the other, until the rest is good enough.

    Parameters
    ----------
    tensors, encoder : Mapping[str, ndarray], EncoderSpec
        The weights by name, and their encoder.
    matrices : Mapping[str, CodedMatrix]
        All of them in eight bits, with fixed scales.
    texts : sequence of sequences of int
        Token ids of the texts that it is measured on.
    least : float
        Mean over the texts of the cosine with the exact vectors.

    Returns
    -------
    dict, dict
        The matrices that stay in eight bits; and by name what each costs alone: 1 - mean cosine.
    """
    runner = _MixedRunner(tensors, encoder, texts)
    states = [runner.embedded()]
    for number in range(encoder.layers):
        states.append(runner.layer(states[-1], number))
    exact = runner.pooled(states[-1])

    def lost(coded: Mapping[str, CodedMatrix], first: int) -> float:
        runner.coded = coded
        rows = states[first]
        for number in range(first, encoder.layers):
            rows = runner.layer(rows, number)
        cosines = np.einsum("nh,nh->n", exact, runner.pooled(rows))
        # Three digits: the last bits of a sum must not decide which matrix comes first.
        return float(f"{max(1 - float(cosines.mean()), 0.0):.2e}")

    costs = {name: lost({name: one}, _layer(name)) for name, one in matrices.items()}
    kept = dict(matrices)
    for name in sorted(costs, key=lambda name: (-costs[name], name)):
        if lost(kept, 0) <= 1 - least:
            break
        del kept[name]
    return kept, costs


class _MixedRunner(TextRunner):
    """Multiplies as the graph with fixed scales does, where a matrix is coded."""

    coded: Mapping[str, CodedMatrix] = {}

    def linear(self, rows: Array, name: str) -> Array:
        matrix = self.coded.get(name)
        if matrix is None:
            return super().linear(rows, name)
        step, zero = matrix.fixed_codes()
        codes = np.clip(np.rint(rows / step) + zero, 0, 255) - zero
        product = codes @ (matrix.codes.astype(np.float64) - MIDDLE)
        apart = rows[:, list(matrix.columns)] @ matrix.apart.astype(np.float64)
        return np.asarray(product * (step * matrix.scales) + apart + self.weight(f"{name}.bias"))


def _layer(name: str) -> int:
    return int(name.removeprefix("encoder.layer.").partition(".")[0])
