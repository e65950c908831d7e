"""Fold a model's constants with the wheel's own runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..encoder.sessions import CPU
from ..environment.context import TargetContext


def fold(context: TargetContext, payload: Mapping[str, Any]) -> bool:
    """Write ``payload["output"]``: ``payload["path"]`` at the basic optimisation level.

    The CPU provider does it: with CoreML in the session, its partitions would be in the graph.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = payload["output"]
    onnxruntime.InferenceSession(payload["path"], sess_options=options, providers=[CPU])
    return True
