"""One path as a process: it says that it is ready, takes a text a line, answers with a vector."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import IO

import numpy as np
import psutil
from numpy.typing import NDArray


class PathFailed(Exception):
    """A path that ended or answered wrongly; the text is what it said."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A vector, and the nanoseconds that the path itself measured around its call."""

    vector: NDArray[np.float64]
    ns: int


class Worker:
    """A running path; a context manager that ends it.

    Parameters
    ----------
    argv : sequence of str
        The program.
    env : Mapping[str, str]
        Its whole environment.
    log : Path
        Takes its standard error.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self._log = log
        self._errors: IO[bytes] = log.open("wb")
        self._process = subprocess.Popen(
            list(argv),
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        for child in self._family()[1:]:
            child.terminate()
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            # What a path that has died did not take is still in the buffer.
            with suppress(BrokenPipeError):
                if stream is not None:
                    stream.close()

    def ready(self) -> None:
        """Wait for the first line."""
        if self._line() != b"ready\n":
            raise PathFailed(self._said())

    def ask(self, text: str) -> Answer:
        """Embed one text."""
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(text).encode() + b"\n")
            self._process.stdin.flush()
            found = json.loads(self._line())
            return Answer(vector=np.array(found["vector"], dtype=np.float64), ns=int(found["ns"]))
        except (OSError, ValueError, KeyError) as error:
            raise PathFailed(self._said()) from error

    def _line(self) -> bytes:
        assert self._process.stdout
        return self._process.stdout.readline()

    def _said(self) -> str:
        self._process.kill()
        code = self._process.wait()
        self._errors.flush()
        tail = self._log.read_text("utf-8", "replace").strip()[-2000:]
        return f"it ended with {code}: {tail or 'without a word'}"

    def _family(self) -> list[psutil.Process]:
        try:
            own = psutil.Process(self._process.pid)
            return [own, *own.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def peak_bytes(self) -> int:
        """Return the most memory that it and its children held, each at its own peak.

        Where the system keeps no peak (Linux does), it is what they hold now.
        """
        return sum(_peak(each) for each in self._family())


def _peak(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status")
    if status.exists():
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text("ascii"), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    return int(process.memory_info().rss)


def start_up(argv: Sequence[str], env: Mapping[str, str], log: Path, text: str) -> float:
    """Return the seconds from the start of the program to its first vector."""
    began = perf_counter()
    with Worker(argv, env, log) as worker:
        worker.ready()
        worker.ask(text)
        return perf_counter() - began
