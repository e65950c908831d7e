"""Sessions of onnxruntime and tokenizers, made without a silent fallback."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import VerifyError
from .model_recipe import EncoderSpec

CPU = "CPUExecutionProvider"
COREML = "CoreMLExecutionProvider"
COREML_OPTIONS: Mapping[str, str] = {"ModelFormat": "MLProgram", "RequireStaticInputShapes": "1"}


class EmbedderError(VerifyError):
    """An embedder that cannot be made, or was asked for something impossible."""

    title = "embedder"


def make_session(
    path: Path, provider: str, *, options: Any, provider_options: Mapping[str, str] | None = None
) -> Any:
    """Make a session that holds ``provider`` first.

    Raises
    ------
    EmbedderError
        When the wheel does not list the provider, or the session was made without it.
    """
    import onnxruntime

    listed = onnxruntime.get_available_providers()
    if provider not in listed:
        raise EmbedderError(
            f"This wheel has no {provider}; it has {', '.join(listed)}.",
            hint="Build one with `nox -s build`, or use the CPU provider.",
        )
    providers: list[Any] = [(provider, dict(provider_options or {}))]
    session = onnxruntime.InferenceSession(str(path), sess_options=options, providers=providers)
    if provider not in session.get_providers():
        raise EmbedderError(
            f"{provider} is listed, but the session was made without it.",
            hint="The wheel's provider is a stub; `python -m verify run` tells more.",
        )
    return session


def load_tokenizer(path: Path, encoder: EncoderSpec) -> Any:
    """Load the tokenizer with this encoder's truncation, in place of the file's own.

    Raises
    ------
    EmbedderError
        When there is none, it cannot be read, or it is plainly another model's.
    """
    from tokenizers import Tokenizer

    if not path.is_file():
        raise EmbedderError(
            f"There is no tokenizer at {path}.",
            hint=f"Fetch the model with `python -m build fetch-model {encoder.name}`.",
        )
    try:
        text = path.read_text(encoding="utf-8")
        json.loads(text)
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:
        # The library raises bare Exception for whatever is wrong with the file.
        raise EmbedderError(f"The tokenizer {path} cannot be read: {error}.") from None
    _check_tokenizer(path, tokenizer, encoder)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=encoder.max_length)
    return tokenizer


def _check_tokenizer(path: Path, tokenizer: Any, encoder: EncoderSpec) -> None:
    """Refuse a tokenizer with more tokens than the model, or with another padding token."""
    size = tokenizer.get_vocab_size()
    if size > encoder.vocab:
        raise EmbedderError(
            f"The tokenizer {path} has {size} tokens, the model {encoder.name} has "
            f"{encoder.vocab}.",
            hint="Take the tokenizer.json that belongs to the model.",
        )
    padding = tokenizer.padding or {}
    named = [padding.get("pad_token"), "[PAD]", "<pad>"]
    ids = {word: tokenizer.token_to_id(word) for word in named if word}
    for word, number in ids.items():
        if number is None:
            continue
        if number != encoder.pad_token_id:
            raise EmbedderError(
                f"The tokenizer {path} pads with {word}, which is {number}; the recipe of "
                f"{encoder.name} says pad_token_id = {encoder.pad_token_id}.",
                hint="Correct the recipe, or take the tokenizer.json that belongs to the model.",
            )
        return
