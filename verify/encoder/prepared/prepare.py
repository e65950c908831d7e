"""Make a prepared graph from the weights, and keep it with a record of what was done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import VerifyError
from ..graph import (
    Output,
    assembled,
    check_static,
    graph_folder,
    graph_name,
    is_built,
    keep_graph,
)
from ..model_recipe import EncoderSpec, file_sha256
from ..tensors import attention_names, check_tensors
from ..weights import Array, read_safetensors
from .fused_graph import DOMAIN, FusedWriter
from .int8_graph import MIDDLE, CodedMatrix, Int8Writer
from .moments import Calibration, Inputs, calibrate
from .rounding import column_scales, fitted, nearest
from .variants import FORM, VARIANTS, Prepared, Variant
from .weights_graph import WeightsWriter

if TYPE_CHECKING:
    import onnx


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
    the calibration tokens, the weights' sha256 and the graph's. The first making takes as long as
    running the encoder in float64 over some seven thousand tokens.

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
    record: dict[str, Any] = {
        "form": FORM,
        "variant": variant,
        "steps": chosen.to_json(),
        "encoder": encoder.to_json(),
        "weights_sha256": file_sha256(weights),
        "static": list(static) if static else None,
        "output": output,
    }
    folder = graph_folder(directory, encoder, record["weights_sha256"])
    path = folder / f"{graph_name(static, variant, output)}.onnx"
    if is_built(path, record):
        return path
    tensors = read_safetensors(weights)
    check_tensors(tensors, encoder)
    matrices: dict[str, CodedMatrix] = {}
    if chosen.bits == 8:
        calibration = calibrate(tensors, encoder, model_dir / "tokenizer.json")
        matrices = coded_matrices(tensors, encoder, chosen, calibration)
        record["calibration"] = {
            "texts": calibration.texts,
            "tokens": calibration.tokens,
            "sha256": calibration.sha256,
        }
        record["matrices"] = len(matrices)
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
    writer: FusedWriter
    if variant.scales is not None:
        writer = Int8Writer(tensors, encoder, static, matrices=matrices, scales=variant.scales)
    elif variant.bits is not None:
        writer = WeightsWriter(tensors, encoder, static, matrices=matrices, bits=variant.bits)
    else:
        writer = FusedWriter(tensors, encoder, static, "fp32")
    return assembled(writer, output, {DOMAIN: 1})


def coded_matrices(
    tensors: Mapping[str, Array],
    encoder: EncoderSpec,
    variant: Variant,
    calibration: Calibration,
) -> dict[str, CodedMatrix]:
    """Return every matrix of the variant in eight bits, by name without ``.weight``."""
    parts = {**attention_names(encoder), "wide": "intermediate.dense", "narrow": "output.dense"}
    del parts["joined_norm"]
    found = {}
    for layer in range(encoder.layers - variant.exact_layers):
        for part, name in parts.items():
            if part in variant.exact:
                continue
            full = f"encoder.layer.{layer}.{name}"
            weight = tensors[f"{encoder.tensor_prefix}{full}.weight"].T.astype(np.float64)
            count = variant.columns.get(part, 0)
            found[full] = _coded(weight, calibration.inputs[full], count, variant.fitted)
    return found


def _coded(weight: Array, inputs: Inputs, count: int, fit: bool) -> CodedMatrix:
    columns = inputs.largest_columns(min(count, len(weight) // 2))
    rest = np.setdiff1d(np.arange(len(weight)), columns)
    scales = column_scales(weight, columns)
    codes = (
        fitted(weight, scales, inputs.moments, columns) if fit else nearest(weight, scales)
    ).astype(np.int16)
    codes[list(columns)] = 0
    return CodedMatrix(
        codes=(codes + MIDDLE).astype(np.uint8),
        scales=scales,
        columns=columns,
        apart=weight[list(columns)].astype(np.float32),
        low=float(inputs.low[rest].min()),
        high=float(inputs.high[rest].max()),
    )
