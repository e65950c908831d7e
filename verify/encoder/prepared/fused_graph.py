"""The encoder's graph out of the CPU provider's fused operations, equal up to rounding.

MultiHeadAttention, SkipLayerNormalization, BiasGelu and MatMulIntegerToFloat are operations of
ONNX Runtime (domain ``com.microsoft``), so this form is for its CPU provider alone. Two biases of
the attention cost nothing here: a key's bias adds the same to every score of a row, which Softmax
does not see; a value's bias passes through the mean of values, so it is added after the output
projection as ``bias @ weight``.

Token vectors stand as rows, float32 ``[batch * sequence, hidden]``; attention alone needs three
axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..graph import _Writer
from ..tensors import TYPES, WORDS, attention_names
from ..weights import Array

DOMAIN = "com.microsoft"


class FusedWriter(_Writer):
    """Nodes and initialisers of one fused graph."""

    gelu_operation = "BiasGelu"

    def encoder_graph(self) -> None:
        """Write everything from the inputs to ``last_hidden_state``."""
        from onnx import TensorProto

        self.mask_bias()
        self.node("Cast", ["attention_mask"], "mask_int", to=TensorProto.INT32)
        if self.static is None:
            shape = self.node("Shape", ["input_ids"], "text_shape")
            hidden = self.integers("hidden", self.encoder.hidden)
            self.node("Concat", [shape, hidden], "tokens_of", axis=0)
        else:
            self.integers("tokens_of", *self.static, self.encoder.hidden)
        state = self.as_rows(self.embeddings(), "embedded_rows")
        relative = self.encoder.architecture == "mpnet"
        bias = self.relative_bias() if relative else ""
        for layer in range(self.encoder.layers):
            state = self.layer(state, bias, layer)
        self.as_tokens(state, "last_hidden_state")

    def fused(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Add a node of ONNX Runtime's own domain."""
        return self.node(op, inputs, name, domain=DOMAIN, **attributes)

    def as_rows(self, source: str, name: str) -> str:
        """Turn ``[batch, sequence, hidden]`` into rows; no bytes move."""
        return self.node("Reshape", [source, self.integers("rows", -1, self.encoder.hidden)], name)

    def as_tokens(self, source: str, name: str) -> str:
        """Turn rows into ``[batch, sequence, hidden]``; no bytes move."""
        return self.node("Reshape", [source, "tokens_of"], name)

    def embeddings(self) -> str:
        """Add words, types and places, and normalise the sum."""
        total = self.node("Gather", [self.weight(WORDS), "input_ids"], "words")
        if "token_type_ids" in self.encoder.inputs:
            types = self.node("Gather", [self.weight(TYPES), "token_type_ids"], "types")
            total = self.node("Add", [total, types], "words_and_types")
        return self.skip_norm(total, self.positions(), "embeddings", "embeddings.LayerNorm")

    def skip_norm(
        self, source: str, skip: str, name: str, weights: str, bias: str | None = None
    ) -> str:
        """Normalise ``source + skip + bias``."""
        inputs = [source, skip, self.weight(f"{weights}.weight"), self.weight(f"{weights}.bias")]
        return self.fused(
            "SkipLayerNormalization",
            [*inputs, *([bias] if bias else [])],
            name,
            epsilon=self.encoder.layer_norm_eps,
        )

    def product(self, source: str, name: str, weights: str) -> str:
        """Multiply rows by a weight ``[in, out]``, without its bias."""
        return self.node("MatMul", [source, self.weight(f"{weights}.weight", transpose=True)], name)

    def layer(self, source: str, bias: str, number: int) -> str:
        """Write one layer, rows to rows."""
        here, prefix = f"layer{number}", f"encoder.layer.{number}"
        names = {part: f"{prefix}.{name}" for part, name in attention_names(self.encoder).items()}
        mixed = self.attention(source, bias, names, here)
        joined = self.as_rows(mixed, f"{here}.joined")
        out = self.product(joined, f"{here}.attention.matmul", names["joined"])
        passed = self.constant(
            f"{names['joined']}.bias_with_value",
            self.bias_with_value(names["joined"], names["value"]),
        )
        middle = self.skip_norm(out, source, f"{here}.attention_norm", names["joined_norm"], passed)
        wide = self.product(middle, f"{here}.wide.matmul", f"{prefix}.intermediate.dense")
        wide_bias = self.weight(f"{prefix}.intermediate.dense.bias")
        active = self.fused(self.gelu_operation, [wide, wide_bias], f"{here}.gelu")
        narrow = self.product(active, f"{here}.narrow.matmul", f"{prefix}.output.dense")
        narrow_bias = self.weight(f"{prefix}.output.dense.bias")
        return self.skip_norm(
            narrow, middle, f"{here}.norm", f"{prefix}.output.LayerNorm", narrow_bias
        )

    def attention(self, source: str, bias: str, names: Mapping[str, str], here: str) -> str:
        """Mix the values of rows, rows to ``[batch, sequence, hidden]``."""
        query = self.product(source, f"{here}.query.matmul", names["query"])
        moved = self.node(
            "Add", [query, self.weight(f"{names['query']}.bias")], f"{here}.query.linear"
        )
        key = self.product(source, f"{here}.key.matmul", names["key"])
        value = self.product(source, f"{here}.value.matmul", names["value"])
        parts = [
            self.as_tokens(part, f"{here}.{kind}")
            for part, kind in ((moved, "query"), (key, "key"), (value, "value"))
        ]
        return self.fused(
            "MultiHeadAttention",
            [*parts, "", "mask_int", *([bias] if bias else [])],
            f"{here}.mixed",
            num_heads=self.encoder.heads,
        )

    def bias_with_value(self, joined: str, value: str) -> Array:
        """Return the output projection's bias with the value's bias sent through it."""
        prefix = self.encoder.tensor_prefix
        dense = self.tensors[f"{prefix}{joined}.weight"].astype(np.float64)
        moved = self.tensors[f"{prefix}{value}.bias"].astype(np.float64)
        own = self.tensors[f"{prefix}{joined}.bias"].astype(np.float64)
        return np.asarray(own + dense @ moved, dtype=self.dtype)
