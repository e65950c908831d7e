"""The fused graph with weights alone in fewer bits: smaller, and multiplied in float32.

Four bits go through MatMulNBits. Eight cannot: the CPU kernel of 1.21.0 refuses every other
number of bits ("Only 4b quantization is supported"), so DequantizeLinear widens them in each run.
"""

from __future__ import annotations

import numpy as np

from .coded import MIDDLE, CodedWriter

BLOCK = 32
"""Weights in a row that share a scale in four bits."""
_MIDDLE_4 = 8


class WeightsWriter(CodedWriter):
    """Nodes and initialisers of one graph whose weights are widened before they are used."""

    def product(self, source: str, name: str, weights: str) -> str:
        """Multiply rows by a weight in fewer bits."""
        if self.variant.bits == 4:
            return self.in_blocks(source, name, weights)
        codes, scales = self.coded_weight(weights)
        size = len(self.matrices[weights].scales)
        middle = self.constant(f"middle_{size}", np.full(size, MIDDLE, dtype=np.uint8))
        inputs = [codes, scales, middle]
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
