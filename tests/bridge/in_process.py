"""The Embedder by itself, in the Python that has the wheel: `in_process.py MODEL FOLDER`.

Each line of the input is a text, or a list of a number of threads, of calls and a text; the answer
is the seconds of each call, as JSON.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

from ortmill import Embedder


def main(recipe: str, folder: str) -> None:
    """Answer until the input ends."""
    with Embedder.from_recipe(folder, recipe) as embedder:

        def seconds(text: str) -> float:
            began = perf_counter()
            embedder.embed([text])
            return perf_counter() - began

        for line in sys.stdin:
            asked = json.loads(line)
            if isinstance(asked, str):
                found = [seconds(asked)]
            else:
                threads, calls, text = asked
                with ThreadPoolExecutor(threads) as pool:
                    found = list(pool.map(seconds, [text] * calls))
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
