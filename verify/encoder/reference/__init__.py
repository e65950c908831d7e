"""The reference texts with their float64 embeddings, and the similarity set.

``texts.json`` is written by hand; ``<encoder>.npz`` beside it is written by
``python -m tests.references``. The embeddings are computed in float64, scaled to
length 1 and rounded to float32: the rounding is at most 2**-25 (3.0e-8) of a component, and
components are smaller than 1.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import VerifyError
from ..model_recipe import EncoderSpec, Kind


class ReferenceError(VerifyError):
    """References that are missing or do not belong to the texts."""

    title = "references"


@dataclass(frozen=True, kw_only=True)
class Text:
    """One reference text with its name."""

    id: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Rank:
    """An anchor and neighbours, nearest first as a person would order them."""

    anchor: str
    neighbours: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class References:
    """Texts and their embeddings, float32 ``[texts, hidden]`` of length 1.

    ``kinds`` says of each text whether it was embedded as a query or as a passage, ``tokens`` has
    the checksum of its token ids (:func:`tokens_digest`; older files have none).
    """

    texts: tuple[Text, ...]
    kinds: tuple[Kind, ...]
    embeddings: NDArray[np.float32]
    tokens: tuple[int, ...]
    weights_sha256: str
    made_with: str


def default_folder() -> Path:
    """Return the folder of the references that come with the package."""
    return Path(__file__).resolve().parent


def load_texts(folder: Path) -> tuple[tuple[Text, ...], tuple[Rank, ...], str]:
    """Read ``texts.json`` (the package's own where the folder has none).

    Return texts, similarity set, and the sha256 of the file.
    """
    own = folder / "texts.json"
    content = (own if own.is_file() else default_folder() / "texts.json").read_bytes()
    data = json.loads(content)
    texts = tuple(
        Text(
            id=entry["id"],
            text=entry["text"] if "text" in entry else entry["unit"] * entry["times"],
        )
        for entry in data["texts"]
    )
    ranks = tuple(
        Rank(anchor=entry["anchor"], neighbours=tuple(entry["neighbours"]))
        for entry in data["ranks"]
    )
    return texts, ranks, hashlib.sha256(content).hexdigest()


def kinds_of(encoder: EncoderSpec, count: int) -> tuple[Kind, ...]:
    """Return the kind of each of ``count`` reference texts: by turns where there are prefixes."""
    kinds: tuple[Kind, ...] = ("query", "passage")
    if not (encoder.query_prefix or encoder.passage_prefix):
        kinds = ("plain",)
    return tuple(kinds[row % len(kinds)] for row in range(count))


def tokens_digest(ids: Sequence[int]) -> int:
    """Return a checksum of a text's token ids, for telling tokenizers apart."""
    return zlib.crc32(np.asarray(ids, dtype="<i8").tobytes())


def load(encoder: EncoderSpec, folder: Path | None = None) -> References:
    """Load the references of an encoder for texts cut to its ``max_length``.

    Raises
    ------
    ReferenceError
        When there are none, none for that length, or they were made from other texts.
    """
    home = folder or default_folder()
    path = home / f"{encoder.name}.npz"
    again = f"`nox -s references -- --model {encoder.name}`"
    if not path.is_file():
        raise ReferenceError(
            f"There are no reference embeddings for the encoder {encoder.name}.",
            hint=f"Make them with {again}.",
        )
    texts, _, digest = load_texts(home)
    key = f"embeddings_{encoder.max_length}"
    with np.load(path, allow_pickle=False) as data:
        if str(data["texts_sha256"]) != digest:
            raise ReferenceError(
                f"{path.name} was made from other texts than texts.json holds now.",
                hint=f"Make it again with {again}.",
            )
        if key not in data:
            lengths = sorted(
                int(each.removeprefix("embeddings_"))
                for each in data
                if each.startswith("embeddings_")
            )
            raise ReferenceError(
                f"{path.name} holds no references for texts cut to {encoder.max_length} tokens.",
                hint=f"It holds {', '.join(map(str, lengths))}; make others with "
                f"`nox -s references -- --model {encoder.name} --lengths {encoder.max_length}`.",
            )
        tokens = f"tokens_{encoder.max_length}"
        return References(
            texts=texts,
            kinds=kinds_of(encoder, len(texts)),
            embeddings=np.asarray(data[key], dtype=np.float32),
            tokens=tuple(map(int, data[tokens])) if tokens in data else (),
            weights_sha256=str(data["weights_sha256"]),
            made_with=str(data["made_with"]),
        )
