"""Batches: every text once, little padding, bounded, and the vectors of one text at a time."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit import tiny_model
from tests.kit.verify_examples import TINY
from verify import Embedder
from verify.encoder.batches import BatchLimits
from verify.encoder.embedder import EmbedderError, Feeds, SessionSettings
from verify.latency.queries import QUERIES

LIMITS = st.builds(BatchLimits, texts=st.integers(1, 40), tokens=st.integers(1, 600))
WORDS = st.lists(st.sampled_from(["a", "b", "c", "w1", "zz"]), max_size=20).map(" ".join)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def single(model: Path) -> Iterator[Embedder]:
    with Embedder.from_recipe(model, TINY, session=SessionSettings(batch_size=1)) as made:
        yield made


@given(LIMITS, st.lists(st.integers(0, 300), max_size=200))
def test_every_text_is_in_one_run_and_no_run_is_too_large(
    limits: BatchLimits, lengths: list[int]
) -> None:
    runs = limits.cut(lengths)
    assert sorted(place for run in runs for place in run) == list(range(len(lengths)))
    for run in runs:
        held = [lengths[place] for place in run]
        assert 1 <= len(run) <= limits.texts
        assert len(run) == 1 or len(run) * max(held) <= limits.tokens
        assert max(held) <= 2 * max(min(held), 1)
    flat = [lengths[place] for run in runs for place in run]
    assert flat == sorted(flat)
    assert runs == limits.cut(lengths)


@given(LIMITS, st.lists(st.integers(1, 300), max_size=60), st.randoms())
def test_the_cut_depends_on_the_lengths_and_not_on_their_order(
    limits: BatchLimits, lengths: list[int], random: Any
) -> None:
    other = list(lengths)
    random.shuffle(other)
    cut = [[lengths[place] for place in run] for run in limits.cut(lengths)]
    assert cut == [[other[place] for place in run] for run in limits.cut(other)]


def test_half_of_the_naive_batchs_padding_goes_on_the_products_mix() -> None:
    lengths = [len(text.split()) + 2 for text in QUERIES]
    cut = sum(len(run) * max(lengths[at] for at in run) for run in BatchLimits().cut(lengths))
    naive = sum(
        len(part) * max(part)
        for part in (lengths[start : start + 32] for start in range(0, len(lengths), 32))
    )
    assert cut < 1.2 * sum(lengths)
    assert naive > 1.8 * sum(lengths)


@settings(max_examples=40)
@given(st.lists(WORDS, max_size=60), st.integers(1, 9), st.integers(1, 80))
def test_vectors_are_those_of_one_at_a_time_in_the_order_given(
    model: Path, single: Embedder, texts: list[str], size: int, tokens: int
) -> None:
    session = SessionSettings(batch_size=size, batch_tokens=tokens)
    with Embedder.from_recipe(model, TINY, session=session) as batched:
        found = batched.embed(texts)
        assert found.shape == (len(texts), TINY.hidden)
        assert np.allclose(found, single.embed(texts), atol=1e-6)
        assert np.array_equal(found, batched.embed(texts))


def test_ten_thousand_texts_need_no_more_than_a_run_at_a_time(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = 0

    def run(self: Embedder, feeds: Feeds) -> Any:
        nonlocal largest
        largest = max(largest, feeds.input_ids.size)
        return np.ones((*feeds.input_ids.shape, TINY.hidden), dtype=np.float32)

    monkeypatch.setattr(Embedder, "run", run)
    texts = ["a " * (row % 15) for row in range(10_000)]
    with Embedder.from_recipe(model, TINY) as embedder:
        embedder.embed(texts[:50])
        tracemalloc.start()
        found = embedder.embed(texts)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert found.shape == (10_000, TINY.hidden)
    assert 16 < largest <= BatchLimits.tokens
    # Token ids and vectors of all, tokens' vectors of one run.
    assert peak < 8 * 2**20


@pytest.mark.parametrize("name", ["batch_size", "batch_tokens"])
def test_a_batch_holds_something(name: str) -> None:
    with pytest.raises(EmbedderError, match=f"{name} must be at least 1, not 0"):
        SessionSettings(**{name: 0})
