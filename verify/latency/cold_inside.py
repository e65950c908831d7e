"""One cold start, timed from inside.

``python -m verify.latency.cold_inside JOB.json PROVIDER [CACHE]``

Prints one JSON object with nanoseconds by stage. What the service does at start-up is told apart:
importing numpy, importing onnxruntime, making tokenizer and session, the first text.
The graph's bytes are read and hashed before the clock of the session starts, so the file is in
the page cache: this is a cold process, not a cold disk.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter_ns


def main(argv: Sequence[str]) -> int:
    """Start up once and print the times."""
    begun = perf_counter_ns()
    import numpy as np

    with_numpy = perf_counter_ns()
    import onnxruntime

    imported = perf_counter_ns()
    from ..encoder.sessions import COREML, COREML_OPTIONS, CPU, make_session
    from ..environment.context import TargetContext
    from .queries import QUERIES

    job, provider, *cache = argv
    context = TargetContext.from_job(json.loads(Path(job).read_text(encoding="utf-8")))
    coreml = provider == "coreml"
    encoder = context.encoder
    path = context.graph(static=(1, encoder.bucket(1)) if coreml else None)
    options = dict(COREML_OPTIONS) if coreml else {}
    if cache:
        options["ModelCacheDirectory"] = cache[0]
    prepared = perf_counter_ns()
    embedder = context.embedder(provider="coreml" if coreml else "cpu")
    session = make_session(
        path,
        COREML if coreml else CPU,
        options=onnxruntime.SessionOptions(),
        provider_options=options,
    )
    opened = perf_counter_ns()
    feeds = embedder.feeds([embedder.token_ids(QUERIES[0])])
    states = session.run(
        ["last_hidden_state"],
        {
            "input_ids": feeds.input_ids,
            "attention_mask": feeds.attention_mask,
            "token_type_ids": feeds.token_type_ids,
        },
    )[0]
    first = perf_counter_ns()
    times = {
        "numpy": with_numpy - begun,
        "import": imported - with_numpy,
        "session": opened - prepared,
        "first_run": first - opened,
    }
    print(json.dumps({"times": times, "finite": bool(np.isfinite(states).all())}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
