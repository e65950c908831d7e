"""The target's part of the conversion proof: packages emitted, and the CPU provider's values."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..encoder.number_types import DOUBLE, FLOAT, retyped, widened
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
                row.append(np.array(value))  # asked for an input, the runtime gives the feed itself
            if mask is not None:
                masks.append(mask)
        content = {f"v{place}": np.stack(found) for place, found in enumerate(rows)}
        with Path(entry["file"]).open("wb") as stream:
            if masks:
                content[MASK] = np.stack(masks)
            np.savez(stream, allow_pickle=False, **content)
    return True


def noise(context: TargetContext, payload: Mapping[str, Any]) -> float:
    """Return how far the CPU provider's own kernels are from themselves on one graph.

    The same values (``payload`` is an entry as :func:`values` takes it, with ``feeds``) without
    optimisation, with all of it, and in double precision: by its own kernels where every operator
    has one, and by ONNX's reference, for a kernel may cut the tails off in every precision. The
    largest difference of an element from the usual answer, as a share of the value's largest.
    """
    import onnxruntime

    path, names = Path(payload["graph"]), payload["values"]
    level = onnxruntime.GraphOptimizationLevel
    usual = _session(path, names)
    others: list[tuple[Callable[[], Any], type[Any]]] = [
        (lambda: _session(path, names, level=level.ORT_DISABLE_ALL), np.float32),
        (lambda: _session(path, names, double=True), np.float64),
        (lambda: _reference(path, names), np.float64),
    ]
    rows = [feeds for feeds, _ in _given(Path(payload["feeds"]), payload.get("rows"))]
    wanted = [usual.run(names, feeds) for feeds in rows]
    worst = 0.0
    for made, kind in others:
        try:
            answers = made()
            found = [answers.run(names, _cast(feeds, kind)) for feeds in rows]
        except Exception as error:  # each has classes of its own for an operator that it has not
            print(f"one of the ways does not take this graph: {error}", file=sys.stderr)
            continue
        for before, after in zip(wanted, found, strict=True):
            for one, two in zip(before, after, strict=True):
                gap = np.abs(np.asarray(one, np.float64) - np.asarray(two, np.float64))
                size = np.abs(np.asarray(two, np.float64)).max(initial=0.0)
                worst = max(worst, float(np.nan_to_num(gap).max(initial=0.0) / (size or 1.0)))
    return worst


def _cast(feeds: Mapping[str, Any], kind: type[Any]) -> dict[str, Any]:
    return {
        name: value.astype(kind) if value.dtype == np.float32 else value
        for name, value in feeds.items()
    }


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
        tokens = tokenizer.encode(encoder.prefixed(text, "query")).ids
        ids[0, : len(tokens)] = tokens
        mask[0, : len(tokens)] = 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0}
        yield {name: given[name] for name in encoder.inputs}, mask


def stored_feeds(path: Path, chosen: Sequence[int] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the inputs of each row of a file of feeds, or of the chosen rows."""
    with np.load(path, allow_pickle=False) as stored:
        names = json.loads(str(stored["names"]))
        arrays = {name: stored[f"v{place}"] for place, name in enumerate(names)}
        count = int(stored["count"])
    for row in range(count) if chosen is None else chosen:
        # With the dots a row of numbers gives an array without axes: the runtime takes no number.
        yield {name: array[row, ...] for name, array in arrays.items()}


def _given(path: Path, chosen: Sequence[int] | None) -> Iterator[tuple[dict[str, Any], None]]:
    """Yield the same with half precision as single, as the graph's inputs are made."""
    for feeds in stored_feeds(path, chosen):
        yield {name: _wide(array) for name, array in feeds.items()}, None


def _wide(array: Any) -> Any:
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _model(path: Path, names: list[str], *, double: bool) -> Any:
    """Return a model in single or double precision with some inner values as graph outputs."""
    import onnx

    model = widened(onnx.load(str(path)))
    there = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in there)
    if double:
        model = retyped(model, FLOAT, DOUBLE)
        model.graph.ClearField("value_info")
    return model


def _reference(path: Path, names: list[str]) -> Any:
    """Return ONNX's own evaluator of the model in double precision; it runs as a session does."""
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.op_run import OpRun

    # The evaluator's own Erf rounds to single precision, whatever its input, and so does the Gelu
    # that it makes of it: beside 1 nothing is left of a tail.
    def erf(values: Any) -> Any:
        return np.vectorize(math.erf, otypes=[values.dtype])(values)

    class Erf(OpRun):
        op_domain = ""

        def _run(self, x: Any) -> tuple[Any]:
            return (erf(x),)

    class Gelu(OpRun):
        op_domain = ""

        def _run(self, x: Any, approximate: str | None = None) -> tuple[Any]:
            if approximate == "tanh":
                inner = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
            else:
                inner = erf(x / math.sqrt(2))
            return (x * (1 + inner) / 2,)

    return ReferenceEvaluator(_model(path, names, double=True), new_ops=[Erf, Gelu])


def _session(path: Path, names: list[str], *, level: Any = None, double: bool = False) -> Any:
    """Make a session of the CPU provider with some inner values as graph outputs."""
    import onnxruntime

    model = _model(path, names, double=double)
    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    if level is not None:
        options.graph_optimization_level = level
    content = model.SerializeToString()
    return onnxruntime.InferenceSession(content, sess_options=options, providers=[CPU])
