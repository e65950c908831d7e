"""Workers as forks of this process: a graph costs what it computes, and no imports.

This process holds the wheel's onnxruntime and everything else that a worker loads, and makes no
session itself. A fork is a process of its own all the same: it may crash or hang.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

from verify.environment import worker_inside

PRELOADED = (
    "onnxruntime",
    "onnx.shape_inference",
    "onnx.reference",
    "coremltools",
    "verify.conversion.measure",
    "verify.coverage.inference",
    "verify.conversion.emit_inside",
    "verify.coverage.fold_inside",
    "verify.coverage.provider_inside",
    "tests.fuzz.same",
)


class Forked:
    """What a :class:`~verify.environment.channel.Worker` needs of ``subprocess.Popen``."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        stderr: IO[bytes],
        env: Mapping[str, str],
        cwd: Path,
        **_: object,
    ) -> None:
        stdin, ours = os.pipe()
        theirs, stdout = os.pipe()
        self.returncode: int | None = None
        self.pid = os.fork()
        if not self.pid:
            _become_worker((stdin, stdout, stderr.fileno()), env, cwd, worker_inside.main)
        os.close(stdin)
        os.close(stdout)
        self.stdin, self.stdout = os.fdopen(ours, "wb"), os.fdopen(theirs, "rb")

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal, once the process has ended."""
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = float("inf")) -> int:
        """Wait for the end, as ``Popen.wait`` does."""
        until = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() >= until:
                raise subprocess.TimeoutExpired("worker", timeout)
            time.sleep(0.001)
        return code


def in_a_fork(function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return a function's JSON values; a fork that gives none is a problem."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as stream:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                json.dump(function(), stream)
                stream.flush()
                code = 0
            except BaseException:
                traceback.print_exc()
            os._exit(code)
        _, status = os.waitpid(pid, 0)
        stream.seek(0)
        code = os.waitstatus_to_exitcode(status)
        if code:
            return {
                "problems": [f"the command's process ended in {code}"],
                "notes": [],
                "counts": {},
            }
        found: dict[str, Any] = json.load(stream)
        return found


def _become_worker(
    streams: tuple[int, int, int], env: Mapping[str, str], cwd: Path, main: Callable[[], int]
) -> NoReturn:
    code = 1
    try:
        os.setsid()
        os.chdir(cwd)
        kept = [os.dup(stream) for stream in streams]
        for place, stream in enumerate(kept):
            os.dup2(stream, place)
        os.closerange(3, 1024)
        os.environ.clear()
        os.environ.update(env)
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(place, mode, encoding="utf-8") for place, mode in enumerate("rww")
        )
        code = main()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(code)
