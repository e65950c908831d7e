"""Paths of the building machine inside a file, whatever its format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_SHORTEST_NEEDLE = 4
_MAX_TEXT = 200


@dataclass(frozen=True, kw_only=True)
class FoundPath:
    """A forbidden path inside a file: which one, at which byte, and the text around it."""

    needle: str
    offset: int
    text: str


def find_paths(data: bytes, needles: Sequence[str], *, most: int = 20) -> list[FoundPath]:
    """Return where any of the given paths is inside a file's bytes.

    Parameters
    ----------
    data : bytes
        A file's whole content.
    needles : sequence of str
        Paths of this machine, at least four characters each: a shorter one is in every file.
    most : int, optional
        Stop after so many.

    Raises
    ------
    ValueError
        A needle is too short to mean anything.
    """
    for needle in needles:
        if len(needle) < _SHORTEST_NEEDLE:
            raise ValueError(f"{needle!r} is too short to search for")
    if not needles:
        return []
    pattern = re.compile(b"|".join(re.escape(needle.encode()) for needle in needles))
    found = []
    for match in pattern.finditer(data):
        tail = re.compile(rb"[\x20-\x7e]*").match(data, match.start(), match.start() + _MAX_TEXT)
        text = tail[0] if tail else match[0]
        found.append(
            FoundPath(
                needle=match[0].decode(),
                offset=match.start(),
                text=text.decode("ascii", "replace"),
            )
        )
        if len(found) == most:
            break
    return found
