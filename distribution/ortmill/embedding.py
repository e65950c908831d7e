# mypy: ignore-errors
"""The Embedder of the installed package, which also brings a model's files by its recipe's pins.

This is the one place where the two halves meet: build fetches, verify embeds. Both are beside this
file in the installed package alone, so a checkout has nothing to check its types by.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .build.errors import UsageError
from .build.fetch.models import fetch_model
from .build.recipe.load import load_model_recipe
from .build.request import fetch_context
from .build.system.console import Reporter
from .build.tree.workspace import open_workspace
from .verify import Embedder as _Embedder
from .verify.encoder.model_recipe import EncoderSpec, recipe_path


class Embedder(_Embedder):
    """The pipeline that the latency gate measures: tokenise, run, pool, normalise."""

    @classmethod
    def from_recipe(
        cls,
        model_dir: Path | str,
        encoder: EncoderSpec | Path | str | None = None,
        *,
        offline: bool = False,
        **options: Any,
    ) -> Embedder:
        """Make an embedder from a recipe alone, or from a folder and its recipe.

        Parameters
        ----------
        model_dir : Path or str
            With ``encoder`` the folder of the model's files. Without, the name or file of a model
            recipe: its files are fetched once into the user's cache folder, and their hashes are
            checked each time.
        encoder : EncoderSpec, Path or str, optional
            The encoder's shape, or the name or path of the recipe that has it.
        offline : bool
            Fetch nothing: the files are in the cache or it is an error.
        **options
            As :meth:`verify.Embedder.from_recipe`: ``provider``, ``precision``, ``pooling``, …

        Raises
        ------
        BuildError
            No origin could deliver the files, or their bytes are not the pinned ones.
        EmbedderError
            The provider is not in this wheel, or a file cannot be read.
        """
        if encoder is not None:
            return super().from_recipe(model_dir, encoder, **options)
        return cls.from_recipe(fetched(str(model_dir), offline=offline), str(model_dir), **options)


def fetched(name: str, *, offline: bool = False) -> Path:
    """Return the folder of a model recipe's files in the user's cache, fetched and checked."""
    env = dict(os.environ)
    workspace = open_workspace(Path.cwd(), env)
    file = recipe_path(name)
    if not file.is_file():
        known = sorted(each.stem for each in (workspace.recipes / "models").glob("*.toml"))
        raise UsageError(
            f"there is no model recipe called {name}", hint=f"known recipes: {', '.join(known)}"
        )
    recipe = load_model_recipe(file)
    context = fetch_context(workspace, env, Reporter(env=env), choice="auto", offline=offline)
    return fetch_model(recipe, workspace.cache / "models" / recipe.name, context).directory
