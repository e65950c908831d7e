"""A process that measures on request, so that environments and processes can take turns.

The garbage collector stays enabled while it measures, because a service runs with it enabled and
pays for it in its tail; it is run once before each block, so that no block pays for another's
rubbish. The first `settle` calls of a block come after the other processes had the processor and
its caches; they are answered apart, as warm-ups.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from ..encoder.settings import Tuning
from ..environment.context import TargetContext
from ..errors import VerifyError
from .meter_inside import Meter
from .queries import workload

if TYPE_CHECKING:
    from ..encoder.embedder import StageTimes

STAGES = ("tokenise", "tensors", "inference", "pool", "normalise")
EmbedTimed = Callable[[Any], "tuple[Any, StageTimes]"]


def sample(
    embed_timed: EmbedTimed,
    texts: Sequence[Any],
    order: Sequence[int],
    *,
    meter: Meter,
    settle: int = 0,
) -> dict[str, Any]:
    """Embed texts one by one and keep every time.

    The texts are strings, or whatever ``embed_timed``, ``Embedder``'s or anything with its
    signature, takes in one call; ``order`` says which to embed. ``meter`` reads what the machine
    does meanwhile; its own time is outside of what is timed. The ``settle`` calls at the start are
    kept apart; they go through the order from its end.

    Returns ``warmup`` and ``values`` (total of each call, ns), ``stages`` (ns of each call by
    stage), ``conditions`` (:meth:`.Meter.take`) and ``texts`` (the order).

    Raises
    ------
    VerifyError
        If a vector is not finite: its time would be that of a wrong answer.
    """
    gc.collect()
    warmup = [embed_timed(texts[order[-1 - i % len(order)]])[1].total for i in range(settle)]
    values: list[int] = []
    stages: dict[str, list[int]] = {name: [] for name in STAGES}
    for index in order:
        before = meter.read()
        vector, times = embed_timed(texts[index])
        meter.keep(before)
        if not np.isfinite(vector).all():
            raise VerifyError(
                f"The vector of the text {str(texts[index])[:40]!r} is not finite, so its time "
                "says nothing.",
                hint="Look at the embedding checks first.",
            )
        found = asdict(times)
        values.append(found["total"])
        for name in STAGES:
            stages[name].append(found[name])
    return {
        "warmup": warmup,
        "values": values,
        "stages": stages,
        "conditions": meter.take(),
        "texts": list(order),
    }


def serve(
    context: TargetContext, payload: Mapping[str, Any]
) -> Generator[dict[str, Any], Mapping[str, Any]]:
    """Make the embedder by the payload's ``provider``, ``precision`` and ``tuning``, and measure.

    After one text comes who runs it; then :func:`sample` for each request ``{"workload": "mix",
    "order": [3, 0, …], "settle": 2}``, with the ``tokens`` of each text. Without an order every
    text comes once.

    Raises
    ------
    VerifyError
        If a vector is not finite.
    """
    import onnxruntime

    longest, meter = context.encoder.max_length, Meter()
    tuning = None if payload["tuning"] is None else Tuning(**payload["tuning"])
    with context.embedder(
        provider=payload["provider"], precision=payload["precision"], tuning=tuning
    ) as embedder:
        vector, _ = embedder.embed_timed(workload("mix", max_length=longest)[0])
        if not np.isfinite(vector).all():
            raise VerifyError("The first vector is not finite.", hint="See the embedding checks.")
        request = yield {"pid": os.getpid(), "onnxruntime": onnxruntime.__version__}
        while True:
            texts = workload(request["workload"], max_length=longest)
            order = request.get("order") or list(range(len(texts)))
            found = sample(
                embedder.embed_timed, texts, order, meter=meter, settle=request.get("settle", 0)
            )
            counts = {
                index: len(embedder.token_ids(texts[index], kind="query")) for index in set(order)
            }
            request = yield {**found, "tokens": [counts[index] for index in order]}
