"""Generated cases: operators on inputs where implementations tend to part.

Each module gives the cases of one family. Their names say everything that decides the case:
``family/Operator/type/shape/content``.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from ..store import Case
from . import binary, casting, fused, layers, linear, movement, quantised, reductions, unary

__all__ = ["generated_cases"]


def generated_cases() -> Iterator[Case]:
    """Give every generated case, in the same order and with the same bytes each time."""
    return chain(
        unary.cases(),
        binary.cases(),
        casting.cases(),
        reductions.cases(),
        linear.cases(),
        layers.cases(),
        movement.cases(),
        quantised.cases(),
        fused.cases(),
    )
