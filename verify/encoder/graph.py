"""Build an encoder as an ONNX graph from its safetensors, to the byte the same every time.

Inputs are ``input_ids``, ``attention_mask`` and, where a model has several types of token,
``token_type_ids`` (int64 ``[batch, sequence]``). The output is ``last_hidden_state`` (float32
``[batch, sequence, hidden]``) or, pooled inside the graph, ``sentence_embedding`` (float32
``[batch, hidden]``, graph_pooling.py). The layers follow Devlin et al., "BERT", 2019, section 3
(post-norm transformer with exact GELU). MPNet's bias of relative places (Song et al., 2020) is
added to the mask's once, before the first layer.

The form of each part is the one that the CoreML provider of ONNX Runtime 1.21 takes whole:
Reshape with four constant sizes, Transpose, plain MatMul, Div by sqrt(head size), and GELU spelt
out as Div, Erf, Add, Mul, Mul, which the CPU provider fuses again. The mask's bias is -10000 and
not the smallest float: it is as good as minus infinity after Softmax, and half precision holds it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import VerifyError
from .graph_pooling import sentence_embedding
from .kept import is_built, keep_graph
from .model_recipe import EncoderSpec, file_sha256
from .onnx_encoder import MASK_BIAS, adopted
from .tensors import (
    POSITIONS,
    RELATIVE,
    TYPES,
    WORDS,
    attention_names,
    check_tensors,
    relative_bucket,
)
from .weights import Array, WeightsError, read_safetensors

if TYPE_CHECKING:
    import onnx

Precision = Literal["fp32", "fp16"]
Output = Literal["last_hidden_state", "sentence_embedding"]

FORM = 2
"""Number of this module's graph form; it goes up when the bytes change."""

OPSET = 17
IR_VERSION = 8
LOOK_UP = ("COREML_LOOK_UP", "CPU")
"""Metadata of a model whose look-ups stay on the CPU: our patch of the provider reads it
(``recipes/patches``), and a provider without the patch does not mind."""


def graph_name(
    static: tuple[int, int] | None, precision: str, output: Output = "last_hidden_state"
) -> str:
    """Return a graph's file stem: ``dynamic-fp32``, ``static-1x128-fp16-sentence``."""
    shape = f"static-{static[0]}x{static[1]}" if static else "dynamic"
    return f"{shape}-{precision}{'-sentence' if output == 'sentence_embedding' else ''}"


def ensure_graph(
    model_dir: Path,
    encoder: EncoderSpec,
    directory: Path,
    *,
    static: tuple[int, int] | None = None,
    precision: Precision = "fp32",
    output: Output = "last_hidden_state",
) -> Path:
    """Return the graph's path; build it unless the recorded bytes are there already.

    The record beside it (``<stem>.json``) names the form, the encoder, the weights' sha256 and
    the graph's sha256.

    Raises
    ------
    VerifyError
        When the weights do not fit the encoder, or the static shape is impossible.
    """
    weights = model_dir / encoder.weights_file
    if not weights.is_file():
        raise WeightsError(
            f"There is no weights file at {weights}.",
            hint=f"Run `python -m build fetch-model {encoder.name}` first.",
        )
    record: dict[str, Any] = {
        "form": FORM,
        "encoder": encoder.to_json(),
        "weights_sha256": file_sha256(weights),
        "static": list(static) if static else None,
        "precision": precision,
    }
    if output != "last_hidden_state":
        record["output"] = output
    folder = graph_folder(directory, encoder, record["weights_sha256"])
    path = folder / f"{graph_name(static, precision, output)}.onnx"
    if is_built(path, record):
        return path
    if encoder.architecture == "onnx":
        if output != "last_hidden_state":
            raise VerifyError(
                f"The graph of {encoder.name} is its own and does not pool.",
                hint='Pool outside of it: pooling="host".',
            )
        model = adopted(weights, encoder, static=static, half=precision == "fp16")
        _say_look_up(model, encoder)
    else:
        model = build_graph(
            read_safetensors(weights), encoder, static=static, precision=precision, output=output
        )
    keep_graph(model, path, record)
    return path


def graph_folder(directory: Path, encoder: EncoderSpec, weights_sha256: str) -> Path:
    """Return where the graphs of these weights are kept."""
    form = "" if encoder.look_up == "cpu" else f"-look-up-{encoder.look_up}"
    return directory / f"{encoder.name}-{weights_sha256[:12]}{form}"


def _say_look_up(model: onnx.ModelProto, encoder: EncoderSpec) -> None:
    key, value = LOOK_UP
    kept = [entry for entry in model.metadata_props if entry.key != key]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    if encoder.look_up == "cpu":
        model.metadata_props.add(key=key, value=value)


def build_graph(
    tensors: Mapping[str, Array],
    encoder: EncoderSpec,
    *,
    static: tuple[int, int] | None = None,
    precision: Precision = "fp32",
    output: Output = "last_hidden_state",
) -> onnx.ModelProto:
    """Build the graph in memory.

    Parameters
    ----------
    tensors : Mapping[str, ndarray]
        The weights by name, linear layers as ``[out, in]``.
    encoder : EncoderSpec
        The sizes that the weights must have.
    static : (int, int), optional
        Batch and sequence length.
    precision : {"fp32", "fp16"}
        Type of weights and arithmetic. Inputs and output keep their types.
    output : {"last_hidden_state", "sentence_embedding"}
        The token vectors, or their pooled vector, normalised where the encoder says so.

    Raises
    ------
    WeightsError
        When a tensor is missing or has another shape; every one is listed.
    VerifyError
        When the static shape exceeds the positions.
    """
    check_static(static, encoder)
    check_tensors(tensors, encoder)
    return assembled(_Writer(tensors, encoder, static, precision), output)


def check_static(static: tuple[int, int] | None, encoder: EncoderSpec) -> None:
    """Refuse a static shape that the encoder has no places for.

    Raises
    ------
    VerifyError
        Naming the shape.
    """
    if static is not None and not (static[0] >= 1 and 1 <= static[1] <= encoder.longest):
        raise VerifyError(
            f"The static shape {list(static)} does not fit {encoder.name}: batch must be at least "
            f"1 and the sequence between 1 and {encoder.longest}."
        )


def assembled(
    writer: _Writer, output: Output, domains: Mapping[str, int] | None = None
) -> onnx.ModelProto:
    """Return the model of a writer that has written nothing yet.

    ``domains`` are versions of operations beside ONNX's own.
    """
    import onnx
    from onnx import TensorProto, helper

    encoder, static = writer.encoder, writer.static
    writer.encoder_graph()
    shape: list[int | str] = list(static) if static else ["batch", "sequence"]
    result = [*shape, encoder.hidden]
    if output == "sentence_embedding":
        sentence_embedding(writer, "last_hidden_state", encoder)
        result = [shape[0], encoder.hidden]
    graph = helper.make_graph(
        writer.nodes,
        encoder.name,
        [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in encoder.inputs],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, result)],
        writer.initializers,
    )
    model = helper.make_model(
        graph,
        opset_imports=[
            helper.make_opsetid(domain, version)
            for domain, version in {"": OPSET, **(domains or {})}.items()
        ],
        ir_version=IR_VERSION,
        producer_name="ortmill",
        producer_version=str(FORM),
    )
    _say_look_up(model, encoder)
    onnx.checker.check_model(model)
    return model


class _Writer:
    """Nodes and initialisers of one graph, in a fixed order with fixed names."""

    def __init__(
        self,
        tensors: Mapping[str, Array],
        encoder: EncoderSpec,
        static: tuple[int, int] | None,
        precision: Precision,
    ) -> None:
        self.tensors = tensors
        self.encoder = encoder
        self.static = static
        self.dtype = np.dtype("<f2") if precision == "fp16" else np.dtype("<f4")
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.known: set[str] = set()

    def node(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: Array) -> str:
        from onnx import numpy_helper

        if name not in self.known:
            self.known.add(name)
            self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def scalar(self, name: str, value: float) -> str:
        return self.constant(name, np.asarray(value, dtype=self.dtype))

    def integers(self, name: str, *values: int) -> str:
        return self.constant(name, np.asarray(values, dtype="<i8"))

    def weight(self, name: str, *, transpose: bool = False) -> str:
        value = self.tensors[self.encoder.tensor_prefix + name]
        return self.constant(name, (value.T if transpose else value).astype(self.dtype))

    def layer_norm(self, source: str, name: str, weights: str) -> str:
        inputs = [source, self.weight(f"{weights}.weight"), self.weight(f"{weights}.bias")]
        epsilon = self.encoder.layer_norm_eps
        return self.node("LayerNormalization", inputs, name, axis=-1, epsilon=epsilon)

    def linear(self, source: str, name: str, weights: str) -> str:
        product = self.node(
            "MatMul", [source, self.weight(f"{weights}.weight", transpose=True)], f"{name}.matmul"
        )
        return self.node("Add", [product, self.weight(f"{weights}.bias")], name)

    def encoder_graph(self) -> None:
        from onnx import TensorProto

        state = self.embeddings()
        bias = self.mask_bias()
        if self.encoder.architecture == "mpnet":
            bias = self.node("Add", [bias, self.relative_bias()], "attention_bias")
        for layer in range(self.encoder.layers):
            state = self.layer(state, bias, layer)
        if self.dtype.itemsize == 2:  # half precision inside, float32 outside
            self.node("Cast", [state], "last_hidden_state", to=TensorProto.FLOAT)
        else:
            self.nodes[-1].output[0] = "last_hidden_state"

    def embeddings(self) -> str:
        total = self.node("Gather", [self.weight(WORDS), "input_ids"], "words")
        if "token_type_ids" in self.encoder.inputs:
            types = self.node("Gather", [self.weight(TYPES), "token_type_ids"], "types")
            total = self.node("Add", [total, types], "words_and_types")
        total = self.node("Add", [total, self.positions()], "embedded")
        return self.layer_norm(total, "embeddings", "embeddings.LayerNorm")

    def positions(self) -> str:
        prefix = self.encoder.tensor_prefix
        table = self.tensors[prefix + POSITIONS][self.encoder.first_position :]
        if self.encoder.token_types == 1:
            table = table.astype(np.float32) + self.tensors[prefix + TYPES].astype(np.float32)
        if self.static is not None:
            rows = table[None, : self.static[1], :].astype(self.dtype)
            return self.constant("positions", rows)
        whole = self.constant(POSITIONS, table.astype(self.dtype))
        inputs = [whole, self.integers("zero", 0), self.length(), self.integers("first_axis", 0)]
        return self.node("Slice", inputs, "positions")

    def length(self) -> str:
        return self.node("Shape", ["input_ids"], "sequence_length", start=1, end=2)

    def relative_bias(self) -> str:
        """Give MPNet's bias, ``[1, heads, sequence, sequence]``; the layers share it."""
        table = self.tensors[self.encoder.tensor_prefix + RELATIVE]
        longest = self.static[1] if self.static else self.encoder.longest
        pairs = table[relative_bucket(longest, self.encoder.relative_buckets)]
        value = pairs.transpose(2, 0, 1)[None].astype(self.dtype)
        if self.static:
            return self.constant("relative_bias", value)
        whole = self.constant(RELATIVE, value)
        ends = self.node("Concat", ["sequence_length", "sequence_length"], "both_ends", axis=0)
        inputs = [whole, self.integers("zeros", 0, 0), ends, self.integers("last_axes", 2, 3)]
        return self.node("Slice", inputs, "relative_bias")

    def mask_bias(self) -> str:
        from onnx import TensorProto

        kind = TensorProto.FLOAT16 if self.dtype.itemsize == 2 else TensorProto.FLOAT
        wide = self.node("Unsqueeze", ["attention_mask", self.integers("mask_axes", 1, 2)], "mask")
        cast = self.node("Cast", [wide], "mask_float", to=kind)
        inverse = self.node("Sub", [self.scalar("one", 1.0), cast], "mask_inverse")
        return self.node("Mul", [inverse, self.scalar("mask_value", MASK_BIAS)], "mask_bias")

    def heads(self, source: str, name: str, weights: str, order: Sequence[int]) -> str:
        encoder = self.encoder
        batch, length = self.static or (0, 0)
        shape = self.integers(
            "split_heads", batch, length, encoder.heads, encoder.hidden // encoder.heads
        )
        flat = self.linear(source, f"{name}.linear", weights)
        split = self.node("Reshape", [flat, shape], f"{name}.split")
        return self.node("Transpose", [split], name, perm=list(order))

    def layer(self, source: str, bias: str, number: int) -> str:
        encoder, here = self.encoder, f"layer{number}"
        prefix = f"encoder.layer.{number}"
        names = {part: f"{prefix}.{name}" for part, name in attention_names(encoder).items()}
        query = self.heads(source, f"{here}.query", names["query"], (0, 2, 1, 3))
        key = self.heads(source, f"{here}.key", names["key"], (0, 2, 3, 1))
        value = self.heads(source, f"{here}.value", names["value"], (0, 2, 1, 3))
        scale = self.scalar("head_scale", math.sqrt(encoder.hidden // encoder.heads))
        scores = self.node("MatMul", [query, key], f"{here}.scores")
        scaled = self.node("Div", [scores, scale], f"{here}.scaled")
        masked = self.node("Add", [scaled, bias], f"{here}.masked")
        shares = self.node("Softmax", [masked], f"{here}.shares", axis=-1)
        mixed = self.node("MatMul", [shares, value], f"{here}.mixed")
        turned = self.node("Transpose", [mixed], f"{here}.turned", perm=[0, 2, 1, 3])
        batch, length = self.static or (0, 0)
        joined = self.node(
            "Reshape",
            [turned, self.integers("join_heads", batch, length, encoder.hidden)],
            f"{here}.joined",
        )
        out = self.linear(joined, f"{here}.attention", names["joined"])
        added = self.node("Add", [out, source], f"{here}.attention_residual")
        middle = self.layer_norm(added, f"{here}.attention_norm", names["joined_norm"])
        wide = self.linear(middle, f"{here}.wide", f"{prefix}.intermediate.dense")
        active = self.gelu(wide, f"{here}.gelu")
        narrow = self.linear(active, f"{here}.narrow", f"{prefix}.output.dense")
        residual = self.node("Add", [narrow, middle], f"{here}.residual")
        return self.layer_norm(residual, f"{here}.norm", f"{prefix}.output.LayerNorm")

    def gelu(self, source: str, name: str) -> str:
        root = self.scalar("root_of_two", math.sqrt(2.0))
        erf = self.node("Erf", [self.node("Div", [source, root], f"{name}.div")], f"{name}.erf")
        plus = self.node("Add", [erf, self.scalar("one", 1.0)], f"{name}.plus")
        product = self.node("Mul", [source, plus], f"{name}.product")
        return self.node("Mul", [product, self.scalar("half", 0.5)], name)
