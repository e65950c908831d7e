"""The patches of our own, by name: a build can leave one out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from ..errors import UsageError
from .format import Patch, Recipe
from .words import meant


def patch_name(patch: Patch) -> str:
    """Return the file's name without its number: ``coreml-gather``."""
    return PurePosixPath(patch.file).stem.lstrip("0123456789-")


def without_patches(recipe: Recipe, names: Sequence[str]) -> Recipe:
    """Return the recipe without some patches of its source; its digest is another one.

    Raises
    ------
    UsageError
        It has no patch of that name.
    """
    source = recipe.source
    known = [patch_name(patch) for patch in source.patches]
    for name in names:
        if name not in known:
            raise UsageError(
                f"the recipe has no patch called {name}",
                hint=meant(name, known, "`") or f"it has {', '.join(known) or 'none'}",
            )
    kept = tuple(patch for patch in source.patches if patch_name(patch) not in names)
    return replace(recipe, source=replace(source, patches=kept))
