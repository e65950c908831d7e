"""Each library as its users use it, run by a worker in an environment of its own.

fastembed and sentence-transformers get a folder with the encoder's files under the names that they
look for, and nothing else: their own defaults decide about threads, sessions and batches. The
wheels of onnxruntime run `Embedder`. This module loads with numpy alone, as it runs in all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from time import perf_counter_ns, process_time_ns, sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..encoder import reference
from ..encoder.embedder import Embedder, SessionSettings, StageTimes
from ..encoder.sessions import load_tokenizer
from ..environment.context import TargetContext
from ..latency.meter_inside import Meter, peak_mib
from ..latency.queries import QUERIES, workload
from ..latency.sampler_inside import sample

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
Payload = Mapping[str, Any]

_OTHERS = {"fastembed": "fastembed", "sentence-transformers": "sentence_transformers"}
_TOLD = ("onnxruntime", "fastembed", "sentence-transformers", "torch", "tokenizers", "numpy")
_LOAD = re.compile(r"(?:mix|tokens-(\d+))(?:/(\d+))?(?:@(\d+))?")
_STEP = 17  # the queries are sorted by length: every 17th of 60 makes a batch of all lengths
_LOOK, _BUSY, _MOST_REST = 0.01, 0.05, 1e9


@dataclass(frozen=True, kw_only=True)
class Load:
    """What one call embeds: ``batch`` texts of ``tokens`` (0: of the mix), by ``threads`` or 0."""

    tokens: int = 0
    batch: int = 1
    threads: int = 0

    @property
    def name(self) -> str:
        """Such as ``mix``, ``tokens-128``, ``mix/32`` or ``tokens-128/8@2``."""
        texts = f"tokens-{self.tokens}" if self.tokens else "mix"
        batch = f"/{self.batch}" if self.batch > 1 else ""
        return f"{texts}{batch}{f'@{self.threads}' if self.threads else ''}"

    @classmethod
    def of(cls, name: str) -> Load:
        """Read a name; ValueError when it is none."""
        found = _LOAD.fullmatch(name)
        if found is None:
            raise ValueError(f'"{name}" names no load.')
        tokens, batch, threads = (int(part or 0) for part in found.groups())
        return cls(tokens=tokens, batch=batch or 1, threads=threads)

    def calls(self) -> list[list[str]]:
        """Return the texts of each call; of the mix enough calls to hold every query."""
        if self.tokens:
            return [[*workload(f"tokens-{self.tokens}", max_length=0)] * self.batch]
        count = len(QUERIES)
        mixed = [QUERIES[row * _STEP % count] for row in range(count + self.batch)]
        return [mixed[first : first + self.batch] for first in range(0, count, self.batch)]


def _fastembed(context: TargetContext, payload: Payload, threads: int) -> Embed:
    kinds = import_module("fastembed.common.model_description")
    model, encoder = import_module("fastembed").TextEmbedding, context.encoder
    if encoder.name not in {each["model"] for each in model.list_supported_models()}:
        model.add_custom_model(
            model=encoder.name,
            pooling=kinds.PoolingType.MEAN if encoder.pooling == "mean" else kinds.PoolingType.CLS,
            normalization=encoder.normalise,
            sources=kinds.ModelSource(hf=encoder.name),
            dim=encoder.hidden,
            model_file="model.onnx",
        )
    folder = payload["folder"]  # for what it would fetch as well: it leaves nothing behind
    made = model(encoder.name, folder, threads or None, specific_model_path=folder)
    return lambda texts: np.array(list(made.embed(list(texts))))


def _sentence_transformers(context: TargetContext, payload: Payload, threads: int) -> Embed:
    if threads:
        import_module("torch").set_num_threads(threads)
    made = import_module("sentence_transformers").SentenceTransformer(
        payload["folder"], device="cpu"
    )
    return lambda texts: np.asarray(made.encode(list(texts), show_progress_bar=False))


def _opened(context: TargetContext, payload: Payload, threads: int = 0) -> Embed:
    if context.role in _OTHERS:
        chosen = _fastembed if context.role == "fastembed" else _sentence_transformers
        return chosen(context, payload, threads)
    embedder = Embedder.from_recipe(
        context.model_dir,
        context.encoder,
        precision=payload["precision"],
        threads=threads or None,
        graphs=context.graphs_dir,
        session=SessionSettings(profile=False, **payload.get("session", {})),
    )
    return lambda texts: embedder.embed(texts, kind="plain")


def begin(context: TargetContext, payload: Payload) -> Generator[dict[str, Any], Any]:
    """Start up as a service does; then, asked for it, compare with the references.

    What comes after the first vector is ``import_ms`` (numpy is there before: the worker needs it);
    then ``worst`` and ``mean`` cosine over the reference texts, ``peak_mib`` of the process after
    them and a batch of 32, and ``versions``.
    """
    begun = perf_counter_ns()
    other = _OTHERS.get(context.role)
    for name in (other,) if other else ("onnxruntime", "tokenizers"):
        import_module(name)
    imported = (perf_counter_ns() - begun) / 1e6
    embed, prefixed = _opened(context, payload), context.encoder.prefixed
    embed([prefixed(QUERIES[0], "query")])
    yield {"import_ms": imported}
    known = reference.load(context.encoder, context.references)
    texts = zip(known.texts, known.kinds, strict=True)
    found = np.concatenate([embed([prefixed(each.text, kind)]) for each, kind in texts])
    sizes = np.linalg.norm(found, axis=1) * np.linalg.norm(known.embeddings, axis=1)
    # A NaN is no cosine, and the worst one is to show it.
    cosines = np.nan_to_num(np.einsum("nh,nh->n", found, known.embeddings) / sizes, nan=-1.0)
    embed(Load(batch=32).calls()[0])
    there = {each.metadata["Name"].lower(): each.version for each in metadata.distributions()}
    yield {
        "worst": float(cosines.min()),
        "mean": float(cosines.mean()),
        "peak_mib": peak_mib(),
        "versions": {name: there[name] for name in _TOLD if name in there},
    }


def serve(context: TargetContext, payload: Payload) -> Generator[dict[str, Any], Payload]:
    """Measure on request, as :func:`verify.latency.sampler_inside.serve` does.

    The ``workload`` of a request is the name of a `Load`; ``tokens`` are those of a whole call.
    """
    meter, prefixed = Meter(), context.encoder.prefixed
    engines = {0: _opened(context, payload)}
    tokenizer = load_tokenizer(context.model_dir / "tokenizer.json", context.encoder)
    request = yield {"role": context.role}
    while True:
        load = Load.of(request["workload"])
        if load.threads not in engines:
            engines[load.threads] = _opened(context, payload, load.threads)
        calls = [[prefixed(text, "query") for text in texts] for texts in load.calls()]
        order = request.get("order") or list(range(len(calls)))
        found = sample(
            _timed(engines[load.threads]), calls, order, meter=meter,
            settle=request.get("settle", 0),
        )  # fmt: skip
        tokens = [sum(len(tokenizer.encode(text).ids) for text in calls[row]) for row in order]
        rest()
        request = yield {**found, "stages": {}, "tokens": tokens}


def _timed(embed: Embed) -> Callable[[Sequence[str]], tuple[Any, StageTimes]]:
    def timed(texts: Sequence[str]) -> tuple[Any, StageTimes]:
        begun = perf_counter_ns()
        vectors = embed(texts)
        took = perf_counter_ns() - begun
        return vectors, StageTimes(
            tokenise=0, tensors=0, inference=took, pool=0, normalise=0, total=took
        )

    return timed


def rest() -> float:
    """Wait until this process's threads look for work no longer; return for how long they did, ns.

    A thread pool spins for a while after a run, and whoever is measured next is not to feel it.
    """
    begun, waited = perf_counter_ns(), 0.0
    while waited < _MOST_REST:
        before = process_time_ns()
        sleep(_LOOK)
        if process_time_ns() - before < _LOOK * 1e9 * _BUSY:
            break
        waited = perf_counter_ns() - begun
    return waited
