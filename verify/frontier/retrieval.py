"""A retrieval set of our own: 250 queries, 2,000 passages, and which passage answers which query.

``retrieval.toml`` holds sentences and subjects; each subject gets one passage of every aspect of
its kind. Passages of one aspect differ in their subject, those of one subject in their aspect: so
a form of the encoder that loses either shows.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class RetrievalSet:
    """Queries and passages; ``answers[i]`` is the place of the passage that answers query i."""

    queries: tuple[str, ...]
    passages: tuple[str, ...]
    answers: tuple[int, ...]


def retrieval_set() -> RetrievalSet:
    """Return the set, the same every time."""
    data = tomllib.loads(Path(__file__).with_name("retrieval.toml").read_text(encoding="utf-8"))
    queries: list[str] = []
    passages: list[str] = []
    answers: list[int] = []
    for kind in data.values():
        aspects = len(kind["passages"])
        for number, subject in enumerate(kind["subjects"]):
            asked = number % aspects
            answers.append(len(passages) + asked)
            queries.append(_filled(kind["queries"][asked], kind, subject, number, asked))
            passages.extend(
                _filled(sentence, kind, subject, number, aspect)
                for aspect, sentence in enumerate(kind["passages"])
            )
    return RetrievalSet(queries=tuple(queries), passages=tuple(passages), answers=tuple(answers))


def _filled(sentence: str, kind: dict[str, list[str]], subject: str, number: int, row: int) -> str:
    words = kind["words"]
    text = sentence.format(
        s=subject, a=words[(number * 3 + row) % len(words)], n=5 + (number * 7 + row * 11) % 90
    )
    return text[:1].upper() + text[1:] if text.endswith(".") else text
