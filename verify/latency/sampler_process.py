"""One measuring process in an environment, driven from the host by lines of JSON."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import VerifyError


class WorkerFailed(VerifyError):
    """A measuring process died, hung, or could not do what it was asked for."""

    title = "measuring"


@dataclass(frozen=True, kw_only=True)
class TargetPython:
    """How to start Python in one environment.

    Parameters
    ----------
    python : Path
        The interpreter.
    env : Mapping[str, str]
        Its whole environment; ``PYTHONPATH`` must hold the ``verify`` package.
    job : Path
        JSON file with the `TargetContext`.
    """

    python: Path
    env: Mapping[str, str]
    job: Path


class SamplerProcess:
    """A running `verify.latency.sampler_inside`; a context manager that ends it.

    Parameters
    ----------
    target : TargetPython
        Where to run it.
    log : Path
        File for its standard error.
    """

    def __init__(self, target: TargetPython, *, log: Path) -> None:
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [str(target.python), "-m", "verify.latency.sampler_inside", str(target.job)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=dict(target.env),
                cwd=target.job.parent,
            )
        self._rest = b""

    def __enter__(self) -> SamplerProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def request(self, message: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises
        ------
        WorkerFailed
            If the process died, did not answer in time, or answered with an error.
        """
        stdin = self._process.stdin
        if stdin is None:  # pragma: no cover - Popen was given a pipe
            raise WorkerFailed("The measuring process has no input.")
        try:
            stdin.write(json.dumps(message).encode() + b"\n")
            stdin.flush()
        except OSError:
            raise self._died() from None
        answer: dict[str, Any] = json.loads(self._line(seconds))
        if not answer["ok"]:
            raise WorkerFailed(
                f"The measuring process could not {message['op']}: {answer['error']}",
                hint=str(answer.get("hint", "")),
                context={"kind": str(answer["kind"]), "log": str(self._log)},
            )
        return answer

    def close(self) -> None:
        """End the process, gently first."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    continue
        try:
            self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _line(self, seconds: float) -> bytes:
        stdout = self._process.stdout
        if stdout is None:  # pragma: no cover - Popen was given a pipe
            raise WorkerFailed("The measuring process has no output.")
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise WorkerFailed(
                        f"The measuring process did not answer within {seconds:.0f} s.",
                        hint="Is the machine overloaded? The process's log may say more.",
                        context={"log": str(self._log)},
                    )
                chunk = os.read(stdout.fileno(), 1 << 16)
                if not chunk:
                    raise self._died()
                self._rest += chunk
        line, self._rest = self._rest.split(b"\n", 1)
        return line

    def _died(self) -> WorkerFailed:
        try:
            code = self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        tail = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        return WorkerFailed(
            f"The measuring process {how}.",
            hint="Its log says more.",
            context={"log": str(self._log), "last lines": "\n".join(tail)},
        )
