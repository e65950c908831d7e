"""Architectures, poolings, prefixes and tokenizers beyond BERT with a mean."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tests.kit.float64_encoder import Float64Encoder, mpnet_bucket
from tests.kit.verify_examples import TINY, tiny_weights
from verify import Embedder
from verify.encoder.embedder import EmbedderError
from verify.encoder.graph import build_graph
from verify.encoder.model_recipe import EncoderSpec
from verify.encoder.tensors import relative_bucket
from verify.encoder.weights import read_safetensors, write_safetensors
from verify.errors import VerifyError

Array = np.ndarray[Any, Any]
MPNET = replace(
    TINY,
    name="tiny-mpnet",
    architecture="mpnet",
    token_types=0,
    pad_token_id=1,
    positions=202,
    max_length=200,
    buckets=(8, 200),
)
XLM_R = replace(MPNET, name="tiny-xlm-r", architecture="xlm-roberta", token_types=1)
SPECS = {
    "bert": TINY,
    "bert, cls": replace(TINY, pooling="cls"),
    "mpnet": MPNET,
    "mpnet, cls, not scaled": replace(MPNET, pooling="cls", normalise=False),
    "xlm-r": XLM_R,
    "xlm-r with two types": replace(XLM_R, token_types=2),
}


def feeds(spec: EncoderSpec, length: int) -> dict[str, Array]:
    ids = np.random.default_rng(4).integers(3, spec.vocab, (1, length))
    mask = np.ones_like(ids)
    mask[0, length - 2 :] = 0
    ids[mask == 0] = spec.pad_token_id
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    return {name: given[name] for name in spec.inputs}


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("name", SPECS)
def test_numbers_equal_an_independent_implementation(name: str, static: bool) -> None:
    spec = SPECS[name]
    tensors = tiny_weights(encoder=spec)
    # Long enough that MPNet's distances go beyond the last bucket.
    length = spec.buckets[-1]
    shape = (1, length) if static else None
    given = feeds(spec, length)
    wanted = Float64Encoder(tensors, spec)
    ids = given["input_ids"][0, :-2].tolist()
    found = ReferenceEvaluator(build_graph(tensors, spec, static=shape)).run(None, given)[0]
    states = wanted.states(given["input_ids"], given["attention_mask"])
    assert np.abs(found[:, :-2] - states[:, :-2]).max() < 3e-5
    pooling = build_graph(tensors, spec, static=shape, output="sentence_embedding")
    vector = ReferenceEvaluator(pooling).run(None, given)[0]
    expected = wanted.embed(ids)
    if not spec.normalise:
        vector = vector / np.linalg.norm(vector)
    assert np.abs(vector[0] - expected).max() < 3e-6


def test_the_buckets_of_mpnet_are_those_of_whole_numbers() -> None:
    found = relative_bucket(512, 32)
    wanted = [[mpnet_bucket(seen - place, 32) for seen in range(512)] for place in (0, 300, 511)]
    assert np.array_equal(found[[0, 300, 511]], wanted)
    # Known values: what stands before has the lower half, 128 places away is as far as it goes.
    assert [found[200, 200 + away].tolist() for away in (0, -1, -7, -8, -11, -12, -16)] == [
        0, 1, 7, 8, 8, 9, 10,
    ]  # fmt: skip
    assert [found[200, 200 + away].tolist() for away in (1, 7, 8, 64, 127, 128, 300)] == [
        17, 23, 24, 30, 31, 31, 31,
    ]  # fmt: skip


def tokenizer(words: list[str], pad: str | None) -> Tokenizer:
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, "<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    if pad:
        made.enable_padding(pad_id=words.index(pad), pad_token=pad)
    return made


WORDS = ["<s>", "<pad>", "</s>", "<unk>", "query", ":", "passage", "a", "b", "c"]


@pytest.fixture
def mpnet(tmp_path: Path) -> Path:
    write_safetensors(tmp_path / "model.safetensors", tiny_weights(encoder=MPNET))
    tokenizer(WORDS, "<pad>").save(str(tmp_path / "tokenizer.json"))
    return tmp_path


@pytest.mark.parametrize("pooling", ["host", "graph"])
@pytest.mark.parametrize("how", ["mean", "cls"])
def test_each_kind_of_text_gets_its_prefix(mpnet: Path, how: Any, pooling: Any) -> None:
    spec = replace(MPNET, pooling=how, query_prefix="query: ", passage_prefix="passage: ")
    encoder = Float64Encoder(tiny_weights(encoder=MPNET), spec)
    # "a b" after its prefix, between <s> and </s>.
    ids = {"query": [0, 4, 5, 7, 8, 2], "passage": [0, 6, 5, 7, 8, 2], "plain": [0, 7, 8, 2]}
    with Embedder.from_recipe(mpnet, spec, pooling=pooling) as embedder:
        for kind, wanted in ids.items():
            assert embedder.token_ids("a b", kind=kind) == wanted
            found = embedder.embed(["a b", "c"], kind=kind)[0]
            assert np.abs(found - encoder.embed(wanted)).max() < 3e-6
        timed, _ = embedder.embed_timed("a b")
        assert np.array_equal(timed, embedder.embed(["a b"], kind="query")[0])
        with pytest.raises(VerifyError, match="must know what a text is") as caught:
            embedder.embed(["a b"])
        assert 'kind="query"' in caught.value.hint
        with pytest.raises(VerifyError, match='no kind "question"'):
            embedder.embed(["a b"], kind="question")


def test_a_text_is_cut_with_its_prefix(mpnet: Path) -> None:
    spec = replace(MPNET.cut_to(8), query_prefix="query: ")
    with Embedder.from_recipe(mpnet, spec) as embedder:
        assert embedder.token_ids("a " * 50, kind="query") == [0, 4, 5, 7, 7, 7, 7, 2]


@pytest.mark.parametrize(
    ("words", "pad", "said"),
    [
        (["<pad>", "<s>", *WORDS[2:]], "<pad>", "pads with <pad>, which is 0"),
        (["<pad>", "<s>", *WORDS[2:]], None, "pads with <pad>, which is 0"),
        ([*WORDS, *(f"w{n}" for n in range(40))], "<pad>", "50 tokens"),
    ],
)
def test_a_tokenizer_of_another_model_is_refused(
    mpnet: Path, words: list[str], pad: str | None, said: str
) -> None:
    tokenizer(words, pad).save(str(mpnet / "tokenizer.json"))
    with pytest.raises(EmbedderError, match=said):
        Embedder.from_recipe(mpnet, MPNET)


def test_a_tokenizer_without_padding_is_taken_at_its_word(mpnet: Path) -> None:
    words = [word.replace("<pad>", "<nothing>") for word in WORDS]
    tokenizer(words, None).save(str(mpnet / "tokenizer.json"))
    with Embedder.from_recipe(mpnet, MPNET) as embedder:
        assert embedder.embed(["a"]).shape == (1, MPNET.hidden)
    assert json.loads((mpnet / "tokenizer.json").read_text())["padding"] is None


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_weights_in_sixteen_bits_are_read_exactly(mpnet: Path, kind: str) -> None:
    import ml_dtypes
    import safetensors.numpy

    dtype = np.dtype(ml_dtypes.bfloat16 if kind == "bfloat16" else np.float16)
    narrow = {name: value.astype(dtype) for name, value in tiny_weights(encoder=MPNET).items()}
    path = mpnet / "model.safetensors"
    path.write_bytes(safetensors.numpy.save(narrow))
    wide = {name: value.astype(np.float32) for name, value in narrow.items()}
    found = read_safetensors(path)
    for name, value in wide.items():
        assert np.array_equal(found[name].astype(np.float32), value)
    with Embedder.from_recipe(mpnet, MPNET) as embedder:
        vector = embedder.embed(["a b c"])[0]
        expected = Float64Encoder(wide, MPNET).embed(embedder.token_ids("a b c"))
    assert np.abs(vector - expected).max() < 3e-6
