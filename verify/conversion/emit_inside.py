"""The target's part of the conversion proof: packages emitted, and the CPU provider's values."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..encoder.number_types import widened
from ..encoder.sessions import COREML, COREML_OPTIONS, CPU, load_tokenizer, make_session
from ..environment.context import TargetContext

GRAPH_LINE = "@graph "
"""Begins the line on standard error after which everything said is about that graph."""
MASK = "mask"
"""Key of the attention masks beside the values, where texts were run."""


def emit(context: TargetContext, payload: Mapping[str, Any]) -> bool:
    """Make a session with CoreML for each graph; the provider leaves its packages in a folder.

    ``payload["graphs"]`` is a list of ``{"graph": path, "folder": path}``. With
    ``payload["profile"]`` the provider says on standard error where Core ML would run each
    operation (a Mac with macOS 14.4 or later; elsewhere it says nothing).
    """
    import onnxruntime

    profile = {"ProfileComputePlan": "1"} if payload.get("profile") else {}
    os.environ["CFLOG_FORCE_STDERR"] = "YES"  # NSLog writes there only where someone may look
    onnxruntime.set_default_logger_severity(3)
    for entry in payload["graphs"]:
        folder = Path(entry["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        if profile:
            print(f"{GRAPH_LINE}{entry['graph']}", file=sys.stderr, flush=True)
        make_session(
            Path(entry["graph"]),
            COREML,
            options=onnxruntime.SessionOptions(),
            provider_options={**COREML_OPTIONS, **profile, "ModelCacheDirectory": str(folder)},
        )
    return True


def values(context: TargetContext, payload: Mapping[str, Any]) -> bool:
    """Run graphs on the CPU provider, in single precision, and write values of theirs.

    ``payload["graphs"]`` is a list of ``{"graph", "values", "file"}`` with either ``width``, where
    ``payload["texts"]`` are run, each cut to so many tokens; or ``feeds``, an npz with the graph's
    inputs (:func:`verify.conversion.own_model.write_feeds`), and ``rows``, which of them.
    Each file is an npz: the value at place 2 of ``values`` is ``v2``, ``[rows, …]``,
    and the texts' attention masks are ``mask``.
    """
    for entry in payload["graphs"]:
        session = _session(Path(entry["graph"]), entry["values"])
        if "feeds" in entry:
            runs = _given(Path(entry["feeds"]), entry.get("rows"))
        else:
            runs = _tokenised(context, payload["texts"], int(entry["width"]))
        rows: list[list[Any]] = [[] for _ in entry["values"]]
        masks: list[Any] = []
        for feeds, mask in runs:
            found = session.run(entry["values"], feeds)
            for row, value in zip(rows, found, strict=True):
                row.append(value)
            if mask is not None:
                masks.append(mask)
        content = {f"v{place}": np.stack(found) for place, found in enumerate(rows)}
        with Path(entry["file"]).open("wb") as stream:
            if masks:
                content[MASK] = np.stack(masks)
            np.savez(stream, allow_pickle=False, **content)
    return True


def _tokenised(
    context: TargetContext, texts: Sequence[str], width: int
) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield the inputs for each text, padded or cut to ``width``, and its attention mask."""
    encoder = context.encoder
    cut = encoder.cut_to(min(width, encoder.max_length))
    tokenizer = load_tokenizer(context.model_dir / "tokenizer.json", cut)
    for text in texts:
        ids = np.full((1, width), encoder.pad_token_id, dtype=np.int64)
        mask = np.zeros((1, width), dtype=np.int64)
        tokens = tokenizer.encode(text).ids
        ids[0, : len(tokens)] = tokens
        mask[0, : len(tokens)] = 1
        yield {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0}, mask


def _given(path: Path, chosen: Sequence[int] | None) -> Iterator[tuple[dict[str, Any], None]]:
    """Yield the inputs of each chosen row of a file of feeds."""
    with np.load(path, allow_pickle=False) as stored:
        names = json.loads(str(stored["names"]))
        arrays = {name: _wide(stored[f"v{place}"]) for place, name in enumerate(names)}
        count = int(stored["count"])
    for row in range(count) if chosen is None else chosen:
        yield {name: array[row] for name, array in arrays.items()}, None


def _wide(array: Any) -> Any:
    """Return half precision as single, as the graph's inputs are made."""
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _session(path: Path, names: list[str]) -> Any:
    """Make a session of the CPU provider with some inner values as graph outputs."""
    import onnx
    import onnxruntime

    model = widened(onnx.load(str(path)))
    there = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in there)
    onnxruntime.set_default_logger_severity(3)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=[CPU])
