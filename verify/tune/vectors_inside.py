"""What a session with other settings computes, in the wheel's environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..encoder.settings import Tuning
from ..environment.context import TargetContext
from ..latency.queries import QUERIES


def embed_some(context: TargetContext, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Embed every fifth query by ``payload["tuning"]`` in the form ``payload["precision"]``.

    One embedder a process: onnxruntime sets some of this once in a process. Return the ``vectors``,
    and the version of ``onnxruntime``.
    """
    import onnxruntime

    with context.embedder(
        precision=payload["precision"], tuning=Tuning(**payload["tuning"])
    ) as embedder:
        vectors = embedder.embed(QUERIES[::5], kind="query")
    return {"vectors": vectors.tolist(), "onnxruntime": onnxruntime.__version__}
