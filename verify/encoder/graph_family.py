"""The family of graphs of one encoder: dynamic for the CPU, static buckets for CoreML.

The encoder comes from a model recipe with pinned weights, or has seeded random weights at the
sizes given: enough for coverage and conversion, which do not look at what the weights mean.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..argument import from_one
from ..errors import VerifyError
from ..files import replacing
from .graph import Output, graph_name
from .model_recipe import EncoderSpec, chosen_recipe, model_folder
from .prepared.choice import Precision, ensure_form
from .tensors import expected_shapes
from .weights import Array, write_safetensors

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")
_HEAD = 32
_SPREAD = 0.02
"""Standard deviation of BERT's own initialisation (Devlin et al., 2019, released code)."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One graph of a family."""

    static: tuple[int, int] | None
    precision: Precision
    output: Output

    @property
    def label(self) -> str:
        """Name for tables, as in ``static-1x128-fp16``."""
        return graph_name(self.static, self.precision, self.output)


@dataclass(frozen=True, kw_only=True)
class Family:
    """An encoder, where its weights are, and the graphs to build of it."""

    encoder: EncoderSpec
    models: Path
    members: tuple[Member, ...]

    def build(self, directory: Path) -> Iterator[tuple[Member, Path]]:
        """Build each graph that is not there yet, one after the other."""
        for member in self.members:
            yield (
                member,
                ensure_form(
                    self.models,
                    self.encoder,
                    directory,
                    static=member.static,
                    precision=member.precision,
                    output=member.output,
                ),
            )


def add_arguments(parser: argparse.ArgumentParser, *, prepared: tuple[Precision, ...] = ()) -> None:
    """Add the options that choose encoder and graphs, beside ``--model``.

    The forms ``prepared`` for the CPU can be asked for too.
    """
    group = parser.add_argument_group("the family of graphs")
    group.add_argument(
        "--buckets",
        type=_numbers,
        metavar="N,N",
        help="sequence lengths of the static graphs; default: the encoder's own",
    )
    group.add_argument(
        "--batch", type=_numbers, default=(1,), metavar="N,N", help="batch sizes (default: 1)"
    )
    group.add_argument(
        "--precision",
        choices=(*PRECISIONS, *prepared),
        metavar="FORM",
        help=f"one of {', '.join((*PRECISIONS, *prepared))}; default: fp32 and fp16",
    )
    group.add_argument(
        "--sentence-embedding",
        action="store_true",
        help="pool and normalise inside the graph: output sentence_embedding [n, hidden]",
    )
    group = parser.add_argument_group("an encoder with random weights in place of the recipe's")
    group.add_argument("--random-weights", type=int, metavar="SEED", help="same seed, same bytes")
    for name in ("layers", "hidden", "heads", "intermediate"):
        help_ = _DEFAULTS.get(name, "default: the recipe's")
        group.add_argument(f"--{name}", type=from_one, metavar="N", help=help_)


_DEFAULTS = {
    "heads": f"default: the recipe's; with --hidden, hidden / {_HEAD}, at most 12",
    "intermediate": "default: the recipe's; with --hidden, four times hidden",
}


def refuse(options: argparse.Namespace, *, beside: str) -> None:
    """Refuse options of the family where a model is given and no family is built.

    Raises
    ------
    VerifyError
        Naming the first option that would have no effect.
    """
    names = ["buckets", "precision", "random_weights", "layers", "hidden", "heads", "intermediate"]
    names += ["look_up"]
    given = [name for name in names if getattr(options, name) is not None]
    given += ["sentence_embedding"] if options.sentence_embedding else []
    given += ["batch"] if options.batch != (1,) else []
    if given:
        raise VerifyError(
            f"--{given[0].replace('_', '-')} has no effect beside {beside}.",
            hint="It chooses graphs of the encoder's own family; leave one of the two out.",
        )


def choose(options: argparse.Namespace) -> Family:
    """Return the family that the options ask for; random weights are written when missing.

    Raises
    ------
    VerifyError
        When a size is impossible, a pinned file is not the right one, or sizes are given without
        ``--random-weights``.
    """
    recipe = chosen_recipe(options.model, look_up=options.look_up)
    sizes = [
        name
        for name in ("layers", "hidden", "heads", "intermediate")
        if getattr(options, name) is not None
    ]
    if options.random_weights is None:
        if sizes:
            raise VerifyError(
                f"--{sizes[0]} changes the encoder's size, which its pinned weights do not fit.",
                hint="Add --random-weights SEED to build an encoder of that size.",
            )
        models = model_folder(options, recipe.name)
        recipe.check_files(models)
        encoder = recipe.encoder
    else:
        encoder = random_encoder(
            recipe.encoder,
            seed=options.random_weights,
            layers=options.layers,
            hidden=options.hidden,
            heads=options.heads,
            intermediate=options.intermediate,
        )
        models = options.work / "models" / encoder.name
        ensure_random_weights(models, encoder, seed=options.random_weights)
    return Family(
        encoder=encoder,
        models=models,
        members=members(
            buckets=options.buckets or encoder.buckets,
            batches=options.batch,
            precisions=(options.precision,) if options.precision else PRECISIONS,
            output="sentence_embedding" if options.sentence_embedding else "last_hidden_state",
        ),
    )


def members(
    *,
    buckets: tuple[int, ...],
    batches: tuple[int, ...],
    precisions: tuple[Precision, ...],
    output: Output,
) -> tuple[Member, ...]:
    """Return the dynamic graph and every bucket at every batch size, by precision."""
    shapes: list[tuple[int, int] | None] = [None]
    shapes += [(batch, size) for batch in batches for size in buckets]
    return tuple(
        Member(static=static, precision=precision, output=output)
        for precision in precisions
        for static in shapes
    )


def random_encoder(
    like: EncoderSpec,
    *,
    seed: int,
    layers: int | None = None,
    hidden: int | None = None,
    heads: int | None = None,
    intermediate: int | None = None,
) -> EncoderSpec:
    """Return an encoder of other sizes, with the vocabulary and the positions of ``like``.

    Raises
    ------
    VerifyError
        When a size is below 1 or ``hidden`` is no multiple of ``heads``.
    """
    if like.architecture == "onnx":
        raise VerifyError(
            f"{like.name} is an ONNX file: there is no layout to fill with random weights.",
            hint="Name a recipe with model.safetensors.",
        )
    wide = hidden or like.hidden
    chosen = {
        "layers": layers or like.layers,
        "hidden": wide,
        "heads": heads or (min(12, max(1, wide // _HEAD)) if hidden else like.heads),
        "intermediate": intermediate or (4 * wide if hidden else like.intermediate),
    }
    if min(chosen.values()) < 1 or seed < 0:
        raise VerifyError(
            f"The sizes {chosen} with seed {seed} make no encoder: sizes start at 1, seeds at 0."
        )
    sizes = f"{chosen['layers']}x{wide}-{chosen['heads']}-{chosen['intermediate']}"
    name = f"random-{like.name}-{sizes}-s{seed}"
    # All four are whole numbers, which mypy cannot see in a dict of keywords.
    return replace(like, name=name, tensor_prefix="", **chosen)  # type: ignore[arg-type]


def random_weights(encoder: EncoderSpec, *, seed: int, spread: float = _SPREAD) -> dict[str, Array]:
    """Return float32 weights drawn as BERT initialises them; the same seed, the same bytes.

    Matrices and vectors are normal with standard deviation ``spread``, layer norms near 1.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    tensors: dict[str, Array] = {}
    for name, shape in expected_shapes(encoder).items():
        value = random.standard_normal(shape, dtype=np.float32) * np.float32(spread)
        tensors[name] = value + np.float32(1) if name.endswith("LayerNorm.weight") else value
    return tensors


def ensure_random_weights(models: Path, encoder: EncoderSpec, *, seed: int) -> Path:
    """Return the random encoder's ``model.safetensors``; write it when it is not there."""
    path = models / "model.safetensors"
    if not path.is_file():
        with replacing(path) as partial:
            write_safetensors(partial, random_weights(encoder, seed=seed))
    return path


def _numbers(text: str) -> tuple[int, ...]:
    try:
        found = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a list such as 32,64,128") from None
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"{text} holds a number below 1")
    return found
