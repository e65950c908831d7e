"""Judge outputs against a case's own expected outputs, as the ONNX backend runner does.

``onnx/backend/test/runner/__init__.py`` (1.17.0) compares with ``numpy.testing.assert_allclose``
at rtol 1e-3 and atol 1e-7 unless the test names others, NaN equal to NaN, strings exactly. Here
the shape must be equal too, where ``assert_allclose`` would still broadcast a scalar.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .values import STRING, Absent, Items, Tensor, Value, numbers


def judge(
    got: Sequence[Value], expected: Sequence[Value], *, rtol: float, atol: float
) -> str | None:
    """Say why outputs are not the expected ones.

    Parameters
    ----------
    got, expected : Sequence[Value]
        In the order of the graph's outputs. Fewer expected than given is allowed: a test may
        leave trailing outputs open.
    rtol, atol : float
        Allowed is ``|got - expected| <= atol + rtol * |expected|``.

    Returns
    -------
    str or None
        One line, or None when everything agrees.
    """
    if len(got) < len(expected):
        return f"{len(got)} outputs where {len(expected)} are expected"
    for number, (left, right) in enumerate(zip(got, expected, strict=False)):
        if reason := _judge_value(left, right, rtol, atol):
            return f"output {number}: {reason}"
    return None


def _judge_value(got: Value, expected: Value, rtol: float, atol: float) -> str | None:
    if isinstance(expected, Items) and isinstance(got, Items):
        if len(got.items) != len(expected.items):
            return f"{len(got.items)} items where {len(expected.items)} are expected"
        reasons = (
            _judge_value(left, right, rtol, atol)
            for left, right in zip(got.items, expected.items, strict=True)
        )
        return next((reason for reason in reasons if reason), None)
    if isinstance(expected, Tensor) and isinstance(got, Tensor):
        return _judge_tensor(got, expected, rtol, atol)
    if isinstance(expected, Absent) and isinstance(got, Absent):
        return None
    return f"{type(got).__name__.lower()} where {type(expected).__name__.lower()} is expected"


def _judge_tensor(got: Tensor, expected: Tensor, rtol: float, atol: float) -> str | None:
    if got.element != expected.element:
        return f"type {got.type.name} where {expected.type.name} is expected"
    if got.shape != expected.shape:
        return f"shape {list(got.shape)} where {list(expected.shape)} is expected"
    if got.element == STRING:
        return None if got.strings == expected.strings else "other strings"
    if got.data == expected.data:
        return None
    kind = np.complex128 if got.type.kind == "complex" else np.float64
    left, right = numbers(got).astype(kind), numbers(expected).astype(kind)
    with np.errstate(all="ignore"):
        close = np.isclose(left, right, rtol=rtol, atol=atol, equal_nan=True)
        if close.all():
            return None
        worst = np.fmax.reduce(np.where(close, 0.0, np.abs(left - right)), axis=None)
    return f"{int((~close).sum())} of {close.size} elements differ, by up to {worst:.3g}"
