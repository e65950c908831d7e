"""Licence texts of what is compiled in, and where they go."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import WheelError

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


@dataclass(frozen=True, kw_only=True)
class LicenceText:
    """One licence file of one input.

    ``name`` is the input, one path component (``abseil_cpp``); ``file`` is the file's own name or
    its path below the input.
    """

    name: str
    file: str
    text: bytes


def placed_licences(licences: Iterable[LicenceText]) -> dict[str, bytes]:
    """Return the licence texts by relative path, ``<name>/<file>``, in sorted order.

    Raises
    ------
    WheelError
        A name cannot be a file name, a text is empty, or two texts want the same place.
    """
    placed: dict[str, bytes] = {}
    for licence in licences:
        path = f"{licence.name}/{licence.file}"
        if not all(_SAFE.fullmatch(part) for part in path.split("/")):
            raise WheelError(
                f"the licence file {path!r} has no safe name",
                hint="use letters, digits, and . _ + - in licence_files of the recipe",
            )
        if not licence.text.strip():
            raise WheelError(
                f"the licence file {path} is empty",
                hint="name the file that holds the licence's text in the recipe",
            )
        if placed.get(path, licence.text) != licence.text:
            raise WheelError(
                f"two different licence texts are both called {path}",
                hint="give the two inputs different names in the recipe",
            )
        placed[path] = licence.text
    return dict(sorted(placed.items()))
