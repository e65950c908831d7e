"""A recipe on the way to its file, as a document that keeps comments and order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit

from ..fetch.context import FetchContext
from ..recipe.format import PlatformName, Recipe
from .tree import TreeFacts

Say = Callable[[str], None]


@dataclass
class Writing:
    """A recipe on the way: ``own`` becomes the file, ``recipe`` is the nearest one.

    ``shared`` is what the files that it includes say; ``args`` are build.py's for any platform.
    """

    recipe: Recipe
    context: FetchContext
    say: Say
    own: tomlkit.TOMLDocument
    tree: Path
    facts: TreeFacts
    scratch: Path
    shared: dict[str, dict[str, Any]]
    args: list[str] = field(default_factory=list)

    def leave_out(self, shared: str) -> None:
        """Include a file no longer, because what it says is not so for this version."""
        del self.shared[shared]
        self.own["include"] = lines(list(self.shared))
        self.say(f"include: {shared} is not for this version")


def build_pairs(recipe: Recipe) -> list[tuple[PlatformName, PlatformName]]:
    """Return every build machine with every target that it can build."""
    pairs = [(name, name) for name in recipe.platforms]
    for name, platform in recipe.platforms.items():
        pairs += [(host, name) for host in (platform.cross.hosts if platform.cross else ())]
    return pairs


def table_at(own: Any, *keys: str) -> Any:
    """Return a table of the document, made where an included file alone has it."""
    for key in keys:
        if key not in own:
            own[key] = tomlkit.table(is_super_table=True)
        own = own[key]
    return own


def lines(values: Sequence[str]) -> Any:
    """Return an array with one text on each line."""
    array = tomlkit.array()
    array.extend(values)
    return array.multiline(True)


def tables(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return an array of tables."""
    array = tomlkit.aot()
    for row in rows:
        array.append(tomlkit.item(dict(row)))
    return array
