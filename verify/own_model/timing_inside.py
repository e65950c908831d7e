"""A process that runs a user's model on the CPU provider and measures on request."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from ..conversion.emit_inside import stored_feeds
from ..encoder.sessions import CPU
from ..environment.context import TargetContext
from ..latency.meter_inside import Meter

BLOCK_SECONDS = 1.5
"""A block of a slow model ends after this, with one call at least."""


def serve(
    context: TargetContext, payload: Mapping[str, Any]
) -> Generator[dict[str, Any], Mapping[str, Any]]:
    """Make a session for each graph, and measure on request.

    ``payload["graphs"]`` maps a workload's name to its file, ``payload["feeds"]`` is the file of
    inputs. It yields as :func:`verify.latency.sampler_inside.serve` does; the order is that of the
    inputs' rows.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    sessions = {
        name: onnxruntime.InferenceSession(path, providers=[CPU])
        for name, path in payload["graphs"].items()
    }
    rows = list(stored_feeds(Path(payload["feeds"])))
    meter = Meter()
    request = yield {"pid": os.getpid(), "onnxruntime": onnxruntime.__version__}
    while True:
        session = sessions[request["workload"]]
        order = list(request.get("order") or range(len(rows)))
        gc.collect()
        began = time.monotonic()
        times: list[int] = []
        settle = request.get("settle", 0)
        for number, index in enumerate([*order[:settle], *order]):
            before = meter.read()
            start = time.perf_counter_ns()
            session.run(None, rows[index])
            times.append(time.perf_counter_ns() - start)
            if number >= settle:
                meter.keep(before)
                if time.monotonic() - began > BLOCK_SECONDS:
                    break
        values = times[settle:]
        request = yield {
            "warmup": times[:settle],
            "values": values,
            "stages": {},
            "conditions": meter.take(),
            "texts": order[: len(values)],
            "tokens": [0] * len(values),
        }
