"""Embed the reference texts and the retrieval set in one form, in the wheel's environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..encoder import reference
from ..encoder.prepared.processor import saturating
from ..environment.context import TargetContext
from .retrieval import retrieval_set

_MIB = 2**20


def embed_form(context: TargetContext, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Embed everything in the form ``payload["precision"]``.

    Reference texts are embedded one by one, as the gate does. The retrieval set goes in batches.
    ``vectors`` is the name of a file in the context's folder (references, queries, passages:
    float32 ``[n, hidden]``); ``memory_mib`` is what the process grew by until it had embedded its
    first text.
    """
    import psutil

    precision = payload["precision"]
    texts, _, _ = reference.load_texts(context.references or reference.default_folder())
    kinds = reference.kinds_of(context.encoder, len(texts))
    process = psutil.Process()
    graph = context.graph(precision=precision)
    before = process.memory_info().rss
    with context.embedder(precision=precision) as embedder:
        embedder.embed([texts[0].text], kind="query")
        grown = process.memory_info().rss - before
        found = {
            "references": np.concatenate(
                [
                    embedder.embed([entry.text], kind=kind)
                    for entry, kind in zip(texts, kinds, strict=True)
                ]
            )
        }
        if payload["retrieval"]:
            known = retrieval_set()
            context.say(f"{precision}: {len(known.passages)} passages")
            found["queries"] = embedder.embed(known.queries, kind="query")
            found["passages"] = embedder.embed(known.passages, kind="passage")
    path = context.work / f"vectors-{precision}.npz"
    np.savez(path, allow_pickle=False, **found)
    return {"vectors": path.name, "graph_bytes": graph.stat().st_size, "memory_mib": grown / _MIB}


def saturation(context: TargetContext, payload: None) -> dict[str, bool] | None:
    """Say which products of bytes are wrong with this wheel on this machine."""
    return saturating()
