"""The embedder as a library: right shapes, one result per text, clear errors."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kit import tiny_model
from tests.kit.verify_examples import TINY, numpy_states, tiny_weights
from verify import Embedder
from verify.encoder import reference
from verify.encoder.embedder import EmbedderError, SessionSettings, normalise, pool
from verify.encoder.model_recipe import EncoderSpec, load_model_recipe, recipe_path
from verify.errors import PolicyError, VerifyError

TEXTS = ["a b c", "", "c", "a " * 40, "b b b b b b b b"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def embedder(model: Path) -> Iterator[Embedder]:
    with Embedder.from_recipe(model, TINY) as made:
        yield made


def test_vectors_equal_numpy(embedder: Embedder) -> None:
    found = embedder.embed(TEXTS)
    assert found.shape == (len(TEXTS), TINY.hidden)
    assert found.dtype == np.float32
    for row, text in zip(found, TEXTS, strict=True):
        ids = np.array([embedder.token_ids(text)])
        states = numpy_states(tiny_weights(), ids, np.ones_like(ids), np.zeros_like(ids))
        pooled = states.mean(1)[0]
        assert np.abs(row - pooled / np.linalg.norm(pooled)).max() < 2e-6


def test_truncation_is_the_encoders_and_not_the_files(embedder: Embedder) -> None:
    assert len(embedder.token_ids("a " * 40)) == TINY.max_length
    assert len(embedder.token_ids("a")) == 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.permutations(range(len(TEXTS))))
def test_order_of_a_batch_does_not_matter(embedder: Embedder, order: list[int]) -> None:
    straight = embedder.embed(TEXTS)
    assert np.allclose(embedder.embed([TEXTS[row] for row in order]), straight[order], atol=1e-6)


def test_padding_to_buckets_changes_nothing(model: Path, embedder: Embedder) -> None:
    with Embedder.from_recipe(model, TINY, session=SessionSettings(padded=True)) as padded:
        assert np.allclose(padded.embed(TEXTS), embedder.embed(TEXTS), atol=1e-6)


@pytest.mark.parametrize("padded", [False, True])
def test_pooling_in_the_graph_gives_the_same_vectors(
    model: Path, embedder: Embedder, padded: bool
) -> None:
    with Embedder.from_recipe(
        model, TINY, pooling="graph", session=SessionSettings(padded=padded)
    ) as pooled:
        found = pooled.embed(TEXTS)
        assert found.shape == (len(TEXTS), TINY.hidden)
        assert found.dtype == np.float32
        assert np.abs(found - embedder.embed(TEXTS)).max() < 1e-6
        vector, times = pooled.embed_timed("a b c")
        assert np.abs(vector - embedder.embed(["a b c"])[0]).max() < 1e-6
        assert times.inference > times.pool + times.normalise
        with pytest.raises(EmbedderError, match="before normalising"):
            pooled.pooled_before_norm(["a"])
        assert pooled.embed([]).shape == (0, TINY.hidden)


def test_pooling_in_the_graph_in_half_precision(model: Path) -> None:
    with (
        Embedder.from_recipe(model, TINY, precision="fp16") as host,
        Embedder.from_recipe(model, TINY, precision="fp16", pooling="graph") as graph,
    ):
        assert np.abs(host.embed(TEXTS) - graph.embed(TEXTS)).max() < 1e-3


def test_folders_may_be_given_as_text(model: Path, tmp_path: Path) -> None:
    with Embedder.from_recipe(str(model), TINY, graphs=str(tmp_path / "g")) as embedder:
        embedder.embed(TEXTS[:1])
    assert list((tmp_path / "g").rglob("*.onnx"))


def test_an_encoder_that_does_not_normalise_is_not_normalised_by_its_graph(model: Path) -> None:
    plain = replace(TINY, name="tiny-plain", normalise=False)
    with (
        Embedder.from_recipe(model, plain) as host,
        Embedder.from_recipe(model, plain, pooling="graph") as graph,
    ):
        found = graph.embed(TEXTS)
        assert np.abs(found - host.embed(TEXTS)).max() < 1e-5
        assert np.abs(np.linalg.norm(found, axis=1) - 1).max() > 0.01


@settings(deadline=None)
@given(st.lists(st.integers(1, TINY.max_length), min_size=1, max_size=8))
def test_the_smallest_bucket_that_holds_the_longest_text(lengths: list[int]) -> None:
    chosen = TINY.bucket(max(lengths))
    assert chosen in TINY.buckets
    assert chosen >= max(lengths)
    assert all(size < max(lengths) for size in TINY.buckets if size < chosen)


def test_static_graphs_are_padded_to_buckets_and_the_dynamic_one_is_not(
    model: Path, embedder: Embedder
) -> None:
    assert embedder.buckets == ()
    assert [embedder.width([n]) for n in (1, 3, 8, 9, 16)] == [1, 3, 8, 9, 16]
    assert embedder.width([3, 9]) == 9  # a batch on the CPU: its longest text
    with Embedder.from_recipe(model, TINY, session=SessionSettings(padded=True)) as padded:
        assert padded.buckets == TINY.buckets
        assert [padded.width([n]) for n in (1, 3, 8, 9, 16)] == [8, 8, 8, 16, 16]
        with pytest.raises(VerifyError, match="17 tokens"):
            padded.width([17])
        ids = padded.token_ids("a b c")
        feeds = padded.feeds([ids])
        assert feeds.input_ids.shape == (1, 8)
        assert feeds.input_ids[0].tolist() == ids + [TINY.pad_token_id] * (8 - len(ids))
        assert feeds.attention_mask[0].tolist() == [1] * len(ids) + [0] * (8 - len(ids))
    assert embedder.feeds([ids]).input_ids[0].tolist() == ids


def test_coreml_gets_the_static_graphs_without_being_asked(model: Path) -> None:
    with Embedder.from_recipe(model, TINY, provider="coreml") as made:
        assert made.buckets == TINY.buckets
        assert made.width([3]) == 8


def test_no_texts_give_no_rows(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, TINY.hidden)


def test_timed_result_is_the_same_and_stages_fit_in_the_total(embedder: Embedder) -> None:
    vector, times = embedder.embed_timed("a b c")
    assert np.array_equal(vector, embedder.embed(["a b c"])[0])
    parts = times.tokenise + times.tensors + times.inference + times.pool + times.normalise
    assert 0 < parts <= times.total


def test_threads_share_it(model: Path, embedder: Embedder) -> None:
    wanted = embedder.embed(["a b c"])
    with (
        Embedder.from_recipe(model, TINY) as fresh,
        ThreadPoolExecutor(max_workers=4) as threads,
    ):
        found = list(threads.map(lambda _: fresh.embed(["a b c"]), range(24)))
    assert all(np.array_equal(item, wanted) for item in found)


@pytest.mark.parametrize("texts", ["one string", [1], [None], ["good", "\ud800"]])
def test_what_is_no_list_of_texts_is_refused(embedder: Embedder, texts: list[str]) -> None:
    with pytest.raises(EmbedderError):
        embedder.embed(texts)
    assert embedder.embed(["a"]).shape == (1, TINY.hidden)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"provider": "cuda"}, "no provider"),
        ({"precision": "int3"}, "no precision"),
        ({"threads": 0}, "threads"),
        ({"pooling": "cls"}, "no pooling"),
        ({"encoder": "no-such-model"}, "no model recipe"),
    ],
)
def test_impossible_settings(model: Path, changes: dict, said: str) -> None:
    encoder: EncoderSpec | str = changes.pop("encoder", TINY)
    with pytest.raises(VerifyError, match=said):
        Embedder.from_recipe(model, encoder, **changes)


def test_threads_and_session_options_exclude_each_other(model: Path) -> None:
    import onnxruntime

    session = SessionSettings(options=onnxruntime.SessionOptions())
    with pytest.raises(EmbedderError, match="left out when session options are given"):
        Embedder.from_recipe(model, TINY, threads=1, session=session)
    with Embedder.from_recipe(model, TINY, session=session) as made:
        assert made.embed(["a"]).shape == (1, TINY.hidden)


def test_missing_provider_names_what_there_is(model: Path) -> None:
    import onnxruntime

    if "CoreMLExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("LOUD: this onnxruntime has CoreML, so it is not missing")
    with (
        Embedder.from_recipe(model, TINY, provider="coreml") as made,
        pytest.raises(EmbedderError, match="CPUExecutionProvider"),
    ):
        made.embed(["a"])


def test_missing_and_damaged_files(tmp_path: Path, model: Path) -> None:
    with pytest.raises(EmbedderError, match="no tokenizer"):
        Embedder.from_recipe(tmp_path, TINY)
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(EmbedderError, match="cannot be read"):
        Embedder.from_recipe(tmp_path, TINY)
    (tmp_path / "tokenizer.json").write_bytes((model / "tokenizer.json").read_bytes())
    with (
        Embedder.from_recipe(tmp_path, TINY) as made,
        pytest.raises(VerifyError, match="no weights"),
    ):
        made.embed(["a"])


def test_a_closed_embedder_says_so(model: Path) -> None:
    made = Embedder.from_recipe(model, TINY)
    made.close()
    with pytest.raises(EmbedderError, match="closed"):
        made.embed(["a"])


def test_pooling_ignores_padding_and_normalising_survives_zero() -> None:
    states = np.array([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]], dtype=np.float32)
    mask = np.array([[1, 1, 0]])
    assert pool(states, mask).tolist() == [[2.0, 3.0]]
    assert np.isfinite(normalise(np.zeros((1, 2), np.float32))).all()
    states[0, 2, 0] = np.nan
    assert np.isnan(pool(states, mask)[0, 0])


def test_cutting_an_encoder_shortens_its_buckets_too() -> None:
    spec = load_model_recipe(recipe_path("all-minilm-l6-v2")).encoder
    short = spec.cut_to(128)
    assert (short.max_length, short.buckets) == (128, (32, 64, 128))
    assert spec.cut_to(100).buckets == (32, 64, 100)
    with pytest.raises(PolicyError, match="positions"):
        spec.cut_to(100_000)


@pytest.mark.parametrize("length", [128, 256])
def test_references_are_kept_for_both_lengths_and_differ_on_long_texts(length: int) -> None:
    spec = load_model_recipe(recipe_path("all-minilm-l6-v2")).encoder
    known = reference.load(spec.cut_to(length))
    assert set(known.kinds) == {"plain"}
    assert known.embeddings.shape == (len(known.texts), 384)
    np.testing.assert_allclose(np.linalg.norm(known.embeddings, axis=1), 1, atol=1e-6)
    other = reference.load(spec.cut_to(384 - length))
    apart = np.abs(known.embeddings - other.embeddings).max(axis=1)
    assert 0 < np.count_nonzero(apart > 1e-3) < len(known.texts)


def test_references_of_another_length_say_how_to_make_them() -> None:
    with pytest.raises(VerifyError, match="cut to 77 tokens") as caught:
        reference.load(load_model_recipe(recipe_path("all-minilm-l6-v2")).encoder.cut_to(77))
    assert "128, 256" in caught.value.hint
