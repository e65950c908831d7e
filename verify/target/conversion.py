"""The target's part of the conversion proof: packages emitted, and the CPU provider's values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from verify.target.context import TargetContext
from verify.target.providers import COREML


def emit(context: TargetContext, payload: Mapping[str, Any]) -> bool:
    """Make a session with CoreML for each graph; the provider leaves its packages in a folder.

    ``payload["graphs"]`` is a list of ``{"graph": path, "folder": path}``.
    """
    import onnxruntime

    from verify.embedder import COREML_OPTIONS
    from verify.sessions import make_session

    onnxruntime.set_default_logger_severity(3)
    for entry in payload["graphs"]:
        folder = Path(entry["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        make_session(
            Path(entry["graph"]),
            COREML,
            options=onnxruntime.SessionOptions(),
            provider_options={**COREML_OPTIONS, "ModelCacheDirectory": str(folder)},
        )
    return True


def values(context: TargetContext, payload: Mapping[str, Any]) -> bool:
    """Run graphs on the CPU provider, in single precision, and write values of theirs.

    ``payload["graphs"]`` is a list of ``{"graph", "values", "width", "file"}``. Each file is an
    npz with the named ONNX values, ``[texts, …]``, and ``attention_mask``; a text longer than
    ``width`` tokens is cut. ``payload["texts"]`` holds the texts.
    """
    from verify.sessions import load_tokenizer

    encoder = context.encoder
    for entry in payload["graphs"]:
        width = int(entry["width"])
        cut = encoder.cut_to(min(width, encoder.max_length))
        tokenizer = load_tokenizer(context.model_dir / "tokenizer.json", cut)
        session = _session(Path(entry["graph"]), entry["values"])
        rows: dict[str, list[Any]] = {name: [] for name in entry["values"]}
        masks = []
        for text in payload["texts"]:
            ids = np.full((1, width), encoder.pad_token_id, dtype=np.int64)
            mask = np.zeros((1, width), dtype=np.int64)
            tokens = tokenizer.encode(text).ids
            ids[0, : len(tokens)] = tokens
            mask[0, : len(tokens)] = 1
            feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0}
            found = session.run(entry["values"], feeds)
            for name, value in zip(entry["values"], found, strict=True):
                rows[name].append(value)
            masks.append(mask)
        content = {name: np.stack(found) for name, found in rows.items()}
        with Path(entry["file"]).open("wb") as stream:
            np.savez(stream, allow_pickle=False, attention_mask=np.stack(masks), **content)
    return True


def widened(model: Any) -> Any:
    """Return a model with every half precision type made single; the weights keep their values.

    The CPU provider has no half kernels for most operations and rounds between some of those that
    it runs in single precision. The wide graph has the same weights and no rounding, so that it
    shows what the conversion changes.
    """
    from onnx import ModelProto, TensorProto, numpy_helper

    wide = ModelProto()
    wide.CopyFrom(model)
    graph = wide.graph
    half, single = TensorProto.FLOAT16, TensorProto.FLOAT
    for tensor in graph.initializer:
        _widen(tensor, numpy_helper, half)
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == half:
                attribute.i = single
            if attribute.HasField("t"):
                _widen(attribute.t, numpy_helper, half)
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == half:
            value.type.tensor_type.elem_type = single
    return wide


def _widen(tensor: Any, numpy_helper: Any, half: int) -> None:
    if tensor.data_type == half:
        array = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _session(path: Path, names: list[str]) -> Any:
    """Make a session of the CPU provider with some inner values as graph outputs."""
    import onnx
    import onnxruntime

    model = widened(onnx.load(str(path)))
    there = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in there)
    onnxruntime.set_default_logger_severity(3)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
