"""The stored references: who made them, of what, and that two implementations agree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, pre_tokenizers

from tests.kit.float64_encoder import Float64Encoder
from tests.kit.tiny_model import word_tokenizer
from tests.kit.verify_examples import TINY, policy, tiny_weights
from tests.references import compute, save
from verify.checks.embedding_inside import embedding_reference
from verify.encoder import reference
from verify.encoder.model_recipe import file_sha256, load_model_recipe, recipe_path
from verify.encoder.weights import read_safetensors, write_safetensors
from verify.environment.context import TargetContext

MODELS = Path(__file__).resolve().parents[3] / ".work" / "models"
STORED = ["all-minilm-l6-v2", "all-mpnet-base-v2", "multilingual-e5-small"]


@pytest.mark.parametrize("name", STORED)
def test_stored_references_are_whole_and_small(name: str) -> None:
    encoder = load_model_recipe(recipe_path(name)).encoder
    known = reference.load(encoder)
    pinned = {file.name: file.sha256 for file in load_model_recipe(recipe_path(name)).files}
    assert known.weights_sha256 == pinned["model.safetensors"]
    assert len(known.tokens) == len(known.texts) == len(known.kinds) == len(known.embeddings)
    assert (reference.default_folder() / f"{name}.npz").stat().st_size < 300_000
    wanted = {"query", "passage"} if encoder.query_prefix else {"plain"}
    assert set(known.kinds) == wanted


@pytest.mark.integration
def test_numpy_in_double_precision_gives_what_torch_gave() -> None:
    """The vectors of all-MiniLM-L6-v2 were made by torch; rounded to float32 both are alike."""
    folder = MODELS / "all-minilm-l6-v2"
    if not (folder / "model.safetensors").is_file():
        pytest.skip("NOT SHOWN: `python -m build fetch-model` has not placed all-MiniLM-L6-v2")
    encoder = load_model_recipe(recipe_path("all-minilm-l6-v2")).encoder.cut_to(128)
    known = reference.load(encoder)
    assert known.made_with.startswith("torch")
    embed = Float64Encoder(read_safetensors(folder / "model.safetensors"), encoder).embed
    home = reference.default_folder()
    rows, tokens = compute(embed, folder / "tokenizer.json", encoder, home)
    assert np.abs(rows - known.embeddings).max() <= 2**-25
    assert tuple(tokens) == known.tokens


@pytest.fixture
def tiny(tmp_path: Path) -> TargetContext:
    """A tiny encoder with prefixes, its references, and the context of a check."""
    spec = replace(TINY, query_prefix="query ", passage_prefix="passage ")
    write_safetensors(tmp_path / "model.safetensors", tiny_weights())
    words = ["[PAD]", "[UNK]", "query", "passage", "the", "how", "do", "I", "a", "of", "in", "is"]
    word_tokenizer(words).save(str(tmp_path / "tokenizer.json"))
    embed = Float64Encoder(tiny_weights(), spec).embed
    rows, tokens = compute(embed, tmp_path / "tokenizer.json", spec, tmp_path)
    length = spec.max_length
    save(
        tmp_path,
        spec.name,
        embeddings={length: rows},
        tokens={length: tokens},
        weights_sha256=file_sha256(tmp_path / "model.safetensors"),
        made_with="numpy",
    )
    (tmp_path / "work").mkdir()
    return TargetContext(
        role="candidate",
        work=tmp_path / "work",
        model_dir=tmp_path,
        encoder=spec,
        policy=policy(min_cosine=0.99999, max_abs=1e-5, norm_tolerance=1e-5),
        references=tmp_path,
    )


def test_each_reference_text_is_embedded_as_what_it_is(tiny: TargetContext) -> None:
    found = embedding_reference(tiny)
    assert found.status == "passed", found.summary
    assert found.evidence["references"] == "numpy"
    assert found.evidence["other_tokens"] == []


def test_swapped_prefixes_are_caught(tiny: TargetContext) -> None:
    spec = tiny.encoder
    swapped = replace(spec, query_prefix=spec.passage_prefix, passage_prefix=spec.query_prefix)
    found = embedding_reference(replace(tiny, encoder=swapped))
    assert found.status == "failed"
    assert "other token ids than the references" in found.summary


def test_another_pooling_is_caught(tiny: TargetContext) -> None:
    found = embedding_reference(replace(tiny, encoder=replace(tiny.encoder, pooling="cls")))
    assert found.status == "failed"


def test_a_tokenizer_that_cuts_words_elsewhere_is_named(tiny: TargetContext) -> None:
    path = tiny.model_dir / "tokenizer.json"
    other = Tokenizer.from_file(str(path))
    other.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    other.save(str(path))
    found = embedding_reference(tiny)
    assert found.status == "failed"
    assert "texts have other token ids than the references" in found.summary
    assert found.evidence["other_tokens"]
