"""A process that measures on request: ``python -m verify.latency.sampler_inside JOB.json``.

One JSON object per line comes in on standard input, one goes back on standard output, so that the
host can let any number of environments and processes take turns. Requests:

- ``{"op": "open", "provider": "cpu", "precision": "fp32"}`` makes the embedder, embeds one text
  and answers with who runs it;
- ``{"op": "sample", "workload": "mix", "order": [3, 0, …], "settle": 2}`` embeds those texts of
  the workload one by one and answers with every time in nanoseconds;
- ``{"op": "quit"}`` ends the process, as does the end of the input.

An answer is ``{"ok": true, …}`` or ``{"ok": false, "error": "…", "kind": "ExceptionClass"}``.

The garbage collector stays enabled while it measures, because a service runs with it enabled and
pays for it in its tail; it is run once before each block, so that no block pays for another's
rubbish. The first `settle` calls of a block come after the other processes had the processor and
its caches; they are answered apart, as warm-ups.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from ..environment.context import TargetContext
from ..errors import VerifyError
from .queries import workload

if TYPE_CHECKING:
    from ..encoder.embedder import Embedder, StageTimes

STAGES = ("tokenise", "tensors", "inference", "pool", "normalise")
EmbedTimed = Callable[[str], "tuple[Any, StageTimes]"]


def sample(
    embed_timed: EmbedTimed, texts: Sequence[str], order: Sequence[int], *, settle: int = 0
) -> dict[str, Any]:
    """Embed texts one by one and keep every time.

    Parameters
    ----------
    embed_timed : callable
        ``Embedder.embed_timed`` or anything with its signature.
    texts : sequence of str
        The workload.
    order : sequence of int
        Which texts to embed, in this order.
    settle : int
        Calls at the start that are kept apart; they go through the order from its end.

    Returns
    -------
    dict
        ``warmup`` and ``values`` (total of each call, ns), ``stages`` (ns of each call by stage)
        and ``texts`` (the order).

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
        vector, times = embed_timed(texts[index])
        if not np.isfinite(vector).all():
            raise VerifyError(
                f"The vector of the text {texts[index][:40]!r} is not finite, so its time says "
                "nothing.",
                hint="Look at the embedding checks first.",
            )
        found = asdict(times)
        values.append(found["total"])
        for name in STAGES:
            stages[name].append(found[name])
    return {"warmup": warmup, "values": values, "stages": stages, "texts": list(order)}


class Worker:
    """Answers requests for one environment.

    Parameters
    ----------
    context : TargetContext
        Model and encoder.
    """

    def __init__(self, context: TargetContext) -> None:
        self._context = context
        self._embedder: Embedder | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one request; an exception becomes ``{"ok": false, …}``."""
        operations = {"open": self._open, "sample": self._sample}
        try:
            operation = operations.get(str(request.get("op")))
            if operation is None:
                raise VerifyError(f"The sampler knows no request {request.get('op')!r}.")
            return {"ok": True, **operation(request)}
        except VerifyError as error:
            return {
                "ok": False,
                "error": error.problem,
                "hint": error.hint,
                "kind": type(error).__name__,
            }
        except Exception as error:
            # Whatever the wheel throws belongs in the report and must not end the process.
            return {"ok": False, "error": str(error), "hint": "", "kind": type(error).__name__}

    def close(self) -> None:
        """Free the embedder."""
        if self._embedder is not None:
            self._embedder.close()
            self._embedder = None

    def _open(self, request: dict[str, Any]) -> dict[str, Any]:
        self.close()
        embedder = self._context.embedder(
            provider=request["provider"], precision=request.get("precision", "fp32")
        )
        texts = workload("mix", max_length=self._context.encoder.max_length)
        vector, _ = embedder.embed_timed(texts[0])
        if not np.isfinite(vector).all():
            raise VerifyError("The first vector is not finite.", hint="See the embedding checks.")
        self._embedder = embedder
        import onnxruntime

        return {
            "pid": os.getpid(),
            "onnxruntime": onnxruntime.__version__,
            "provider": request["provider"],
        }

    def _sample(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._embedder is None:
            raise VerifyError('The sampler was asked to measure before "open".')
        texts = workload(request["workload"], max_length=self._context.encoder.max_length)
        order = request.get("order") or list(range(len(texts)))
        found = sample(
            self._embedder.embed_timed, texts, order, settle=int(request.get("settle", 0))
        )
        counts = {index: len(self._embedder.token_ids(texts[index])) for index in set(order)}
        return {**found, "tokens": [counts[index] for index in order]}


def main(argv: Sequence[str]) -> int:
    """Answer requests until the input ends."""
    context = TargetContext.from_job(json.loads(Path(argv[0]).read_text(encoding="utf-8")))
    # Native code may print: standard output is for answers alone, the rest goes to stderr.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    worker = Worker(context)
    try:
        _serve(worker, sys.stdin, answers)
    finally:
        worker.close()
    return 0


def _serve(worker: Worker, requests: TextIO, answers: TextIO) -> None:
    for line in requests:
        request = json.loads(line)
        if request.get("op") == "quit":
            return
        answers.write(json.dumps(worker.answer(request)) + "\n")
        answers.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
