"""A sentence that quotes another one: it ends once."""

from __future__ import annotations

import re

_TWICE = re.compile(r"([.!?][\"”’')\]]*)\.$")


def ended_once(text: str) -> str:
    """Return a text without the full stop that stands after another end of a sentence.

    Examples
    --------
    >>> ended_once('It answers "Not here.".')
    'It answers "Not here."'
    """
    return _TWICE.sub(r"\1", text)
