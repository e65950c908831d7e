"""What a misspelt word was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

ALIKE = 0.6
"""How much of two words is the same at least: a typo in a word of three letters leaves 2/3."""


def nearest(word: str, known: Sequence[str], alike: float = ALIKE) -> list[str]:
    """Return the known words that look like ``word``, at most three, the best first."""
    return [word] if word in known else difflib.get_close_matches(word, known, cutoff=alike)


def meant(
    word: str, known: Sequence[str], quote: str = "`", before: str = "", alike: float = ALIKE
) -> str:
    """Return a question that names the nearest known words, empty where none is near."""
    near = nearest(word, known, alike)
    told = " or ".join(f"{quote}{before}{each}{quote}" for each in near)
    return f"did you mean {told}?" if near else ""
