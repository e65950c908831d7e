"""From token vectors to a sentence vector, in numpy; graph_pooling.py does it inside a graph."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


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
    """Scale each row to length 1, with the floor of 1e-12 that torch's ``normalize`` has."""
    norms = np.linalg.norm(pooled, axis=1, keepdims=True)
    return np.asarray(pooled / np.maximum(norms, 1e-12), dtype=np.float32)
