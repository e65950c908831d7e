"""The fused graph with eight-bit products: codes, scales, and a few columns left in float32.

A product is ``(codes of x) @ (codes of W)`` in integers, times the scale of each row of x and of
each column of W. Both sides are unsigned, W around 128: products of unsigned and signed bytes
saturate in the kernels of x86 processors without VNNI, products of two unsigned ones nowhere.

The columns of x with the largest values would set the scale for all others. Rows are turned, so
that all columns share them (smoothing.py); or these columns are fixed when the graph is made,
multiplied in float32 beside the integers, and their rows of W are zero there, so that it does not
matter that their codes are cut off.

GELU is the one by tanh (FastGelu): within 5e-4 of the exact one, below what eight bits round, and
half the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .coded import LEAST_SCALE, MIDDLE, CodedMatrix, CodedWriter
from .moments import rotation
from .variants import Scales

GELU_MIDDLE = 24
"""Code of zero after GELU, whose values never fall below -0.17."""
GELU_LEAST = -0.1700
"""Least value of GELU (at -0.7518), rounded down."""


class Int8Writer(CodedWriter):
    """Nodes and initialisers of one graph whose coded matrices are multiplied in integers."""

    gelu_operation = "FastGelu"

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.coded: dict[str, tuple[str, str, str, str]] = {}

    def product(self, source: str, name: str, weights: str) -> str:
        """Multiply rows by a weight, in integers where it is coded."""
        matrix = self.matrices.get(weights)
        if matrix is None:
            return super().product(source, name, weights)
        codes, scale, zero, rows = self.codes_of(source, matrix, self.scales_of(weights))
        weight, weight_scales = self.coded_weight(weights)
        middle = self.constant("middle", np.asarray(MIDDLE, dtype=np.uint8))
        inputs = [codes, weight, scale, weight_scales, zero, middle]
        more = rows or matrix.columns
        found = self.fused("MatMulIntegerToFloat", inputs, f"{name}.integers" if more else name)
        if rows:
            # The product itself would scale its rows in one thread alone.
            found = self.node("Mul", [found, rows], f"{name}.rows" if matrix.columns else name)
        if not matrix.columns:
            return found
        picked = self.picked(source, matrix.columns)
        apart = self.constant(f"{weights}.apart", matrix.apart)
        return self.node("Gemm", [picked, apart, found], name)

    def attention(self, source: str, bias: str, names: Mapping[str, str], here: str) -> str:
        """Mix the values; in one operation where query, key and value share one fixed scale.

        QAttention multiplies straight into the order that the heads want, where
        MultiHeadAttention moves query, key and value in one thread; it knows no bias of distances.
        """
        parts = [names[part] for part in ("query", "key", "value")]
        found = [self.matrices[name] for name in parts if name in self.matrices]
        fixed = all(self.scales_of(name) == "static" for name in parts)
        if bias or len(found) < len(parts) or not fixed or any(one.columns for one in found):
            return super().attention(source, bias, names, here)
        codes, scale, zero, _ = self.codes_of(source, found[0], "static")
        moved = self.tensors[f"{self.encoder.tensor_prefix}{parts[0]}.bias"].astype(np.float32)
        inputs = [
            self.as_tokens(codes, f"{here}.codes"),
            self.constant(f"{here}.attention.codes", np.hstack([one.codes for one in found])),
            self.constant(f"{here}.attention.bias", np.pad(moved, (0, 2 * len(moved)))),
            scale,
            self.constant(f"{here}.attention.scales", np.hstack([one.scales for one in found])),
            "mask_int",
            zero,
            self.constant("middle", np.asarray(MIDDLE, dtype=np.uint8)),
        ]
        heads = self.encoder.heads
        return self.fused("QAttention", inputs, f"{here}.mixed", num_heads=heads)

    def picked(self, source: str, columns: Sequence[int]) -> str:
        """Take the columns that are multiplied in float32; query, key and value share them."""
        name = f"{source}.apart"
        if name not in self.known:
            self.known.add(name)
            chosen = self.integers(f"{source}.columns", *columns)
            self.node("Gather", [source, chosen], name, axis=1)
        return name

    def codes_of(
        self, source: str, matrix: CodedMatrix, scales: Scales | None
    ) -> tuple[str, str, str, str]:
        """Return codes, scale, zero and scales of rows of an input; its products share them."""
        if source not in self.coded:
            make = {"row": self.by_row, "tensor": self.by_tensor, "static": self.by_range}
            self.coded[source] = make[str(scales)](source, matrix)
        return self.coded[source]

    def scaled(self, source: str, matrix: CodedMatrix, *, fixed: bool = False) -> str:
        """Smooth the columns, and make zero those that are apart where they would set a scale."""
        size = len(matrix.codes)
        factors = np.ones(size, np.float32) if matrix.factors is None else matrix.factors.copy()
        if not fixed:
            factors[list(matrix.columns)] = 0
        if (factors == 1).all():
            return source
        constant = self.constant(f"{source}.factors", factors)
        return self.node("Mul", [source, constant], f"{source}.scaled")

    def by_row(self, source: str, matrix: CodedMatrix) -> tuple[str, str, str, str]:
        """Scale each token by its own largest value: no text depends on those beside it."""
        gelu = source.endswith(".gelu") and matrix.block == 1
        middle = GELU_MIDDLE if gelu else MIDDLE
        codes = 255 - middle if gelu else 127
        peak = 1.0 if matrix.factors is None else float(matrix.factors.max())
        least = -GELU_LEAST * peak / middle if gelu else LEAST_SCALE
        inside = self.scaled(source, matrix)
        if matrix.block > 1:
            inside = self.whole_rows(self.turned(inside, matrix), f"{source}.turned_rows", matrix)
        size = inside if gelu else self.node("Abs", [inside], f"{source}.size")
        high = self.node("ReduceMax", [size], f"{source}.high", axes=[1], keepdims=0)
        ratio = self.scalar("per_code_gelu" if gelu else "per_code", 1 / codes)
        scaled = self.node("Mul", [high, ratio], f"{source}.high_scale")
        floor = self.scalar(f"{source}.least_scale", least)
        scale = self.node("Max", [scaled, floor], f"{source}.scale")
        zeros = self.zeros(scale, middle)
        coded = self.node("QuantizeLinear", [inside, scale, zeros], f"{source}.codes", axis=0)
        column = self.node(
            "Unsqueeze", [scale, self.integers("last_axis", 1)], f"{source}.scale_column"
        )
        one = self.scalar("one_scale", 1.0)
        zero = self.constant(f"middle_{middle}", np.asarray(middle, dtype=np.uint8))
        return coded, one, zero, column

    def zeros(self, scale: str, middle: int) -> str:
        """Return the code of zero for every row, made once a graph."""
        from onnx import numpy_helper

        name = f"zeros_{middle}"
        if name not in self.known:
            self.known.add(name)
            shape = self.node("Shape", [scale], f"{name}.shape")
            value = numpy_helper.from_array(np.asarray([middle], dtype=np.uint8))
            self.node("ConstantOfShape", [shape], name, value=value)
        return name

    def by_tensor(self, source: str, matrix: CodedMatrix) -> tuple[str, str, str, str]:
        """Scale the whole tensor by its range, found when it is run."""
        from onnx import helper

        inside = self.scaled(source, matrix)
        names = [f"{source}.{part}" for part in ("codes", "scale", "zero")]
        self.nodes.append(helper.make_node("DynamicQuantizeLinear", [inside], names, name=names[0]))
        return names[0], names[1], names[2], ""

    def by_range(self, source: str, matrix: CodedMatrix) -> tuple[str, str, str, str]:
        """Scale by a range that was found when the graph was made; what lies outside is cut."""
        step, middle = matrix.fixed_codes()
        scale = self.constant(f"{source}.scale", np.asarray(step, dtype=np.float32))
        zero = self.constant(f"{source}.zero", np.asarray(middle, dtype=np.uint8))
        inside = self.turned(self.scaled(source, matrix, fixed=True), matrix)
        codes = self.node("QuantizeLinear", [inside, scale, zero], f"{source}.codes")
        if matrix.block > 1:
            codes = self.whole_rows(codes, f"{source}.code_rows", matrix)
        return codes, scale, zero, ""

    def turned(self, source: str, matrix: CodedMatrix) -> str:
        """Turn each block of columns (smoothing.py); it stands as rows of one block then."""
        block = matrix.block
        if block == 1:
            return source
        blocks = self.integers(f"blocks_{block}", -1, block)
        apart = self.node("Reshape", [source, blocks], f"{source}.blocks")
        mixed = self.constant(f"rotation_{block}", rotation(block).astype(np.float32))
        return self.node("MatMul", [apart, mixed], f"{source}.turned")

    def whole_rows(self, source: str, name: str, matrix: CodedMatrix) -> str:
        """Put the blocks of a row together again; no bytes move."""
        size = len(matrix.codes)
        return self.node("Reshape", [source, self.integers(f"rows_{size}", -1, size)], name)
