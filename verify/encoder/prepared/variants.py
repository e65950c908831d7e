"""The forms of the encoder that are prepared for the CPU, by name.

``int8`` and ``int8-fast`` are those to use; the others stand beside them in the frontier
(``python -m verify frontier``), to show what each step costs and brings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

Scales = Literal["row", "tensor", "static"]
Prepared = Literal[
    "fused",
    "int8",
    "int8-fast",
    "int8-apart",
    "int8-apart-row",
    "int8-tensor",
    "int8-dynamic",
    "int8-no-narrow",
    "int8-last-fp32",
    "int8-smoothed",
    "int8-mixed",
    "weights-int8",
    "weights-int4",
]
PREPARED: tuple[Prepared, ...] = get_args(Prepared)

FORM = 6
"""Number of the prepared graphs' form; it goes up when their bytes change."""

_BEFORE_GELU = ("query", "key", "value", "joined", "wide")
_COLUMNS = {"query": 8, "key": 8, "value": 8, "wide": 8, "narrow": 16}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What is done to the matrices; the graph is the fused one in all of them.

    Parameters
    ----------
    summary : str
        For people.
    bits : int, optional
        Bits of the weights; None leaves float32.
    scales : {"row", "tensor", "static"}, optional
        How activations are scaled to eight bits; None multiplies in float32.
    fixed : tuple of str
        Parts (query, key, value, joined, wide, narrow) whose scale is fixed all the same.
    columns : Mapping[str, int]
        Columns of the input that stay in float32, by part.
    fitted : bool
        Whether weights are rounded by what their inputs look like, or each to the nearest.
    exact : tuple of str
        Parts whose weights stay in float32.
    exact_layers : int
        How many of the last layers stay in float32.
    rotated : tuple of str
        Parts whose input is turned in blocks, which share what stands out (smoothing.py).
    smoothed : tuple of str
        Parts whose largest columns are made smaller at the cost of the weights (smoothing.py).
    least : float, optional
        Mean cosine over the calibration texts down to which the least sensitive matrices are in
        eight bits (sensitivity.py); all of them when left out.
    """

    summary: str
    bits: int | None = 8
    scales: Scales | None = None
    fixed: tuple[str, ...] = ()
    columns: Mapping[str, int] = field(default_factory=dict)
    fitted: bool = False
    exact: tuple[str, ...] = ()
    exact_layers: int = 0
    rotated: tuple[str, ...] = ()
    smoothed: tuple[str, ...] = ()
    least: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        # As JSON has them, so that a record that was read is equal.
        found: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return found


VARIANTS: Mapping[Prepared, Variant] = {
    "fused": Variant(summary="float32, operations fused", bits=None),
    "int8": Variant(
        summary="inputs rotated, a scale for each token but before the attention, fitted",
        scales="row",
        fixed=("query", "key", "value"),
        rotated=(*_BEFORE_GELU, "narrow"),
        fitted=True,
    ),
    "int8-fast": Variant(
        summary="scales fixed by calibration, smoothed, largest columns of narrow apart, fitted",
        scales="static",
        columns={"narrow": 16},
        smoothed=_BEFORE_GELU,
        fitted=True,
    ),
    "int8-apart": Variant(
        summary="scales fixed by calibration, largest columns apart, fitted rounding",
        scales="static",
        columns=_COLUMNS,
        fitted=True,
    ),
    "int8-apart-row": Variant(
        summary="a scale for each token, largest columns apart, fitted rounding",
        scales="row",
        columns=_COLUMNS,
        fitted=True,
    ),
    "int8-tensor": Variant(
        summary="a scale for each tensor, largest columns apart, fitted rounding",
        scales="tensor",
        columns=_COLUMNS,
        fitted=True,
    ),
    "int8-dynamic": Variant(
        summary="a scale for each tensor, nearest rounding: what quantize_dynamic does",
        scales="tensor",
    ),
    "int8-no-narrow": Variant(
        summary="int8-dynamic, the most sensitive matrix (FFN down) in float32",
        scales="tensor",
        exact=("narrow",),
    ),
    "int8-last-fp32": Variant(
        summary="int8-dynamic, output projections and the last layer in float32",
        scales="tensor",
        exact=("joined",),
        exact_layers=1,
    ),
    "int8-smoothed": Variant(
        summary="a scale for each token, everything smoothed, nothing apart, fitted rounding",
        scales="row",
        smoothed=(*_BEFORE_GELU, "narrow"),
        fitted=True,
    ),
    "int8-mixed": Variant(
        summary="int8-apart, the matrices measured as most sensitive in float32",
        scales="static",
        columns=_COLUMNS,
        fitted=True,
        least=0.9998,
    ),
    "weights-int8": Variant(summary="weights alone in 8 bits, fitted rounding", fitted=True),
    "weights-int4": Variant(summary="weights alone in 4 bits, blocks of 32 (MatMulNBits)", bits=4),
}
