"""What is said to a person: who takes a line, and a sentence that quotes another one."""

from __future__ import annotations

import re
from collections.abc import Callable

Say = Callable[[str], None]
"""Takes a line for a person."""

_TWICE = re.compile(r"([.!?][\"”’')\]]*)\.$")


def ended_once(text: str) -> str:
    """Return a text without the full stop that stands after another end of a sentence.

    Examples
    --------
    >>> ended_once('It answers "Not here.".')
    'It answers "Not here."'
    """
    return _TWICE.sub(r"\1", text)
