"""The files of the tiny encoder: tokenizer, weights, and a recipe to serve it by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tests.kit.verify_examples import TINY, tiny_weights
from verify.encoder.weights import write_safetensors

ENDS = ("[CLS]", "[SEP]")
SIGNS = ("[PAD]", "[UNK]", *ENDS)
WORDS = ("a", "b", "c", *(f"w{number}" for number in range(TINY.vocab - 7)))


def word_tokenizer(words: Sequence[str]) -> Tokenizer:
    """Return a tokenizer of whole words, between [CLS] and [SEP] where it has them."""
    rows = {word: row for row, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(rows, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if "[CLS]" in rows:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[(sign, rows[sign]) for sign in ENDS]
        )
    return tokenizer


def write_model(folder: Path) -> Path:
    """Make a folder with a tokenizer of the queries' commonest words and the weights."""
    folder.mkdir()
    words = [*SIGNS, "the", "how", "do", "I", "a", "of", "in", "is"]
    word_tokenizer(words).save(str(folder / "tokenizer.json"))
    write_safetensors(folder / "model.safetensors", tiny_weights())
    return folder


def write(folder: Path) -> Path:
    """Write the files into a folder and return it; the recipe is called ``tiny.toml``."""
    tokenizer = word_tokenizer([*SIGNS, *WORDS])
    tokenizer.enable_truncation(max_length=4)  # the file's own wish, which must not count
    tokenizer.enable_padding(length=4)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_safetensors(folder / "model.safetensors", tiny_weights())
    fields = {key: value for key, value in TINY.to_json().items() if key != "name"}
    lines = [f"{key} = {_toml(value)}" for key, value in fields.items()]
    (folder / "tiny.toml").write_text("\n".join(['name = "tiny"', "[encoder]", *lines, ""]))
    return folder


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
