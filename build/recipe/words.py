"""What a misspelt word was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def nearest(word: str, known: Sequence[str]) -> list[str]:
    """Return the known words that look like ``word``, at most three, the best first."""
    return [word] if word in known else difflib.get_close_matches(word, known)


def meant(word: str, known: Sequence[str], quote: str = "`", before: str = "") -> str:
    """Return a question that names the nearest known words, empty where none is near."""
    near = nearest(word, known)
    told = " or ".join(f"{quote}{before}{each}{quote}" for each in near)
    return f"did you mean {told}?" if near else ""
