"""The tool that carries encoders with random weights through the verification."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests.bench import encoders
from tests.kit.verify_examples import TINY
from verify.encoder import reference
from verify.encoder.model_recipe import ModelRecipe, load_model_recipe, recipe_path
from verify.encoder.weights import read_safetensors

MODELS = Path(__file__).resolve().parents[2] / ".work" / "models"

BERT = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": True,
    },
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {
        "type": "BertProcessing",
        "sep": ["[SEP]", 3],
        "cls": ["[CLS]", 2],
    },
    "decoder": None,
    "model": {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "##b": 5},
    },
}


def test_the_tokenizer_of_mpnet_has_its_numbers() -> None:
    made = Tokenizer.from_str(json.dumps(encoders.mpnet_tokenizer(BERT)))
    assert made.encode("ab ").tokens == ["<s>", "a", "##b", "</s>"]
    assert made.encode("ab ").ids == [0, 8, 9, 2]
    assert made.encode("z").ids == [0, 5, 2], "what is unknown stays BERT's"
    assert made.token_to_id("<pad>") == 1
    assert made.get_vocab_size() == 11


def test_the_tokenizer_made_for_mpnet_cuts_texts_as_the_real_one() -> None:
    real, bert = (
        MODELS / name / "tokenizer.json" for name in ("all-mpnet-base-v2", encoders.WORDS)
    )
    if not (real.is_file() and bert.is_file()):
        pytest.skip("NOT SHOWN: fetch-model has not placed all-mpnet-base-v2 and all-minilm-l6-v2")
    made = Tokenizer.from_str(json.dumps(encoders.mpnet_tokenizer(json.loads(bert.read_text()))))
    theirs = Tokenizer.from_file(str(real))
    for each in (made, theirs):
        each.no_padding()
        each.no_truncation()
    for entry in reference.load_texts(reference.default_folder())[0]:
        assert made.encode(entry.text).ids == theirs.encode(entry.text).ids, entry.id


def test_an_encoder_is_made_whole_and_says_that_it_is_random(tmp_path: Path) -> None:
    spec = replace(TINY, name="small", vocab=6, query_prefix="a ")
    (tmp_path / "own" / "small").mkdir(parents=True)
    (tmp_path / "own" / "small" / "tokenizer.json").write_text(json.dumps(BERT))
    plain = ModelRecipe(name="small", files=(), encoder=spec)
    recipe, encoder = encoders.make(plain, tmp_path / "made", tmp_path / "own")
    assert recipe.name == encoder.name == "small-random"
    recipe.check_files(tmp_path / "made")
    known = reference.load(encoder, tmp_path / "made")
    assert "random weights" in known.made_with
    assert set(known.kinds) == {"query", "passage"}
    once = read_safetensors(tmp_path / "made" / "model.safetensors")
    encoders.make(plain, tmp_path / "again", tmp_path / "own")
    again = read_safetensors(tmp_path / "again" / "model.safetensors")
    assert all((once[name] == again[name]).all() for name in once)


def test_a_vocabulary_that_nobody_has_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / encoders.WORDS).mkdir()
    (tmp_path / encoders.WORDS / "tokenizer.json").write_text(json.dumps(BERT))
    recipe = load_model_recipe(recipe_path("multilingual-e5-small"))
    with pytest.raises(SystemExit, match="fetch-model multilingual-e5-small"):
        encoders.tokenizer_for(recipe, tmp_path)


@pytest.mark.parametrize("word", ["--help", "--model=none"])
def test_its_words_are_checked(word: str) -> None:
    with pytest.raises((SystemExit, argparse.ArgumentError)):
        encoders.main([word])
