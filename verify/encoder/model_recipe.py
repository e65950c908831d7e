"""The shape of a sentence encoder, read from a model recipe's ``[encoder]`` table."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ..errors import PolicyError, VerifyError
from ..program import recipes_folder

Kind = Literal["query", "passage", "plain"]
"""What a text is to its encoder: it decides about the prefix. ``plain`` has none."""
LookUp = Literal["cpu", "inside"]


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """Everything about an encoder that its weights do not say.

    Parameters
    ----------
    name : str
        Name for graphs and reports.
    architecture : {"bert", "xlm-roberta", "mpnet", "onnx"}
        ``xlm-roberta`` (and RoBERTa) is BERT whose places are counted from ``pad_token_id`` + 1;
        ``mpnet`` counts like it and adds a bias for the distance of two places to their attention.
        ``onnx`` is whatever ``model.onnx`` computes: of its sizes only hidden, vocab, positions
        and token_types are asked for.
    layers, hidden, heads, intermediate, vocab, positions, token_types : int
        Sizes, as in the model's own configuration; MPNet has no token types: 0.
    relative_buckets : int
        Rows of MPNet's table of distances.
    layer_norm_eps : float
        Epsilon of every layer normalisation.
    activation : {"gelu"}
        The exact GELU, by the error function.
    pooling : {"mean", "cls"}
        Mean of the token vectors under the attention mask, or the first token's vector.
    normalise : bool
        Whether the pooled vector is scaled to length 1.
    max_length : int
        Tokens kept of a text, the two special ones included. Set here and never taken from
        ``tokenizer.json``, whose own value may differ.
    buckets : tuple of int
        Sequence lengths of the static graphs, ascending; the last holds ``max_length``.
    pad_token_id : int
        Token that fills the padded places; ``tokenizer.json`` must name the same one.
    query_prefix, passage_prefix : str
        What the model was trained to see before a text that asks, and before one that answers.
    tensor_prefix : str
        What comes before ``embeddings.…`` and ``encoder.…`` in the tensors' names.
    look_up : {"cpu", "inside"}
        Where the embedding look-ups run on CoreML: on the CPU before the program, or in it.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic, not a field

    name: str
    architecture: Literal["bert", "xlm-roberta", "mpnet", "onnx"]
    layers: int = field(default=0, metadata={"min": 0, "max": 96})
    hidden: int = field(metadata={"min": 1, "max": 8192})
    heads: int = field(default=0, metadata={"min": 0, "max": 128})
    intermediate: int = field(default=0, metadata={"min": 0, "max": 65536})
    vocab: int = field(metadata={"min": 2, "max": 2_000_000})
    positions: int = field(metadata={"min": 2, "max": 65536})
    token_types: int = field(default=2, metadata={"min": 0, "max": 16})
    relative_buckets: int = field(default=32, metadata={"min": 8, "max": 1024})
    layer_norm_eps: float = field(default=1e-12, metadata={"min": 0.0, "max": 0.1})
    activation: Literal["gelu"] = "gelu"
    pooling: Literal["mean", "cls"] = "mean"
    normalise: bool = True
    max_length: int = field(metadata={"min": 2, "max": 65536})
    buckets: tuple[int, ...] = (32, 64, 128, 256)
    pad_token_id: int = field(default=0, metadata={"min": 0, "max": 2_000_000})
    tensor_prefix: str = ""
    query_prefix: str = ""
    passage_prefix: str = ""
    look_up: LookUp = "cpu"

    def __post_init__(self) -> None:
        """Refuse sizes that contradict each other."""
        sizes = {"layers": self.layers, "heads": self.heads, "intermediate": self.intermediate}
        missing = [name for name, size in sizes.items() if size < 1]
        if missing and self.architecture != "onnx":
            raise PolicyError(
                f"{', '.join(missing)}: missing, or below 1.",
                hint="Correct the recipe's [encoder] table.",
            )
        if self.heads and self.hidden % self.heads:
            raise PolicyError(
                f"hidden = {self.hidden} is not a multiple of heads = {self.heads}.",
                hint="Correct the recipe's [encoder] table.",
            )
        if self.max_length > self.longest:
            counted = f", counted from {self.first_position}" if self.first_position else ""
            raise PolicyError(
                f"max_length = {self.max_length} is more than the model's {self.positions} "
                f"positions{counted}.",
                hint="Correct the recipe's [encoder] table.",
            )
        ascending = list(self.buckets) == sorted(set(self.buckets))
        if not self.buckets or not ascending or self.buckets[-1] < self.max_length:
            raise PolicyError(
                f"buckets = {list(self.buckets)} must ascend and the last must hold max_length "
                f"= {self.max_length}.",
                hint="Correct the recipe's [encoder] table.",
            )

    @property
    def first_position(self) -> int:
        """Row of the table of positions that the first token gets."""
        counted = self.architecture in ("mpnet", "xlm-roberta")
        return self.pad_token_id + 1 if counted else 0

    @property
    def weights_file(self) -> str:
        """Name of the pinned file that holds the weights."""
        return "model.onnx" if self.architecture == "onnx" else "model.safetensors"

    @property
    def longest(self) -> int:
        """Tokens that the table of positions has rows for."""
        return self.positions - self.first_position

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the graph's inputs; a single token type is a constant and no input."""
        types = ("token_type_ids",) if self.token_types > 1 else ()
        return ("input_ids", "attention_mask", *types)

    def prefixed(self, text: str, kind: Kind | None) -> str:
        """Return a text as the model has to see it.

        Raises
        ------
        VerifyError
            When the model has prefixes and no kind is given: guessing would give worse vectors
            without a word.
        """
        if kind is None and (self.query_prefix or self.passage_prefix):
            raise VerifyError(
                f"{self.name} tells queries from passages by a prefix, so it must know what a text "
                "is.",
                hint='Say kind="query" or kind="passage"; kind="plain" embeds a text as it stands.',
            )
        if kind not in (None, "query", "passage", "plain"):
            raise VerifyError(
                f'There is no kind "{kind}" of text.', hint='Use "query", "passage" or "plain".'
            )
        prefixes = {"query": self.query_prefix, "passage": self.passage_prefix}
        return prefixes.get(kind or "plain", "") + text

    @property
    def form(self) -> str:
        """What a graph's label says of the look-ups: nothing of those on the CPU."""
        return "" if self.look_up == "cpu" else f", look-up {self.look_up}"

    def bucket(self, tokens: int) -> int:
        """Return the smallest bucket that holds ``tokens`` tokens."""
        for size in self.buckets:
            if tokens <= size:
                return size
        raise VerifyError(
            f"{tokens} tokens are more than the largest bucket, {self.buckets[-1]}.",
            hint="Truncate the text to the encoder's max_length.",
        )

    def cut_to(self, tokens: int) -> EncoderSpec:
        """Return the same encoder with texts cut to ``tokens`` tokens, its buckets cut as well.

        Raises
        ------
        PolicyError
            The model has fewer positions than that.
        """
        shorter = tuple(size for size in self.buckets if size < tokens)
        return replace(self, max_length=tokens, buckets=(*shorter, tokens))

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {**asdict(self), "buckets": list(self.buckets)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EncoderSpec:
        """Rebuild what :meth:`to_json` wrote."""
        return cls(**{**data, "buckets": tuple(data["buckets"])})


@dataclass(frozen=True, kw_only=True)
class PinnedFile:
    """One file of a model with its size in bytes and its sha256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ModelRecipe:
    """The part of a model recipe that the verification reads."""

    name: str
    files: tuple[PinnedFile, ...]
    encoder: EncoderSpec

    def check_files(self, model_dir: Path) -> None:
        """Compare the files in ``model_dir`` with the pinned ones.

        Raises
        ------
        VerifyError
            When a file is missing or holds other bytes.
        """
        home = model_dir.parent
        usual = home == Path(".work/models") or (home.name, model_dir.name) != ("models", self.name)
        place = "" if usual else f" --work {home.parent}"
        fetch = f"`python -m build fetch-model {self.name}{place}`"
        for pinned in self.files:
            path = model_dir / pinned.name
            if not path.is_file():
                raise VerifyError(
                    f"The model file {pinned.name} is missing in {model_dir}.",
                    hint=f"Run {fetch} first, or add --from DIR to it where you have the file.",
                )
            if path.stat().st_size != pinned.size or file_sha256(path) != pinned.sha256:
                raise VerifyError(
                    f"The model file {path} is not the pinned one.",
                    hint=f"Delete it and run {fetch} again.",
                    context={"expected sha256": pinned.sha256, "found": file_sha256(path)},
                )


def model_folder(options: argparse.Namespace, name: str) -> Path:
    """Return the folder of a model's files: the one that was given, or below the work directory.

    Who called the verification may bring the files there (`bring` of the options, see
    :func:`verify.cli.main`); the verification itself fetches no model.
    """
    if options.models is not None:
        return Path(options.models)
    if bring := getattr(options, "bring", None):
        bring(options.model, options.work)
    return Path(options.work, "models", name)


def recipe_path(name: str) -> Path:
    """Return the path of a model recipe, given its name or a path to a TOML file.

    Raises
    ------
    PolicyError
        No recipe has that name.
    """
    given = Path(name)
    if given.suffix == ".toml":
        return given
    path = recipes_folder() / "models" / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in path.parent.glob("*.toml")))
        raise PolicyError(
            f'There is no model recipe called "{name}".',
            hint=f"Known are {known}; or give a path to a TOML file.",
        )
    return path


def load_model_recipe(path: Path) -> ModelRecipe:
    """Read name, pinned files and the ``[encoder]`` table of a model recipe.

    Raises
    ------
    PolicyError
        When the file cannot be read or the table is wrong; every mistake is listed.
    """
    from ..policy import strict

    data = strict.read_toml(path, what="model recipe")
    encoder = data.get("encoder")
    if not isinstance(encoder, dict):
        raise PolicyError(
            f"The model recipe {path} has no [encoder] table.",
            hint="See recipes/models/all-minilm-l6-v2.toml for one.",
        )
    spec = strict.load(
        EncoderSpec, {"name": data.get("name"), **encoder}, where=f"The [encoder] table of {path}"
    )
    files = tuple(
        strict.load(PinnedFile, item, where=f"[[files]] of {path}")
        for item in data.get("files", ())
    )
    return ModelRecipe(name=spec.name, files=files, encoder=spec)


def chosen_recipe(name: str, *, look_up: LookUp | None = None) -> ModelRecipe:
    """Return the recipe of that name or path, with another place for its look-ups if one is given.

    Raises as :func:`load_model_recipe` does.
    """
    recipe = load_model_recipe(recipe_path(name))
    if look_up is None:
        return recipe
    return replace(recipe, encoder=replace(recipe.encoder, look_up=look_up))


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, 64 lower-case hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
