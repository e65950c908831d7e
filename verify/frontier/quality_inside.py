"""Embed the reference texts and the retrieval set in one form, in the wheel's environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..encoder import reference
from ..environment.context import TargetContext
from .retrieval import retrieval_set

_MIB = 2**20


def embed_form(context: TargetContext, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Embed everything in the form ``payload["precision"]``.

    Reference texts are embedded one by one, as the gate does. The retrieval set goes in batches.

    Returns
    -------
    dict
        ``vectors``: the name of a file in the context's folder (references, queries, passages:
        float32 ``[n, hidden]``); ``graph_bytes``; ``memory_mib``: what the process grew by until
        it had embedded its first text.
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
    return {
        "vectors": path.name,
        "graph_bytes": graph.stat().st_size,
        "memory_mib": grown / _MIB,
    }


def saturation(context: TargetContext, payload: None) -> dict[str, bool]:
    """Say which products of bytes are wrong on this machine: ``{"u8s8": …, "u8u8": …}``.

    Kernels without VNNI add two products in 16 bits, where 255 times 127 twice does not fit.
    """
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    found = {}
    for name, kind, value in (("u8s8", np.int8, 127), ("u8u8", np.uint8, 255)):
        weight = np.full((64, 16), value, dtype=kind)
        graph = helper.make_graph(
            [helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
            name,
            [helper.make_tensor_value_info("a", TensorProto.UINT8, [16, 64])],
            [helper.make_tensor_value_info("c", TensorProto.INT32, [16, 16])],
            [numpy_helper.from_array(weight, "b")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        given = np.full((16, 64), 255, dtype=np.uint8)
        product = session.run(None, {"a": given})[0]
        found[name] = bool((product != given.astype(np.int32) @ weight.astype(np.int32)).any())
    return found
