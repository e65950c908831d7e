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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import numpy as np

from ..model_recipe import EncoderSpec, Kind
from ..sessions import load_tokenizer
from ..weights import Array
from .text_runner import TextRunner

SEED = 20210830
RANDOM_TEXTS = 120
_LONGEST_RANDOM = 24
_BLOCK = 128
_BINS = 4096
_EVERY = 4
"""Of so many tokens one serves to find a range."""
_LEAST = 1e-6
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
    turned : (float, float)
        Range that suits the values turned (:func:`turned`); of query, key and value's input alone,
        which has a fixed scale when it is turned.
    """

    moments: Array
    low: Array
    high: Array
    turned: tuple[float, float] = (0.0, 0.0)

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

    An encoder with random weights has no ``tokenizer.json``: random tokens serve alone.
    """
    encoded = calibration_tokens(encoder, tokenizer)
    digest = hashlib.sha256(repr(encoded).encode()).hexdigest()
    return Calibration(
        inputs=_Calibrator(tensors, encoder, encoded).run(),
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
        kinds: Iterator[Kind] = cycle(("query", "passage"))
        texts = [encoder.prefixed(text, kind) for text, kind in zip(texts, kinds, strict=False)]
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


def block_of(size: int) -> int:
    """Return how many of ``size`` columns are turned together: a power of two, at most 128."""
    return math.gcd(_BLOCK, size)


def turned(rows: Array, block: int) -> Array:
    """Return rows ``[..., size]``, each block of columns multiplied by :func:`rotation`."""
    return np.asarray((rows.reshape(-1, block) @ rotation(block)).reshape(rows.shape))


def rotation(block: int) -> Array:
    """Return signs of chance times Hadamard's matrix: orthogonal, float64 ``[block, block]``."""
    signs = np.random.Generator(np.random.PCG64(SEED)).integers(0, 2, block) * 2 - 1
    mixed = np.ones((1, 1))
    while len(mixed) < block:
        mixed = np.kron(mixed, np.asarray([[1, 1], [1, -1]]))
    return np.asarray(signs[:, None] * mixed / math.sqrt(block))


def best_range(rows: Array, shares: Array) -> tuple[float, float]:
    """Return the range of 256 codes whose mean square error over the rows is least.

    What lies outside is cut: a range as wide as the largest value makes all others coarse.
    """
    weights = np.broadcast_to(shares, rows.shape)
    counts, edges = np.histogram(rows, _BINS, weights=weights)
    values = (edges[:-1] + edges[1:]) / 2
    best = (math.inf, 0.0, 0.0)
    for part in np.linspace(0.2, 1, 41):
        low, high = (
            float(np.float32(edge * part)) for edge in (min(edges[0], 0.0), max(edges[-1], _LEAST))
        )
        step = (high - low) / 255
        zero = round(-low / step)
        codes = np.clip(np.rint(values / step) + zero, 0, 255) - zero
        best = min(best, (float(counts @ np.square(codes * step - values)), low, high))
    return best[1], best[2]


class _Calibrator(TextRunner):
    """Keeps the moments and the range of every input."""

    def run(self) -> dict[str, Inputs]:
        """Return what each matrix is given."""
        self.inputs: dict[str, Inputs] = {}
        # Each text counts the same, however many tokens it has.
        shares = 1 / (self.lengths * len(self.lengths))
        self.shares = np.repeat(shares, self.lengths)[:, None]
        rows = self.embedded()
        for number in range(self.encoder.layers):
            rows = self.layer(rows, number)
        return self.inputs

    def given(self, rows: Array, *names: str) -> None:
        """Keep one input for every matrix that it is given to."""
        moments = ((rows * self.shares).T @ rows).astype(np.float32).astype(np.float64)
        found = Inputs(moments=moments, low=rows.min(axis=0), high=rows.max(axis=0))
        if len(names) > 1:
            some = turned(rows[::_EVERY], block_of(rows.shape[1]))
            found = replace(found, turned=best_range(some, self.shares[::_EVERY]))
        self.inputs.update(dict.fromkeys(names, found))
