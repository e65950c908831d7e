"""The model recipes that are shipped: what can be known of files that were never fetched."""

from __future__ import annotations

import json
from math import prod

import pytest

from build.recipe.load import load_model_recipe as load_build_part
from verify.encoder.model_recipe import load_model_recipe, recipe_path
from verify.encoder.tensors import expected_shapes
from verify.program import recipes_folder

NAMES = sorted(path.stem for path in (recipes_folder() / "models").glob("*.toml"))


def test_there_are_recipes_for_what_people_bring() -> None:
    assert {"bge-small-en-v1.5", "gte-small", "all-mpnet-base-v2", "multilingual-e5-small"} <= {
        *NAMES
    }


@pytest.mark.parametrize("name", NAMES)
def test_both_halves_read_every_recipe_alike(name: str) -> None:
    path = recipe_path(name)
    ours, theirs = load_model_recipe(path), load_build_part(path)
    assert ours.name == theirs.name == name
    assert {file.name: file.sha256 for file in ours.files} == {
        file.name: file.sha256 for file in theirs.files
    }
    assert ours.encoder.buckets[-1] == ours.encoder.max_length


@pytest.mark.parametrize("name", NAMES)
def test_the_pinned_size_is_that_of_the_tensors_in_the_recipe(name: str) -> None:
    """The hubs' files hold the encoder's tensors, its pooler, and the numbers of the places.

    Their bytes cannot be fetched everywhere. Names, shapes and type give the size to the byte, so
    a wrong number of layers, prefix, vocabulary or type shows all the same.
    """
    recipe = load_model_recipe(recipe_path(name))
    spec = recipe.encoder
    shapes = dict(expected_shapes(spec))
    item, metadata = (2, "F16") if name == "gte-small" else (4, "F32")
    header: dict[str, object] = {}
    end = 0
    if name != "multilingual-e5-small":  # decoded, not from a hub
        header["__metadata__"] = {"format": "pt"}
        shapes["pooler.dense.weight"] = (spec.hidden, spec.hidden)
        shapes["pooler.dense.bias"] = (spec.hidden,)
        end = 8 * spec.positions
        header["embeddings.position_ids"] = {
            "dtype": "I64", "shape": [1, spec.positions], "data_offsets": [0, end],
        }  # fmt: skip
    for tensor, shape in sorted(shapes.items()):
        begin, end = end, end + item * prod(shape)
        header[tensor] = {"dtype": metadata, "shape": shape, "data_offsets": [begin, end]}
    text = len(json.dumps(header, separators=(",", ":")))
    pinned = next(file.size for file in recipe.files if file.name == "model.safetensors")
    assert pinned == 8 + text + -text % 8 + end
