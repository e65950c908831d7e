"""The fused graph with weights alone in fewer bits: smaller, and multiplied in float32."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..model_recipe import EncoderSpec
from ..weights import Array
from .fused_graph import FusedWriter
from .int8_graph import MIDDLE, CodedMatrix

BLOCK = 32
"""Weights in a row that share a scale in four bits."""
_MIDDLE_4 = 8


class WeightsWriter(FusedWriter):
    """Nodes and initialisers of one graph whose weights are widened before they are used."""

    def __init__(
        self,
        tensors: Mapping[str, Array],
        encoder: EncoderSpec,
        static: tuple[int, int] | None,
        *,
        matrices: Mapping[str, CodedMatrix],
        bits: int,
    ) -> None:
        super().__init__(tensors, encoder, static, "fp32")
        self.matrices = matrices
        self.bits = bits

    def product(self, source: str, name: str, weights: str) -> str:
        """Multiply rows by a weight in fewer bits."""
        if self.bits == 4:
            return self.in_blocks(source, name, weights)
        matrix = self.matrices[weights]
        inputs = [
            self.constant(f"{weights}.codes", matrix.codes),
            self.constant(f"{weights}.scales", matrix.scales),
            self.constant(
                f"middle_{len(matrix.scales)}",
                np.full(len(matrix.scales), MIDDLE, dtype=np.uint8),
            ),
        ]
        widened = self.node("DequantizeLinear", inputs, f"{weights}.widened", axis=1)
        return self.node("MatMul", [source, widened], name)

    def in_blocks(self, source: str, name: str, weights: str) -> str:
        """Multiply by a weight in four bits, two of them in a byte, the first one low."""
        weight = self.tensors[f"{self.encoder.tensor_prefix}{weights}.weight"].astype(np.float64)
        rows, width = weight.shape
        blocks = np.pad(weight, ((0, 0), (0, -width % BLOCK))).reshape(rows, -1, BLOCK)
        scales = np.abs(blocks).max(axis=2) / (_MIDDLE_4 - 1) + 1e-20
        codes = (np.rint(blocks / scales[:, :, None]) + _MIDDLE_4).astype(np.uint8)
        packed = codes[:, :, 0::2] | codes[:, :, 1::2] << 4
        inputs = [
            source,
            self.constant(f"{weights}.codes", packed),
            self.constant(f"{weights}.scales", scales.astype(np.float32).reshape(-1)),
        ]
        attributes = {"K": width, "N": rows, "bits": 4, "block_size": BLOCK}
        return self.fused("MatMulNBits", inputs, name, **attributes)
