"""Every path gets the same texts in turn, so that what disturbs the host disturbs all of them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.paths.worker import Answer, PathFailed, Worker, start_up

Say = Callable[[str], None]

# A thread pool of ONNX Runtime looks for more work for a while; the next path is not to feel it.
PAUSE_SECONDS = 0.01
STARTS = 5


@dataclass(frozen=True, kw_only=True)
class Route:
    """One path.

    Parameters
    ----------
    key : str
        Its letter in the plan.
    name : str
    provider : str
        Who executes on this host.
    claimed : str
        What the plan says, in milliseconds.
    argv : sequence of str
        The program that serves it.
    env : Mapping[str, str]
        Its whole environment.
    deployed : Mapping[str, Path]
        What a machine needs to run it: files and folders, with what each is.
    exact : bool
        Whether it computes in float32 and owes the policy's cosine; a form in fewer bits owes
        the policy's agreement.
    """

    key: str
    name: str
    provider: str
    claimed: str
    argv: Sequence[str]
    env: Mapping[str, str]
    deployed: Mapping[str, Path]
    exact: bool = True


@dataclass(kw_only=True)
class Samples:
    """What one path gave; ``times`` in nanoseconds, in the order of measurement."""

    times: list[int] = field(default_factory=list)
    cosines: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    failed: str = ""


def measure(
    routes: Sequence[Route],
    *,
    texts: Sequence[str],
    references: Sequence[tuple[str, NDArray[np.float32]]],
    samples: int,
    logs: Path,
    say: Say,
) -> dict[str, Samples]:
    """Measure every path in one interleaved run.

    Parameters
    ----------
    routes : sequence of Route
    texts : sequence of str
        Sent again and again until each path has its samples.
    references : sequence of (str, ndarray)
        Texts with their right vectors; they warm every path up, and are not timed.
    samples : int
        Timed calls of each path.
    logs : Path
        A folder for what the programs write to standard error.
    say : callable
        Takes a line of progress.
    """
    found = {route.key: Samples() for route in routes}
    order = random.Random(0)
    say(f"start-up, {STARTS} times each")
    for _ in range(STARTS):
        for route in order.sample(list(routes), len(routes)):
            log = logs / f"{route.key}-start.log"
            try:
                seconds = start_up(route.argv, route.env, log, texts[0])
            except PathFailed as error:
                found[route.key].failed = str(error)
            else:
                found[route.key].starts.append(seconds)
    with ExitStack() as stack:
        running: dict[str, Worker] = {}
        for route in routes:
            if not found[route.key].failed:
                worker = Worker(route.argv, route.env, logs / f"{route.key}.log")
                running[route.key] = stack.enter_context(worker)
        taken = _Turns(running, found, order)
        taken.ready()
        say(f"{len(references)} reference texts")
        for text, right in references:
            for key, answer in taken.ask(text):
                length = float(np.linalg.norm(answer.vector) * np.linalg.norm(right))
                found[key].cosines.append(float(answer.vector @ right) / length)
        say(f"{samples} timed calls of each path, in turn")
        for number in range(samples):
            for key, answer in taken.ask(texts[number % len(texts)]):
                found[key].times.append(answer.ns)
        for key, worker in running.items():
            found[key].peak_bytes = worker.peak_bytes()
    return found


class _Turns:
    """Asks every path that is well; one that fails keeps its words, and the others go on."""

    def __init__(
        self, running: dict[str, Worker], found: Mapping[str, Samples], order: random.Random
    ) -> None:
        self._running = running
        self._found = found
        self._order = order

    def ready(self) -> None:
        """Wait for each."""
        for key, worker in list(self._running.items()):
            with self._or_out(key):
                worker.ready()

    def ask(self, text: str) -> Iterator[tuple[str, Answer]]:
        """Yield each path's answer to a text, the paths in a new order."""
        for key in self._order.sample(list(self._running), len(self._running)):
            time.sleep(PAUSE_SECONDS)
            with self._or_out(key):
                yield key, self._running[key].ask(text)

    @contextmanager
    def _or_out(self, key: str) -> Iterator[None]:
        try:
            yield
        except PathFailed as error:
            self._found[key].failed = str(error)
            del self._running[key]
