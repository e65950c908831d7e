"""Weights in eight bits, rounded so that the product's error is small and not each weight's.

Rounding a row of W changes the products; the rows that are not rounded yet can take most of that
change back, in proportion to how their inputs go together. The order of rows and the update follow
Frantar et al., "GPTQ", 2023, algorithm 1, with the inputs' second moments as the Hessian.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..weights import Array

LIMIT = 127
"""Largest code on either side of zero."""
DAMPING = 0.01
"""Part of the mean second moment that is added to each: inputs that never vary stay solvable."""
_BLOCK = 64
_LEAST = 1e-20


def column_scales(weight: Array, apart: Sequence[int] = ()) -> Array:
    """Return float32 ``[out]``: what one code is worth in each column, rows ``apart`` left out."""
    kept = np.delete(weight, list(apart), axis=0)
    return np.asarray(np.abs(kept).max(axis=0) / LIMIT + _LEAST, dtype=np.float32)


def nearest(weight: Array, scales: Array) -> Array:
    """Return int8 codes ``[in, out]``, each the nearest one."""
    return np.clip(np.rint(weight / scales), -LIMIT, LIMIT).astype(np.int8)


def fitted(weight: Array, scales: Array, moments: Array, apart: Sequence[int] = ()) -> Array:
    """Return int8 codes whose products with the inputs are closest to the weight's.

    Parameters
    ----------
    weight : ndarray
        ``[in, out]``.
    scales : ndarray
        ``[out]``, by :func:`column_scales`.
    moments : ndarray
        Mean of ``x[i] * x[j]`` over inputs x, float64 ``[in, in]``.
    apart : sequence of int
        Rows that stay as they are; their codes are zero.

    Returns
    -------
    ndarray
        int8 ``[in, out]``.
    """
    size = len(weight)
    order = np.argsort(-np.diag(moments), kind="stable")
    left = np.asarray(weight, dtype=np.float64)[order]
    steps = np.asarray(scales, dtype=np.float64)
    factor = _upper_factor(moments[np.ix_(order, order)])
    codes = np.zeros(left.shape, dtype=np.int8)
    exact = np.isin(order, list(apart))
    for begin in range(0, size, _BLOCK):
        end = min(begin + _BLOCK, size)
        errors = np.zeros((end - begin, left.shape[1]))
        for row in range(begin, end):
            if exact[row]:
                continue
            codes[row] = np.clip(np.rint(left[row] / steps), -LIMIT, LIMIT)
            errors[row - begin] = (left[row] - codes[row] * steps) / factor[row, row]
            left[row + 1 : end] -= np.outer(factor[row, row + 1 : end], errors[row - begin])
        left[end:] -= factor[begin:end, end:].T @ errors
    result = np.empty_like(codes)
    result[order] = codes
    return result


def _upper_factor(moments: Array) -> Array:
    """Return the upper Cholesky factor of the inverse of the damped moments."""
    damped = np.array(moments, dtype=np.float64)
    damped[np.diag_indices(len(damped))] += DAMPING * float(np.mean(np.diag(damped))) + _LEAST
    return np.asarray(np.linalg.cholesky(np.linalg.inv(damped)).T)
