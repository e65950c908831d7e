"""One process of `tests.bench.compilers`, in the environment of one wheel.

The job comes as JSON in the only argument. Each line of standard input names a length in tokens;
the answer is a line with the nanoseconds of every run. The end of the input ends it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from verify.encoder.embedder import Embedder, SessionSettings
from verify.encoder.model_recipe import EncoderSpec

_WARM = 3
#: One token of the model's vocabulary, and two special ones around the text.
_WORD, _SPECIAL = "time", 2


def main() -> int:
    """Measure what is asked for."""
    job = json.loads(sys.argv[1])
    clock = time.process_time_ns if job["clock"] == "cpu" else time.perf_counter_ns
    with Embedder.from_recipe(
        Path(job["models"]),
        EncoderSpec.from_json(job["encoder"]),
        threads=job["threads"],
        graphs=Path(job["graphs"]),
        session=SessionSettings(profile=False),
    ) as embedder:
        for line in sys.stdin:
            length = int(line)
            text = " ".join([_WORD] * (length - _SPECIAL))
            found = len(embedder.token_ids(text))
            if found != length:
                print(f"the text has {found} tokens, not {length}", file=sys.stderr)
                return 1
            samples = []
            for _ in range(_WARM + job["runs"]):
                began = clock()
                embedder.embed([text])
                samples.append(clock() - began)
            print(json.dumps(samples[_WARM:]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
