"""Paths of the building machine inside a file, whatever its format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_SHORTEST_NEEDLE = 4
_MAX_TEXT = 200


@dataclass(frozen=True, kw_only=True)
class FoundPath:
    """A forbidden path inside a file: at which byte, and the text that begins there."""

    offset: int
    text: str


def find_path(data: bytes, needles: Sequence[str]) -> FoundPath | None:
    """Return where the first of the given paths is inside a file's bytes, or None.

    Raises
    ------
    ValueError
        A path has less than four characters: such a one is in every file.
    """
    for needle in needles:
        if len(needle) < _SHORTEST_NEEDLE:
            raise ValueError(f"{needle!r} is too short to search for")
    paths = b"|".join(re.escape(needle.encode()) for needle in needles)
    match = re.search(rb"(?:%b)[\x20-\x7e]*" % paths, data) if needles else None
    if match is None:
        return None
    text = match[0][:_MAX_TEXT].decode("ascii", "replace")
    return FoundPath(offset=match.start(), text=text)
