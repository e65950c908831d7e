"""Two models on this environment's CPU provider, in a worker: a division by zero ends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime


def run(path: Path, feeds: dict[str, Any], *, declared: bool) -> list[Any]:
    model = onnx.load(str(path))
    if not declared:  # -1 and 0 are no sizes that a runtime checks
        for item in (*model.graph.input, *model.graph.output):
            item.type.tensor_type.ClearField("shape")
        model.graph.ClearField("value_info")
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found: list[Any] = session.run(None, feeds)
    return found


def compare(paths: tuple[str, str]) -> str:
    """Return one word of how two models compare, the second one fixed, and what differs."""
    before, after = map(Path, paths)
    onnxruntime.set_default_logger_severity(4)
    model = onnx.load(str(after))
    random = np.random.default_rng(5)
    feeds: dict[str, Any] = {}
    for item in model.graph.input:
        kind = item.type.tensor_type
        shape = [dim.dim_value for dim in kind.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        feeds[item.name] = np.asarray(random.standard_normal(shape)).astype(dtype)
    try:
        wanted = run(before, feeds, declared=False)
    except Exception as error:
        return f"unknown: the original does not run: {str(error)[:200]}"
    try:
        found = run(after, feeds, declared=True)
    except Exception as error:
        return f"differs: the fixed graph does not run: {str(error)[:300]}"
    half = any(item.type.tensor_type.elem_type == 10 for item in model.graph.output)
    for one, two in zip(wanted, found, strict=True):
        first, second = (np.asarray(array, np.float64) for array in (one, two))
        if first.shape != second.shape:
            return f"differs: {first.shape}, {second.shape}"
        if np.isfinite(first).all():
            size = max(float(np.abs(first).max(initial=0.0)), 1e-6)
            gap = float(np.abs(first - second).max(initial=0.0))
            if not gap <= (2e-2 if half else 2e-5) * size:
                return f"differs: by {gap:.3g} of {size:.3g}"
    return "equal"
