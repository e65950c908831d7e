"""Time an encoder's CPU path at 128 tokens, in the environment of a wheel.

``python -m tests.bench.encoders_inside MODEL_FOLDER ENCODER_AS_JSON`` prints the 95th percentile
of 200 texts in milliseconds.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from verify.encoder.embedder import Embedder, SessionSettings
from verify.encoder.model_recipe import EncoderSpec
from verify.latency.queries import worst_text

if __name__ == "__main__":
    encoder = EncoderSpec.from_json(json.loads(sys.argv[2])).cut_to(128)
    with Embedder.from_recipe(
        Path(sys.argv[1]), encoder, session=SessionSettings(profile=False)
    ) as embedder:
        text = worst_text(128)
        times = [embedder.embed_timed(text)[1].total for _ in range(220)][20:]
    print(np.quantile(times, 0.95, method="inverted_cdf") / 1e6)
