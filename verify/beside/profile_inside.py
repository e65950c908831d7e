"""Run the encoder's graph with and without onnxruntime's profile, in one wheel's environment."""

from __future__ import annotations

import bisect
import json
from collections import defaultdict
from collections.abc import Generator, Mapping
from pathlib import Path
from time import perf_counter_ns, process_time_ns
from typing import Any

import numpy as np

from ..encoder.sessions import make_session
from ..encoder.settings import Tuning
from ..environment.context import TargetContext
from .engines import rest

_WARM, _SETTLE, _NODE = 5, 2, "_kernel_time"


def serve(
    context: TargetContext, payload: Mapping[str, Any]
) -> Generator[dict[str, Any], Mapping[str, Any] | None]:
    """Make two sessions of one graph, one of them with a profile, and run both on request.

    The ``version`` comes first; for each request ``{"calls": n}`` the times in ns of the session
    without a profile, ``wall``, ``processor`` and :func:`rest`; for ``None`` :func:`by_operator`.
    """
    import onnxruntime

    made = []
    for profiled in (False, True):
        options = Tuning(threads=payload["threads"] or None).options()
        options.enable_profiling = profiled
        options.profile_file_prefix = str(context.work / f"profile-{context.role}")
        for name, value in payload["entries"].items():
            options.add_session_config_entry(name, value)
        path = context.graph(precision=payload["precision"])
        made.append(make_session(path, "CPUExecutionProvider", options=options))
    shape = (payload["batch"], payload["tokens"])
    ids = np.random.default_rng(3).integers(5, context.encoder.vocab, shape, dtype=np.int64)
    tensors = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    feeds = {name: tensors.get(name, np.zeros_like(ids)) for name in context.encoder.inputs}
    for session in made:
        _times(session, feeds, _WARM)
    request = yield {"version": onnxruntime.__version__}
    while request:
        _times(made[1], feeds, request["calls"])
        request = yield _times(made[0], feeds, request["calls"])
    events = json.loads(Path(made[1].end_profiling()).read_text(encoding="utf-8"))
    yield by_operator(events, warm=_WARM + _SETTLE)


def _times(session: Any, feeds: Mapping[str, Any], calls: int) -> dict[str, Any]:
    times = []
    for _ in range(calls + _SETTLE):
        begun = perf_counter_ns(), process_time_ns()
        session.run(None, feeds)
        times.append((perf_counter_ns() - begun[0], process_time_ns() - begun[1]))
    wall, processor = zip(*times[_SETTLE:], strict=True)
    return {"wall": wall, "processor": processor, "rest": rest()}


def by_operator(events: list[dict[str, Any]], *, warm: int) -> dict[str, Any]:
    """Sum a profile up, without the first ``warm`` runs.

    ``run`` is the median in ms, ``between`` what no node took of it; ``operators`` and ``kernels``
    map a name to ``[median ms in a run, nodes]``; a kernel is an operator with the shapes of its
    first two inputs.
    """
    runs = sorted(
        (each["ts"], each["ts"] + each["dur"]) for each in events if each["name"] == "model_run"
    )[warm:]
    took = np.zeros(len(runs))
    tables: dict[str, dict[str, list[list[float]]]] = {
        name: defaultdict(lambda: [[] for _ in runs]) for name in ("operators", "kernels")
    }
    for each in events:
        place = bisect.bisect_right(runs, (each["ts"], np.inf)) - 1
        if place < 0 or each["ts"] > runs[place][1] or not each["name"].endswith(_NODE):
            continue
        given = [next(iter(kind.values())) for kind in each["args"].get("input_type_shape", [])]
        sizes = " ".join("x".join(map(str, shape)) or "1" for shape in given[:2])
        operator, time = each["args"]["op_name"], each["dur"] / 1e3
        tables["operators"][operator][place].append(time)
        tables["kernels"][f"{operator} {sizes}"][place].append(time)
        took[place] += time
    whole = np.array([end - start for start, end in runs]) / 1e3
    medians = {
        table: {
            name: [float(np.median([sum(row) for row in rows])), len(rows[-1])]
            for name, rows in found.items()
        }
        for table, found in tables.items()
    }
    return {"run": float(np.median(whole)), "between": float(np.median(whole - took)), **medians}
