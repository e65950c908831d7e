"""The encoder in float64 over many texts at once; attention alone knows where a text ends."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..model_recipe import EncoderSpec
from ..tensors import POSITIONS, RELATIVE, TYPES, WORDS, attention_names, relative_bucket
from ..weights import Array


class TextRunner:
    """Runs the layers over the tokens of all texts, which stand below each other as rows.

    ``encoded`` are the token ids of each text, at least one.
    """

    def __init__(
        self, tensors: Mapping[str, Array], encoder: EncoderSpec, encoded: Sequence[Sequence[int]]
    ) -> None:
        self.tensors = tensors
        self.encoder = encoder
        self.ids = np.concatenate([np.asarray(tokens) for tokens in encoded])
        self.places = np.concatenate([np.arange(len(tokens)) for tokens in encoded])
        self.lengths = np.asarray([len(tokens) for tokens in encoded])
        self.ends = np.cumsum([0, *self.lengths])
        self.names = attention_names(encoder)

    def given(self, rows: Array, *names: str) -> None:
        """Take notice of the input of these matrices; for those who want to know it."""

    def embedded(self) -> Array:
        """Return what the first layer is given, ``[tokens, hidden]``."""
        encoder = self.encoder
        rows = self.weight(WORDS)[self.ids]
        rows = rows + self.weight(POSITIONS)[self.places + encoder.first_position]
        if encoder.token_types:
            rows = rows + self.weight(TYPES)[0]
        return self.norm(rows, "embeddings.LayerNorm")

    def pooled(self, rows: Array) -> Array:
        """Return each text's vector out of its tokens', scaled to length 1: ``[texts, hidden]``."""
        starts = self.ends[:-1]
        if self.encoder.pooling == "cls":
            found = rows[starts]
        else:
            found = np.add.reduceat(rows, starts) / self.lengths[:, None]
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))

    def weight(self, name: str) -> Array:
        """Return a tensor in float64."""
        return np.asarray(self.tensors[self.encoder.tensor_prefix + name], dtype=np.float64)

    def linear(self, rows: Array, name: str) -> Array:
        """Multiply rows by a weight and add its bias."""
        return np.asarray(rows @ self.weight(f"{name}.weight").T + self.weight(f"{name}.bias"))

    def norm(self, rows: Array, name: str) -> Array:
        """Normalise rows."""
        centred = rows - rows.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.encoder.layer_norm_eps)
        scaled = centred / spread * self.weight(f"{name}.weight")
        return np.asarray(scaled + self.weight(f"{name}.bias"))

    def layer(self, rows: Array, number: int) -> Array:
        """Return what the layer makes of its rows."""
        prefix = f"encoder.layer.{number}"
        query, key, value, joined = (
            f"{prefix}.{self.names[part]}" for part in ("query", "key", "value", "joined")
        )
        self.given(rows, query, key, value)
        mixed = self.attention(*(self.linear(rows, name) for name in (query, key, value)))
        self.given(mixed, joined)
        norm = f"{prefix}.{self.names['joined_norm']}"
        middle = self.norm(self.linear(mixed, joined) + rows, norm)
        self.given(middle, f"{prefix}.intermediate.dense")
        active = _gelu(self.linear(middle, f"{prefix}.intermediate.dense"))
        self.given(active, f"{prefix}.output.dense")
        narrow = self.linear(active, f"{prefix}.output.dense")
        return self.norm(narrow + middle, f"{prefix}.output.LayerNorm")

    def attention(self, query: Array, key: Array, value: Array) -> Array:
        """Mix the values, each text's own."""
        heads, mixed = self.encoder.heads, np.empty_like(query)
        root = math.sqrt(query.shape[1] // heads)
        bias = self.relative_bias()
        for begin, end in zip(self.ends[:-1], self.ends[1:], strict=True):
            size = end - begin
            q, k, v = (
                part[begin:end].reshape(size, heads, -1).transpose(1, 0, 2)
                for part in (query, key, value)
            )
            scores = q @ k.transpose(0, 2, 1) / root + bias[:, :size, :size]
            shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
            shares /= shares.sum(axis=-1, keepdims=True)
            mixed[begin:end] = (shares @ v).transpose(1, 0, 2).reshape(size, -1)
        return mixed

    def relative_bias(self) -> Array:
        """Return MPNet's bias ``[heads, sequence, sequence]``, or nothing."""
        longest = int(self.lengths.max())
        if self.encoder.architecture != "mpnet":
            return np.zeros((1, longest, longest))
        buckets = relative_bucket(longest, self.encoder.relative_buckets)
        return np.asarray(self.weight(RELATIVE)[buckets].transpose(2, 0, 1))


def _gelu(x: Array) -> Array:
    """Return the exact GELU, erf within 1.5e-7 (Abramowitz and Stegun, 1964, 7.1.26)."""
    size = np.abs(x) / math.sqrt(2)
    t = 1 / (1 + 0.3275911 * size)
    series = np.zeros_like(t)
    for factor in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = t * (factor + series)
    return np.asarray(x * 0.5 * (1 + np.sign(x) * (1 - series * np.exp(-size * size))))
