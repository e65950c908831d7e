"""Both confidence bounds on a quantile, of a whole measurement or of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .effective import effective_size
from .quantile import lower_rank, upper_rank

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """One-sided confidence bounds (ms, None where there is none) and the effective size."""

    upper: float | None
    lower: float | None
    effective: float


def bounds_of(
    values: Floats, labels: npt.NDArray[np.intp] | None, quantile: float, confidence: float
) -> Bounds:
    """Compute the bounds of a stable measurement; `labels` name the process of each value."""
    effective = effective_size(values, quantile=quantile, processes=labels)
    ordered = np.sort(values)
    upper = upper_rank(values.size, quantile=quantile, confidence=confidence, effective=effective)
    lower = lower_rank(values.size, quantile=quantile, confidence=confidence, effective=effective)
    return Bounds(
        upper=None if upper is None else float(ordered[upper - 1]),
        lower=None if lower is None else float(ordered[lower - 1]),
        effective=effective,
    )


def envelope(parts: Sequence[Bounds]) -> Bounds:
    """Join the parts' bounds so that a limit holds for the whole only if it does for each."""
    uppers = [part.upper for part in parts if part.upper is not None]
    lowers = [part.lower for part in parts if part.lower is not None]
    return Bounds(
        upper=max(uppers) if len(uppers) == len(parts) else None,
        lower=min(lowers) if len(lowers) == len(parts) else None,
        effective=min(part.effective for part in parts),
    )
