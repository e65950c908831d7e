"""The reference texts with their torch float64 embeddings, and the similarity set.

``texts.json`` is written by hand; ``<encoder>.npz`` beside it is written by
``python -m tests.torch_references``. The embeddings are computed in float64, scaled to
length 1 and rounded to float32: the rounding is at most 2**-25 (3.0e-8) of a component, and
components are smaller than 1.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import VerifyError


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
    """Texts and their embeddings, float32 ``[texts, hidden]`` of length 1."""

    texts: tuple[Text, ...]
    ranks: tuple[Rank, ...]
    embeddings: NDArray[np.float32]
    weights_sha256: str


def default_folder() -> Path:
    """Return the folder of the references that come with the package."""
    return Path(__file__).resolve().parent


def load_texts(folder: Path) -> tuple[tuple[Text, ...], tuple[Rank, ...], str]:
    """Read ``texts.json``: texts, similarity set, and the sha256 of the file."""
    content = (folder / "texts.json").read_bytes()
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


def load(name: str, folder: Path | None = None, *, max_length: int) -> References:
    """Load the references of the encoder ``name`` for texts cut to ``max_length`` tokens.

    Raises
    ------
    ReferenceError
        When there are none, none for that length, or they were made from other texts.
    """
    home = folder or default_folder()
    path = home / f"{name}.npz"
    if not path.is_file():
        raise ReferenceError(
            f"There are no reference embeddings for the encoder {name}.",
            hint="Make them with `nox -s references`.",
        )
    texts, ranks, digest = load_texts(home)
    with np.load(path, allow_pickle=False) as data:
        if str(data["texts_sha256"]) != digest:
            raise ReferenceError(
                f"{path.name} was made from other texts than texts.json holds now.",
                hint="Make it again with `nox -s references`.",
            )
        if f"embeddings_{max_length}" not in data:
            lengths = sorted(
                int(key.removeprefix("embeddings_"))
                for key in data
                if key.startswith("embeddings_")
            )
            raise ReferenceError(
                f"{path.name} holds no references for texts cut to {max_length} tokens.",
                hint=f"It holds {', '.join(map(str, lengths))}; make others with "
                f"`nox -s references -- --lengths {max_length}`.",
            )
        return References(
            texts=texts,
            ranks=ranks,
            embeddings=np.asarray(data[f"embeddings_{max_length}"], dtype=np.float32),
            weights_sha256=str(data["weights_sha256"]),
        )
