"""Sentence encoders in numpy float64: BERT, XLM-R and MPNet, written from the papers' formulas.

It shares no code with the graph builder, so that a mistake in one shows against the other, and it
is held against the stored torch references of all-MiniLM-L6-v2 (tests/verify/encoder).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import erf

from verify.encoder.model_recipe import EncoderSpec

Array = np.ndarray[Any, Any]


class Float64Encoder:
    """An encoder whose weights are held in double precision."""

    def __init__(self, tensors: Mapping[str, Array], encoder: EncoderSpec) -> None:
        skip = len(encoder.tensor_prefix)
        self.spec = encoder
        self.weights = {
            name[skip:]: np.asarray(value, np.float64)
            for name, value in tensors.items()
            if value.dtype.kind == "f" and name.startswith(encoder.tensor_prefix)
        }

    def embed(self, ids: Sequence[int]) -> Array:
        """Embed one text, given as token ids: float64 ``[hidden]`` of length 1."""
        row = np.asarray([ids])
        states = self.states(row, np.ones_like(row))[0]
        pooled = states[0] if self.spec.pooling == "cls" else states.mean(0)
        return pooled / np.linalg.norm(pooled)

    def states(self, ids: Array, mask: Array, types: Array | None = None) -> Array:
        """Return the token vectors, float64 ``[batch, sequence, hidden]``."""
        state = self.weights["embeddings.word_embeddings.weight"][ids]
        state = state + self.weights["embeddings.position_embeddings.weight"][self._places(ids)]
        if self.spec.token_types:
            table = self.weights["embeddings.token_type_embeddings.weight"]
            state = state + table[np.zeros_like(ids) if types is None else types]
        state = self._norm(state, "embeddings.LayerNorm")
        for number in range(self.spec.layers):
            state = self._layer(state, mask, f"encoder.layer.{number}.")
        return state

    def _places(self, ids: Array) -> Array:
        """BERT counts every place from 0; the others count what is no padding from pad + 1."""
        if self.spec.architecture == "bert":
            return np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
        real = ids != self.spec.pad_token_id
        return np.where(real, np.cumsum(real, axis=1), 0) + self.spec.pad_token_id

    def _layer(self, state: Array, mask: Array, layer: str) -> Array:
        new = self.spec.architecture == "mpnet"
        names = [f"attn.{c}" for c in "qkv"] if new else ["self.query", "self.key", "self.value"]
        query, key, value = (
            self._heads(self._linear(state, f"{layer}attention.{name}")) for name in names
        )
        scores = query @ key.swapaxes(2, 3) / math.sqrt(query.shape[3])
        if new:
            scores = scores + self._by_distance(state.shape[1])
        scores = np.where(mask[:, None, None, :] == 1, scores, -np.inf)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = shares / shares.sum(-1, keepdims=True) @ value
        joined = mixed.swapaxes(1, 2).reshape(state.shape)
        out = self._linear(joined, f"{layer}attention.{'attn.o' if new else 'output.dense'}")
        after = f"{layer}attention.{'LayerNorm' if new else 'output.LayerNorm'}"
        state = self._norm(out + state, after)
        wide = self._linear(state, f"{layer}intermediate.dense")
        wide = wide * 0.5 * (1 + erf(wide / math.sqrt(2)))
        return self._norm(
            self._linear(wide, f"{layer}output.dense") + state, f"{layer}output.LayerNorm"
        )

    def _by_distance(self, length: int) -> Array:
        """MPNet's bias ``[heads, length, length]``, pair by pair and in whole numbers."""
        table = self.weights["encoder.relative_attention_bias.weight"]
        bias = np.empty((length, length, self.spec.heads))
        rows = [table[mpnet_bucket(away, len(table))] for away in range(-length, length + 1)]
        for place in range(length):
            for seen in range(length):
                bias[place, seen] = rows[seen - place + length]
        return bias.transpose(2, 0, 1)

    def _heads(self, x: Array) -> Array:
        return x.reshape(*x.shape[:2], self.spec.heads, -1).swapaxes(1, 2)

    def _linear(self, x: Array, name: str) -> Array:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, x: Array, name: str) -> Array:
        middle = x - x.mean(-1, keepdims=True)
        spread = np.sqrt((middle**2).mean(-1, keepdims=True) + self.spec.layer_norm_eps)
        return middle / spread * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def mpnet_bucket(away: int, buckets: int) -> int:
    """Return the bucket for a place that is ``away`` places after the one that looks at it.

    Distances from 8 on (of 32 buckets) share a bucket where ``floor(8 log16(d / 8))`` is the
    same, which is here decided in whole numbers: the largest k with 16**k <= (d / 8)**8.
    """
    half = buckets // 2
    exact = half // 2
    distance = abs(away)
    if distance >= exact:
        ratio, parts, steps = 128 // exact, half - exact, 0
        while steps < parts - 1 and ratio ** (steps + 1) * exact**parts <= distance**parts:
            steps += 1
        distance = exact + steps
    return distance + (half if away > 0 else 0)
