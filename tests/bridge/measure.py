"""The figures of docs/bridge.md: the bridge beside the Embedder in the process, and under load."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import requests

from verify.latency.queries import QUERIES

HERE = Path(__file__).resolve().parent
WAYS = ("in the process", "lines, numbers", "lines, base64", "frames")
UNGROUPED = """
import sys
from ortmill.verify.bridge import engine
from ortmill.verify.cli import main
engine.GROUP = engine.BatchLimits(texts=1)
sys.exit(main(sys.argv[1:]))
"""


@dataclass(frozen=True)
class Installed:
    """An environment with ortmill and a wheel, and a model to serve."""

    home: Path
    recipe: str
    folder: Path

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.home / "bin" / "python")

    def bridge(self, *words: str) -> list[str]:
        """Return the command that starts the service."""
        program = str(self.home / "bin" / "ortmill")
        return [program, "bridge", "--model", self.recipe, "--models", str(self.folder), *words]


@contextmanager
def piped(argv: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program with both pipes; it ends with its input."""
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as found:
        try:
            yield found
            found.stdin.close()
            found.wait(30)
        finally:
            found.kill()


class Lines:
    """A process that answers a line with a line."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._input: Any = process.stdin
        self._output = io.BufferedReader(process.stdout)

    def ask(self, message: object) -> Any:
        """Return the answer."""
        self._input.write(json.dumps(message).encode() + b"\n")
        return json.loads(self._output.readline())


class Frames:
    """A bridge that speaks frames."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._input: Any = process.stdin
        self._output = io.BufferedReader(process.stdout)
        hello = b"\0" + json.dumps({"op": "hello", "versions": [1]}).encode()
        self._exchange(hello)

    def _exchange(self, body: bytes) -> bytes:
        self._input.write(struct.pack("<I", len(body)) + body)
        (length,) = struct.unpack("<I", self._output.read(4))
        return self._output.read(length)

    def embed(self, text: str) -> Any:
        """Return the vector."""
        encoded = text.encode()
        answer = self._exchange(struct.pack("<BQII", 1, 1, 1, len(encoded)) + encoded)
        return np.frombuffer(answer[21:], "<f4")


def latency(installed: Installed, rounds: int, pause: float) -> dict[str, list[float]]:
    """Return the seconds of one query in every way, one after the other for each text in turn.

    Before each call there are ``pause`` seconds. onnxruntime's threads spin for 20 to 30 ms after a
    call: with less, the last way's disturb the next; with more, the machine has gone to rest.
    """
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with ExitStack() as stack:
        worker = [installed.python, str(HERE / "in_process.py"), installed.recipe]
        inside = Lines(stack.enter_context(piped([*worker, str(installed.folder)])))
        lines = Lines(stack.enter_context(piped(installed.bridge())))
        lines.ask({"op": "hello", "versions": [1]})
        frames = Frames(stack.enter_context(piped(installed.bridge("--wire", "frames"))))

        def by_lines(text: str, encoding: str) -> Any:
            asked = {"op": "embed", "id": 1, "texts": [text], "encoding": encoding}
            return lines.ask(asked)["vectors"][0]

        ways: dict[str, Callable[[str], float]] = {
            WAYS[0]: lambda text: inside.ask(text)[0],
            WAYS[1]: timed(lambda text: by_lines(text, "float")),
            WAYS[2]: timed(lambda text: by_lines(text, "base64")),
            WAYS[3]: timed(frames.embed),
        }
        random = np.random.default_rng(1)
        for number in range(rounds + 1):
            for text in random.permutation(QUERIES):
                for way in random.permutation(WAYS):
                    time.sleep(pause)
                    seconds = ways[way](str(text))
                    if number:  # the first round warms up
                        found[way].append(seconds)
    return found


def timed(call: Callable[[str], Any]) -> Callable[[str], float]:
    """Return a function that gives the seconds of a call."""

    def seconds(text: str) -> float:
        began = perf_counter()
        call(text)
        return perf_counter() - began

    return seconds


def interval_of_p95(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the difference of two P95s, calls drawn in pairs."""
    pairs = np.array([one, other])
    random = np.random.default_rng(1)
    drawn = pairs[:, random.integers(0, len(one), (2000, len(one)))]
    p95 = np.percentile(drawn, 95, axis=2)
    low, high = np.percentile(p95[0] - p95[1], (2.5, 97.5))
    return float(low), float(high)


@contextmanager
def served(argv: Sequence[str]) -> Iterator[str]:
    """Start the service over HTTP and return its address once the model is loaded."""
    env = {**os.environ, "ORTMILL_API_KEY": ""}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=env) as process:
        try:
            assert process.stdout is not None
            url: str = json.loads(process.stdout.readline())["url"]
            while requests.get(f"{url}/healthz", timeout=5).status_code != 200:
                time.sleep(0.05)
            yield url
        finally:
            process.terminate()


def load(
    installed: Installed, clients: Sequence[int], requests_each: int
) -> Iterator[tuple[str, int, list[float], float]]:
    """Yield the way, the clients, the seconds of each request and the requests a second.

    The service with and without groups, and as many threads around the Embedder itself.
    """
    generator = shutil.which("hey", path=f"{os.environ['PATH']}:{Path.home() / 'go' / 'bin'}")
    if generator is None:
        raise FileNotFoundError("hey: go install github.com/rakyll/hey@v0.1.5")
    text = sorted(QUERIES, key=len)[len(QUERIES) // 2]
    body = json.dumps({"model": installed.recipe, "input": text, "encoding_format": "base64"})
    http = ["--http", "--port", "0", "--json"]
    plain = installed.bridge(*http)
    ungrouped = [installed.python, "-c", UNGROUPED, *plain[1:]]
    for count in clients:
        calls = requests_each * max(1, min(count, 8))
        worker = [installed.python, str(HERE / "in_process.py"), installed.recipe]
        with piped([*worker, str(installed.folder)]) as process:
            inside = Lines(process)
            inside.ask([count, 50, text])
            began = perf_counter()
            seconds = inside.ask([count, calls, text])
            yield "in the process", count, seconds, calls / (perf_counter() - began)
        for way, argv in (("HTTP", plain), ("HTTP, no groups", ungrouped)):
            with served(argv) as url:
                yield way, count, *generated(generator, f"{url}/v1/embeddings", body, count, calls)


def generated(
    generator: str, url: str, body: str, clients: int, calls: int
) -> tuple[list[float], float]:
    """Run the load generator and return the seconds of each request, and requests a second."""
    argv = [generator, "-m", "POST", "-T", "application/json", "-d", body, "-c", str(clients)]
    subprocess.run([*argv, "-n", str(max(50, clients)), url], check=True, capture_output=True)
    began = perf_counter()
    done = subprocess.run(
        [*argv, "-n", str(calls), "-o", "csv", url], check=True, capture_output=True, text=True
    )
    wall = perf_counter() - began
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    bad = {row["status-code"] for row in rows} - {"200"}
    assert not bad, f"the service answered {bad}"
    return [float(row["response-time"]) for row in rows], len(rows) / wall
