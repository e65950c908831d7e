"""What helps with an operator whatever the reason, and with a reason whatever the operator."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..program import as_called

_OF_THE_DATA = "with dynamic dimension"
"""A reason of a shape that only the data give."""
_CONSTANT = ("constant", "must be known")


@functools.cache
def _known() -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Return ``advice.toml``: lists ``operator`` and ``reason``; the first that fits is told."""
    return tomllib.loads(Path(__file__).with_name("advice.toml").read_text(encoding="utf-8"))


def of_operator(op: str) -> str:
    """Return a sentence that helps with an operator whatever the reason; empty for most."""
    kind = "QuantizeLinear" if op.startswith(("QLinear", "QAttention", "QGemm")) else op
    found = (entry["advice"] for entry in _known()["operator"] if kind in entry["names"])
    return str(next(found, "")).format(op=op)


def of_reason(reason: str) -> str:
    """Return a sentence that helps with what the provider said; empty where none is known."""
    found = (
        entry["advice"]
        for entry in _known()["reason"]
        if any(words in reason for words in entry["words"])
    )
    return as_called(str(next(found, "")))


def otherwise(op: str, reason: str, model_format: str, *, dynamic: bool) -> str:
    """Return what is said where neither a sentence of its own nor a fixed axis helps."""
    if model_format == "NeuralNetwork":
        return f"The NeuralNetwork writer does not take this {op}: use ModelFormat=MLProgram."
    if any(words in reason for words in _CONSTANT):
        return (
            f"{op} wants its numbers as constants: write them into the model; where they are "
            "computed from the data it stays on the CPU."
        )
    if dynamic:
        return of_reason(_OF_THE_DATA)
    return f"No other way to write this {op} is known: it stays on the CPU."
