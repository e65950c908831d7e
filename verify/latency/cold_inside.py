"""One cold start, timed from inside.

What the service does at start-up is kept apart: importing numpy, importing onnxruntime, making
tokenizer and session, the first text. The graph's bytes are read and hashed before the clock of
the session starts, so the file is in the page cache: this is a cold process, not a cold disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter_ns
from typing import Any

from ..environment.context import TargetContext


def cold_start(context: TargetContext, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Start up once, with the payload's ``provider`` and ``cache``, a folder for CoreML or None.

    Returns ``times`` in nanoseconds by stage, and whether the first text's values are ``finite``.
    """
    begun = perf_counter_ns()
    import numpy as np

    with_numpy = perf_counter_ns()
    import onnxruntime

    imported = perf_counter_ns()
    from ..encoder.sessions import COREML, COREML_OPTIONS, CPU, make_session
    from .queries import QUERIES

    coreml = payload["provider"] == "coreml"
    encoder = context.encoder
    path = context.graph(static=(1, encoder.bucket(1)) if coreml else None)
    options = dict(COREML_OPTIONS) if coreml else {}
    if payload["cache"]:
        options["ModelCacheDirectory"] = payload["cache"]
    prepared = perf_counter_ns()
    embedder = context.embedder(provider=payload["provider"])
    session = make_session(
        path,
        COREML if coreml else CPU,
        options=onnxruntime.SessionOptions(),
        provider_options=options,
    )
    opened = perf_counter_ns()
    feeds = embedder.feeds([embedder.token_ids(QUERIES[0], kind="query")])
    states = session.run(["last_hidden_state"], feeds.named(encoder))[0]
    first = perf_counter_ns()
    times = {
        "numpy": with_numpy - begun,
        "import": imported - with_numpy,
        "session": opened - prepared,
        "first_run": first - opened,
    }
    return {"times": times, "finite": bool(np.isfinite(states).all())}
