"""Make a prepared graph from the weights, and keep it with a record of what was done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import VerifyError
from ..graph import Output, assembled, check_static, graph_folder, graph_name
from ..kept import is_built, keep_file, keep_graph, record_of
from ..model_recipe import EncoderSpec, file_sha256
from ..tensors import check_tensors
from ..weights import Array, read_safetensors, write_safetensors
from .coded import MIDDLE, CodedMatrix, CodedWriter, part_names
from .fused_graph import DOMAIN
from .int8_graph import Int8Writer
from .moments import Calibration, calibrate, calibration_tokens
from .processor import described
from .rounding import column_scales, fitted, nearest
from .sensitivity import least_sensitive
from .smoothing import Linear, rotated, smoothed
from .variants import FORM, VARIANTS, Prepared, Variant
from .weights_graph import WeightsWriter

if TYPE_CHECKING:
    import onnx

_EVERY = 4
"""Of so many calibration texts one serves to measure how sensitive a matrix is."""
_NOT_IN_CODES = ("summary", "bits", "scales", "fixed")
"""Steps that the weights in eight bits do not depend on: how their inputs are scaled."""


def ensure_prepared(
    model_dir: Path,
    encoder: EncoderSpec,
    directory: Path,
    *,
    variant: Prepared,
    static: tuple[int, int] | None = None,
    output: Output = "last_hidden_state",
) -> Path:
    """Return the prepared graph's path; make it unless the recorded bytes are there already.

    The record beside it (``<stem>.json``) names the variant and each of its steps, the digest of
    the calibration tokens, the weights' sha256 and the graph's, and the instructions for products
    of bytes on the machine that made it. The weights in eight bits are kept too, for the graphs of
    other shapes and for variants that differ in how the inputs are scaled alone.

    Raises
    ------
    VerifyError
        When the weights do not fit the encoder, or the static shape is impossible.
    """
    if encoder.architecture == "onnx":
        raise VerifyError(
            f"{encoder.name} comes as a graph of its own, which is not taken apart.",
            hint='Use precision="fp32"; the prepared forms are made from weights.',
        )
    check_static(static, encoder)
    weights = model_dir / encoder.weights_file
    chosen = VARIANTS[variant]
    source: dict[str, Any] = {
        "form": FORM,
        "encoder": encoder.to_json(),
        "weights_sha256": file_sha256(weights),
    }
    record = {
        **source,
        "variant": variant,
        "steps": chosen.to_json(),
        "static": list(static) if static else None,
        "output": output,
    }
    folder = graph_folder(directory, encoder, source["weights_sha256"])
    path = folder / f"{graph_name(static, variant, output)}.onnx"
    if is_built(path, record):
        return path
    tensors = read_safetensors(weights)
    check_tensors(tensors, encoder)
    matrices: dict[str, CodedMatrix] = {}
    if chosen.bits == 8:
        codes = _ensure_codes(
            folder, source, tensors, encoder, variant=chosen, tokenizer=model_dir / "tokenizer.json"
        )
        matrices = _read_codes(codes)
        kept = record_of(codes)
        record |= {name: kept[name] for name in ("calibration", "costs") if name in kept}
        record["matrices"] = sorted(matrices)
    record["prepared_on"] = described()
    model = prepared_graph(tensors, encoder, chosen, matrices, static=static, output=output)
    keep_graph(model, path, record)
    return path


def prepared_graph(
    tensors: Mapping[str, Array],
    encoder: EncoderSpec,
    variant: Variant,
    matrices: Mapping[str, CodedMatrix],
    *,
    static: tuple[int, int] | None = None,
    output: Output = "last_hidden_state",
) -> onnx.ModelProto:
    """Build a prepared graph in memory.

    Parameters
    ----------
    tensors : Mapping[str, ndarray]
        The weights by name, linear layers as ``[out, in]``.
    encoder : EncoderSpec
        The encoder.
    variant : Variant
        What is done to it.
    matrices : Mapping[str, CodedMatrix]
        The weights in eight bits, by name without ``.weight``; the others stay in float32.
    static : (int, int), optional
        Batch and sequence length.
    output : {"last_hidden_state", "sentence_embedding"}
        What the graph gives.
    """
    kind: type[CodedWriter] = CodedWriter
    if variant.bits is not None:
        kind = WeightsWriter if variant.scales is None else Int8Writer
    writer = kind(tensors, encoder, static, matrices=matrices, variant=variant)
    return assembled(writer, output, {DOMAIN: 1})


def coded_matrices(
    tensors: Mapping[str, Array], encoder: EncoderSpec, variant: Variant, calibration: Calibration
) -> dict[str, CodedMatrix]:
    """Return every matrix of the variant in eight bits, by name without ``.weight``."""
    names = part_names(encoder)
    found = {}
    for layer in range(encoder.layers - variant.exact_layers):
        full = {part: f"encoder.layer.{layer}.{name}" for part, name in names.items()}
        parts = {
            part: Linear(
                weight=tensors[f"{encoder.tensor_prefix}{name}.weight"].T.astype(np.float64),
                inputs=calibration.inputs[name],
            )
            for part, name in full.items()
        }
        parts = rotated(parts, variant.rotated, encoder.hidden // encoder.heads)
        for part, linear in smoothed(parts, variant.smoothed).items():
            if part not in variant.exact:
                count = variant.columns.get(part, 0)
                found[full[part]] = _coded(linear, count, variant.fitted)
    return found


def _coded(linear: Linear, count: int, fit: bool) -> CodedMatrix:
    weight, inputs = linear.weight, linear.inputs
    columns = inputs.largest_columns(min(count, len(weight) // 2))
    rest = np.setdiff1d(np.arange(len(weight)), columns)
    scales = column_scales(weight, columns)
    codes = (
        fitted(weight, scales, inputs.moments, columns) if fit else nearest(weight, scales)
    ).astype(np.int16)
    codes[list(columns)] = 0
    exact = weight if linear.factors is None else weight * linear.factors[:, None]
    return CodedMatrix(
        codes=(codes + MIDDLE).astype(np.uint8),
        scales=scales,
        columns=columns,
        apart=exact[list(columns)].astype(np.float32),
        low=float(inputs.low[rest].min()),
        high=float(inputs.high[rest].max()),
        factors=linear.factors,
        block=linear.block,
    )


def _ensure_codes(
    folder: Path,
    source: Mapping[str, Any],
    tensors: Mapping[str, Array],
    encoder: EncoderSpec,
    *,
    variant: Variant,
    tokenizer: Path,
) -> Path:
    """Return the file of the weights in eight bits, made when it is not there."""
    steps = {key: value for key, value in variant.to_json().items() if key not in _NOT_IN_CODES}
    record = {**source, "steps": steps}
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    path = folder / f"codes-{digest[:12]}.safetensors"
    if is_built(path, record, hash="sha256"):
        return path
    calibration = calibrate(tensors, encoder, tokenizer)
    matrices = coded_matrices(tensors, encoder, variant, calibration)
    found: dict[str, Any] = {
        "calibration": {
            "texts": calibration.texts,
            "tokens": calibration.tokens,
            "sha256": calibration.sha256,
        }
    }
    if variant.least is not None:
        texts = calibration_tokens(encoder, tokenizer)[::_EVERY]
        matrices, found["costs"] = least_sensitive(tensors, encoder, matrices, texts, variant.least)
    stored: dict[str, Array] = {}
    for name, matrix in matrices.items():
        stored |= {
            f"{name}|codes": matrix.codes,
            f"{name}|scales": matrix.scales,
            f"{name}|columns": np.asarray(matrix.columns, dtype=np.int64),
            f"{name}|apart": matrix.apart,
            f"{name}|range": np.asarray([matrix.low, matrix.high]),
            f"{name}|block": np.asarray(matrix.block, dtype=np.int64),
        }
        if matrix.factors is not None:
            stored[f"{name}|factors"] = matrix.factors
    keep_file(
        path, {**record, **found}, lambda part: write_safetensors(part, stored), hash="sha256"
    )
    return path


def _read_codes(path: Path) -> dict[str, CodedMatrix]:
    stored: dict[str, dict[str, Array]] = {}
    for key, value in read_safetensors(path).items():
        name, _, part = key.rpartition("|")
        stored.setdefault(name, {})[part] = value
    return {
        name: CodedMatrix(
            codes=parts["codes"],
            scales=parts["scales"],
            columns=tuple(int(each) for each in parts["columns"]),
            apart=parts["apart"],
            low=float(parts["range"][0]),
            high=float(parts["range"][1]),
            factors=parts.get("factors"),
            block=int(parts["block"]),
        )
        for name, parts in stored.items()
    }
