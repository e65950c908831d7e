"""The one place where the service calls the Embedder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..encoder.embedder import Embedder
from ..encoder.model_recipe import Kind, load_model_recipe, recipe_path

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model to serve, and what the Embedder is made with.

    Parameters
    ----------
    recipe : str
        Name or path of a model recipe.
    folder : Path
        Holds the model's files.
    settings : Mapping[str, object]
        Keyword arguments of :meth:`Embedder.from_recipe`: provider, precision, threads, session.
    kind : {"query", "passage", "plain"}, optional
        What texts are whose request does not say it.
    """

    recipe: str
    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    kind: Kind | None = None


class Model:
    """A loaded model: texts in, vectors out, and what a client needs to know about it."""

    def __init__(self, options: ModelOptions) -> None:
        recipe = load_model_recipe(recipe_path(options.recipe))
        self._embedder = Embedder.from_recipe(options.folder, recipe.encoder, **options.settings)
        self._kind = options.kind
        self.name = recipe.name
        self.dimensions = recipe.encoder.hidden
        self.max_tokens = recipe.encoder.max_length
        self.provider = self._embedder.provider
        self.precision = self._embedder.precision
        self.precision_why = self._embedder.precision_why
        # The static graphs take one text at a time.
        self.batches = not self._embedder.padded
        self._warm()

    def _warm(self) -> None:
        """Make every session and the largest buffers now, and not in somebody's first query."""
        for tokens in self._embedder.buckets or (self.max_tokens,):
            self._embedder.embed(["a " * (min(tokens, self.max_tokens) - 2)], kind="plain")

    def embed(self, texts: Sequence[str], kind: Kind | None) -> tuple[Floats, list[int]]:
        """Return float32 ``[len(texts), dimensions]``, and how many tokens of each text were read.

        Prefix and special tokens are counted.
        """
        encoded = self._embedder.encode(texts, kind=kind or self._kind)
        return self._embedder.embed_encoded(encoded), [len(ids) for ids in encoded]
