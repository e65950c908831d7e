"""The worker of `tests.bench.around`, in the environment of a wheel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from verify.encoder.embedder import Embedder, SessionSettings, normalise
from verify.encoder.model_recipe import EncoderSpec
from verify.latency.queries import QUERIES, workload

NAIVE = 32
_WARM = 20


def _embedder(payload: Mapping[str, Any], precision: str) -> Embedder:
    return Embedder.from_recipe(
        Path(payload["models"]),
        EncoderSpec.from_json(payload["encoder"]),
        precision=precision,
        graphs=Path(payload["graphs"]),
        session=SessionSettings(profile=False),
    )


def shares(payload: Mapping[str, Any]) -> dict[str, dict[str, list[int]]]:
    """Return the nanoseconds of every part of every call, by precision; the last is ``total``."""
    found = {}
    for precision in payload["precisions"]:
        with _embedder(payload, precision) as embedder:
            (text,) = workload(f"tokens-{payload['tokens']}", max_length=payload["tokens"])
            calls = [asdict(embedder.embed_timed(text)[1]) for _ in range(_WARM + payload["calls"])]
        kept = calls[_WARM:]
        found[precision] = {name: [call[name] for call in kept] for name in kept[0]}
    return found


def batches(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Embed the mix in several ways in turns, all with one session.

    Returns
    -------
    dict
        ``times``: nanoseconds of each block by way; ``padded``: tokens that were run;
        ``tokens``: those of the texts; ``apart``: largest difference from the naive vectors.
    """
    with _embedder(payload, payload["precision"]) as embedder:
        texts = [QUERIES[row] for row in _order(payload["texts"])]
        lengths = [len(ids) for ids in embedder.encode(texts)]
        ran: list[int] = []
        run = embedder.run

        def counted(feeds: Any) -> Any:
            ran.append(feeds.input_ids.size)
            return run(feeds)

        embedder.run = counted
        ways: dict[str, Callable[[], Any]] = {"naive": lambda: _naive(embedder, texts)}
        for tokens in payload["budgets"]:
            ways[f"{tokens} tokens"] = lambda tokens=tokens: _cut(embedder, texts, tokens)
        times: dict[str, list[int]] = {name: [] for name in ways}
        padded, vectors = {}, {}
        for block in range(-1, payload["blocks"]):
            for name in list(ways) if block % 2 else reversed(ways):
                ran.clear()
                began = perf_counter_ns()
                vectors[name] = ways[name]()
                if block >= 0:
                    times[name].append(perf_counter_ns() - began)
                padded[name] = sum(ran)
    apart = {name: float(np.abs(each - vectors["naive"]).max()) for name, each in vectors.items()}
    return {"times": times, "padded": padded, "tokens": sum(lengths), "apart": apart}


def _order(count: int) -> list[int]:
    """Return rows of the mix, each equally often, shuffled alike each time."""
    random, rows = np.random.default_rng(12), []
    while len(rows) < count:
        rows.extend(int(row) for row in random.permutation(len(QUERIES)))
    return rows[:count]


def _cut(embedder: Embedder, texts: list[str], tokens: int) -> Any:
    embedder._settings = SessionSettings(batch_tokens=tokens, profile=False)
    return embedder.embed(texts)


def _naive(embedder: Embedder, texts: list[str]) -> Any:
    """Take 32 texts as they come, padded to the longest."""
    pooled = []
    for start in range(0, len(texts), NAIVE):
        feeds = embedder.feeds(embedder.encode(texts[start : start + NAIVE]))
        pooled.append(embedder.pool(embedder.run(feeds), feeds))
    return normalise(np.concatenate(pooled))
