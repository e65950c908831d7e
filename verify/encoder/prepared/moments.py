"""What the inputs of every matrix look like: the encoder in float64 over texts of our own.

The texts are ``calibration.txt`` (many scripts, code, single marks), passages joined of them up to
the encoder's length, and random tokens, so that every part of the vocabulary is met. Each text
counts the same, however long it is: a sentence vector is a mean of token vectors, so an error in
a short text's tokens weighs more. The moments are rounded to what float32 holds, so that the last
bits of a sum decide nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..model_recipe import EncoderSpec
from ..sessions import load_tokenizer
from ..tensors import (
    POSITIONS,
    RELATIVE,
    TYPES,
    WORDS,
    attention_names,
    relative_bucket,
)
from ..weights import Array

SEED = 20210830
RANDOM_TEXTS = 120
_LONGEST_RANDOM = 24
_JOINED = (3, 3, 5, 5, 8, 8, 12, 12, 16, 16)


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The inputs of one matrix over all calibration tokens.

    Parameters
    ----------
    moments : ndarray
        Mean of ``x[i] * x[j]``, float64 ``[in, in]``.
    low, high : ndarray
        Least and largest value of each column, float64 ``[in]``.
    """

    moments: Array
    low: Array
    high: Array

    def largest_columns(self, count: int) -> tuple[int, ...]:
        """Return the columns with the largest absolute values, in their own order."""
        largest = np.maximum(-self.low, self.high)
        return tuple(sorted(int(i) for i in np.argsort(-largest, kind="stable")[:count]))


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Inputs by matrix (``encoder.layer.0.output.dense``), and of what they were made."""

    inputs: Mapping[str, Inputs]
    texts: int
    tokens: int
    sha256: str


def calibrate(tensors: Mapping[str, Array], encoder: EncoderSpec, tokenizer: Path) -> Calibration:
    """Run the encoder over the calibration texts and keep its inputs' moments.

    Parameters
    ----------
    tensors : Mapping[str, ndarray]
        The weights by name.
    encoder : EncoderSpec
        The encoder.
    tokenizer : Path
        ``tokenizer.json``. An encoder with random weights has none: random tokens serve alone.
    """
    encoded = calibration_tokens(encoder, tokenizer)
    digest = hashlib.sha256(repr(encoded).encode()).hexdigest()
    return Calibration(
        inputs=_Runner(tensors, encoder, encoded).run(),
        texts=len(encoded),
        tokens=sum(map(len, encoded)),
        sha256=digest,
    )


def calibration_tokens(encoder: EncoderSpec, tokenizer: Path) -> list[list[int]]:
    """Return the token ids of every calibration text, cut to the encoder's length."""
    random = np.random.Generator(np.random.PCG64(SEED))
    encoded: list[list[int]] = []
    first, last = 0, encoder.vocab
    frame: tuple[list[int], list[int]] = ([], [])
    if tokenizer.is_file():
        found = load_tokenizer(tokenizer, encoder)
        lines = calibration_texts()
        texts = list(lines)
        prose = [line for line in lines if line.isascii() and line.count(" ") > 8]
        for count in _JOINED:
            texts.append(" ".join(_some(prose, count, random)))
            texts.append(" ".join(_some(lines, count, random)))
        encoded = [list(found.encode(text).ids) for text in texts]
        empty = list(found.encode("").ids)
        frame = (empty[:1], empty[1:])
        encoded.append(empty)
    for _ in range(RANDOM_TEXTS):
        count = int(random.integers(1, _LONGEST_RANDOM))
        ids = [int(i) for i in random.integers(first, last, count)]
        encoded.append([*frame[0], *ids, *frame[1]][: encoder.max_length])
    return encoded


def calibration_texts() -> list[str]:
    """Return the lines of ``calibration.txt`` without its heading."""
    content = Path(__file__).with_name("calibration.txt").read_text(encoding="utf-8")
    return [line for line in content.splitlines() if line and not line.startswith("# ")]


def _some(lines: Sequence[str], count: int, random: np.random.Generator) -> list[str]:
    return [lines[int(i)] for i in random.permutation(len(lines))[:count]]


class _Runner:
    """The encoder in float64 over all texts at once; attention alone knows where a text ends."""

    def __init__(
        self,
        tensors: Mapping[str, Array],
        encoder: EncoderSpec,
        encoded: Sequence[Sequence[int]],
    ) -> None:
        self.tensors = tensors
        self.encoder = encoder
        self.ids = np.concatenate([np.asarray(tokens) for tokens in encoded])
        self.places = np.concatenate([np.arange(len(tokens)) for tokens in encoded])
        lengths = [len(tokens) for tokens in encoded]
        self.ends = np.cumsum([0, *lengths])
        self.shares = np.repeat([1 / (length * len(lengths)) for length in lengths], lengths)
        self.names = attention_names(encoder)
        self.inputs: dict[str, Inputs] = {}

    def run(self) -> dict[str, Inputs]:
        """Return what each matrix is given."""
        encoder = self.encoder
        rows = self.weight(WORDS)[self.ids]
        rows = rows + self.weight(POSITIONS)[self.places + encoder.first_position]
        if encoder.token_types:
            rows = rows + self.weight(TYPES)[0]
        rows = self.norm(rows, "embeddings.LayerNorm")
        for number in range(encoder.layers):
            rows = self.layer(rows, f"encoder.layer.{number}")
        return self.inputs

    def weight(self, name: str) -> Array:
        return np.asarray(self.tensors[self.encoder.tensor_prefix + name], dtype=np.float64)

    def linear(self, rows: Array, name: str) -> Array:
        return np.asarray(rows @ self.weight(f"{name}.weight").T + self.weight(f"{name}.bias"))

    def norm(self, rows: Array, name: str) -> Array:
        centred = rows - rows.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.encoder.layer_norm_eps)
        scaled = centred / spread * self.weight(f"{name}.weight")
        return np.asarray(scaled + self.weight(f"{name}.bias"))

    def keep(self, rows: Array, *names: str) -> None:
        """Keep the moments and the range of one input, for every matrix that it is given to."""
        moments = ((rows * self.shares[:, None]).T @ rows).astype(np.float32).astype(np.float64)
        found = Inputs(moments=moments, low=rows.min(axis=0), high=rows.max(axis=0))
        self.inputs.update(dict.fromkeys(names, found))

    def layer(self, rows: Array, prefix: str) -> Array:
        query, key, value, joined = (
            f"{prefix}.{self.names[part]}" for part in ("query", "key", "value", "joined")
        )
        self.keep(rows, query, key, value)
        mixed = self.attention(*(self.linear(rows, name) for name in (query, key, value)))
        self.keep(mixed, joined)
        norm = f"{prefix}.{self.names['joined_norm']}"
        middle = self.norm(self.linear(mixed, joined) + rows, norm)
        self.keep(middle, f"{prefix}.intermediate.dense")
        active = _gelu(self.linear(middle, f"{prefix}.intermediate.dense"))
        self.keep(active, f"{prefix}.output.dense")
        narrow = self.linear(active, f"{prefix}.output.dense")
        return self.norm(narrow + middle, f"{prefix}.output.LayerNorm")

    def attention(self, query: Array, key: Array, value: Array) -> Array:
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
        longest = int(np.diff(self.ends).max())
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
