"""The tensors of each architecture: their names, their shapes, and the bias of relative places.

Names and layout are those of the safetensors files that the model hubs hold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .model_recipe import EncoderSpec
from .weights import Array, WeightsError

WORDS = "embeddings.word_embeddings.weight"
POSITIONS = "embeddings.position_embeddings.weight"
TYPES = "embeddings.token_type_embeddings.weight"
RELATIVE = "encoder.relative_attention_bias.weight"

_FARTHEST = 128
"""MPNet's distance from which all places are alike; no configuration of a model changes it."""

_BERT = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "joined": "attention.output.dense",
    "joined_norm": "attention.output.LayerNorm",
}
_MPNET = {
    "query": "attention.attn.q",
    "key": "attention.attn.k",
    "value": "attention.attn.v",
    "joined": "attention.attn.o",
    "joined_norm": "attention.LayerNorm",
}


def attention_names(encoder: EncoderSpec) -> Mapping[str, str]:
    """Return what the parts of a layer's attention are called below ``encoder.layer.N``."""
    return _MPNET if encoder.architecture == "mpnet" else _BERT


def expected_shapes(encoder: EncoderSpec) -> dict[str, tuple[int, ...]]:
    """Return every tensor that the encoder needs, with its shape."""
    hidden, wide = encoder.hidden, encoder.intermediate
    shapes: dict[str, tuple[int, ...]] = {
        WORDS: (encoder.vocab, hidden),
        POSITIONS: (encoder.positions, hidden),
    }
    if encoder.token_types:
        shapes[TYPES] = (encoder.token_types, hidden)
    shapes["embeddings.LayerNorm.weight"] = (hidden,)
    shapes["embeddings.LayerNorm.bias"] = (hidden,)
    if encoder.architecture == "mpnet":
        shapes[RELATIVE] = (encoder.relative_buckets, encoder.heads)
    names = attention_names(encoder)
    linear = {
        **{names[part]: (hidden, hidden) for part in ("query", "key", "value", "joined")},
        "intermediate.dense": (wide, hidden),
        "output.dense": (hidden, wide),
    }
    for layer in range(encoder.layers):
        prefix = f"encoder.layer.{layer}"
        for name, shape in linear.items():
            shapes[f"{prefix}.{name}.weight"] = shape
            shapes[f"{prefix}.{name}.bias"] = shape[:1]
        for name in (names["joined_norm"], "output.LayerNorm"):
            shapes[f"{prefix}.{name}.weight"] = (hidden,)
            shapes[f"{prefix}.{name}.bias"] = (hidden,)
    return {encoder.tensor_prefix + name: shape for name, shape in shapes.items()}


def check_tensors(tensors: Mapping[str, Array], encoder: EncoderSpec) -> None:
    """Compare names and shapes with what the encoder needs.

    Raises
    ------
    WeightsError
        One error that lists every difference.
    """
    problems = []
    for name, shape in expected_shapes(encoder).items():
        if name not in tensors:
            problems.append(f"{name} is missing")
        elif tensors[name].shape != shape:
            problems.append(f"{name} is {list(tensors[name].shape)}, not {list(shape)}")
    if problems:
        shown = "; ".join(problems[:5]) + ("; …" if len(problems) > 5 else "")
        raise WeightsError(
            f"The weights do not fit the encoder {encoder.name} ({len(problems)} tensors): "
            f"{shown}.",
            hint="Check layers, hidden and tensor_prefix in the recipe's [encoder] table.",
        )


def relative_bucket(length: int, buckets: int) -> Array:
    """Return MPNet's bucket for each pair of places, int64 ``[length, length]``.

    Rows are the places that look, columns those looked at. Half of the buckets are for what comes
    before, half for what comes after. Of each half, the first half has a bucket for every
    distance, the rest share the distances up to 128 by their logarithm (Raffel et al., "T5", 2020,
    section 2.1, which MPNet takes over).
    """
    place = np.arange(length)
    ahead = place[None, :] - place[:, None]
    distance = np.abs(ahead)
    half = buckets // 2
    exact = half // 2
    scale = (half - exact) / math.log(_FARTHEST / exact)
    logarithm = np.log(np.maximum(distance, exact) / exact)
    # The quotient is whole at powers of two alone, and rounding must not take it below.
    far = np.minimum(exact + np.floor(logarithm * scale + 1e-9).astype(np.int64), half - 1)
    return np.asarray(half * (ahead > 0) + np.where(distance < exact, distance, far))
