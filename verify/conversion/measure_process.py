"""``python -m verify.conversion.measure_process``: measure packages in a process of its own.

The jobs come as JSON on standard input, an answer goes out as a line ``@answer {…}`` for each.
"""

from __future__ import annotations

import json
import sys

from ..errors import VerifyError
from .measure import measure


def main() -> int:
    """Measure what standard input asks for."""
    for job in json.loads(sys.stdin.read()):
        try:
            answer = measure(job, lambda text: print("@progress " + text, flush=True))
        except VerifyError as error:
            answer = {
                "label": job["label"],
                "problems": [error.problem],
                "facts": {},
                "unknown": {},
                "refused": "",
                "modes": {},
            }
        print("@answer " + json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
