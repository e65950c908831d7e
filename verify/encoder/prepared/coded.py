"""Weights in fewer bits, and what the writers of their graphs share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..model_recipe import EncoderSpec
from ..tensors import attention_names
from ..weights import Array
from .fused_graph import FusedWriter
from .variants import Scales, Variant

MIDDLE = 128
"""Code of zero in weights, and in activations that are as often negative as positive."""
LEAST_SCALE = 1e-6


def part_names(encoder: EncoderSpec) -> dict[str, str]:
    """Return what a layer's matrices are called below ``encoder.layer.N``, by part."""
    names = dict(attention_names(encoder))
    del names["joined_norm"]
    return {**names, "wide": "intermediate.dense", "narrow": "output.dense"}


@dataclass(frozen=True, kw_only=True)
class CodedMatrix:
    """A weight in eight bits: ``W = (codes - 128) * scales``, but for ``apart``.

    Parameters
    ----------
    codes : ndarray
        uint8 ``[in, out]``; 128 where a row is apart.
    scales : ndarray
        float32 ``[out]``.
    columns : tuple of int
        Columns of the input that are multiplied in float32.
    apart : ndarray
        Their rows of W, float32 ``[len(columns), out]``.
    low, high : float
        Range of the input's other columns, for scales that are fixed.
    factors : ndarray, optional
        float32 ``[in]``: what the input is multiplied by before it is coded (smoothing.py); W is
        divided by it.
    block : int
        Columns of the input that are turned together before it is coded (smoothing.py); 1: none.
    """

    codes: Array
    scales: Array
    columns: tuple[int, ...]
    apart: Array
    low: float
    high: float
    factors: Array | None = None
    block: int = 1

    def fixed_codes(self) -> tuple[float, int]:
        """Return what one code of the input is worth where that is fixed, and the code of zero."""
        low, high = min(self.low, 0.0), max(self.high, LEAST_SCALE)
        step = (high - low) / 255
        return step, round(-low / step)


class CodedWriter(FusedWriter):
    """Nodes and initialisers of one fused graph, some of whose weights are coded."""

    def __init__(
        self,
        tensors: Mapping[str, Array],
        encoder: EncoderSpec,
        static: tuple[int, int] | None,
        *,
        matrices: Mapping[str, CodedMatrix],
        variant: Variant,
    ) -> None:
        super().__init__(tensors, encoder, static, "fp32")
        self.matrices = matrices
        self.variant = variant

    def scales_of(self, weights: str) -> Scales | None:
        """Return how the input of a weight is scaled."""
        parts = {name: part for part, name in part_names(self.encoder).items()}
        part = parts[weights.split(".", maxsplit=3)[3]]  # encoder.layer.N.NAME
        return "static" if part in self.variant.fixed else self.variant.scales

    def coded_weight(self, weights: str) -> tuple[str, str]:
        """Return the names of a weight's codes and scales."""
        matrix = self.matrices[weights]
        return (
            self.constant(f"{weights}.codes", matrix.codes),
            self.constant(f"{weights}.scales", matrix.scales),
        )
