"""The one channel to a worker: a process in some environment that runs a function of this package.

Host and worker speak in lines of JSON. The worker gets one line that names the function, and
answers with its value; a function that yields is asked again, one line for each value. The worker
may crash, hang or raise: all of that comes back as an :class:`Answer`. Only what the machine under
both has caused, a full disk say, is an exception here too: it says nothing of what was asked.
The other end is :mod:`~verify.environment.worker_inside`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

from ..errors import CannotWrite

_PACKAGE = __name__.rsplit(".", 2)[0]
_KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "SYSTEMROOT", "OMP_NUM_THREADS")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_END_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back from a worker: a value, or how it failed.

    Parameters
    ----------
    value : object
        What the function returned or yielded, as JSON; ``None`` with a failure.
    failure : str
        Empty with a value; else a phrase that follows "the process": ``was killed by SIGSEGV``,
        ``ended with exit code 7``, ``was ended after 60 s``, ``raised ValueError: …``.
    returncode : int or None
        Exit code, negative for a signal; ``None`` while the process lives, or after a timeout.
    error, kind, hint : str
        Message, class and hint of the exception that the function raised, or empty.
    stderr : str
        Standard error with what native code printed, without colours. Empty while the process
        lives.
    starved : bool
        The process was late, and since its start a thread of it had waited for a processor for
        more than half of the time that it was given: so the machine could explain it. What hangs
        waits for none.
    """

    value: Any = None
    failure: str = ""
    returncode: int | None = None
    error: str = ""
    kind: str = ""
    hint: str = ""
    stderr: str = ""
    starved: bool = False

    @property
    def tail(self) -> str:
        """The last lines of standard error."""
        return "\n".join(self.stderr.splitlines()[-15:])

    @property
    def sentence(self) -> str:
        """Why there is no value: the exception's whole message, or how the process was ended."""
        return " ".join(self.error.split()) or self.last_words

    @property
    def last_words(self) -> str:
        """Why there is no value: the last line of standard error, and how the process was ended."""
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        last = lines[-1] if lines else self.failure
        ended = self.returncode is None or self.returncode < 0
        return f"its process {self.failure}: {last}" if ended and last != self.failure else last


class Worker:
    """A process that runs one function; a context manager that ends it and what it started.

    The function, see :func:`load_function`, is called with the context, a ``TargetContext`` as
    JSON, where one is given, and with the payload, a JSON value. ``work`` is the current directory,
    and ``variables`` are added to those of :func:`clean_environment`. Without a ``log`` standard
    error is kept in a file without a name. ``say`` takes a check's id and a line of progress.
    """

    def __init__(
        self,
        python: Path,
        function: str,
        payload: Any,
        *,
        work: Path,
        context: Mapping[str, Any] | None = None,
        log: Path | None = None,
        variables: Mapping[str, str] | None = None,
        say: Callable[[str, str], None] | None = None,
    ) -> None:
        self._say = say or (lambda check, text: None)
        self._rest = b""
        if log is None:
            self._errors: IO[bytes] = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - close() does
        else:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.unlink(missing_ok=True)
            self._errors = log.open("a+b")
        self._process = subprocess.Popen(
            [str(python), "-m", "verify.environment.worker_inside"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**clean_environment(), **(variables or {})},
            cwd=work,
            start_new_session=True,
        )
        job = {"function": function, "context": context, "payload": payload}
        self._died = not self._send(job)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        # After an error, Ctrl-C among them, nobody waits for what the worker is doing.
        self.close(_END_SECONDS if kind is None else 0.0)
        self._errors.close()

    def answer(self, seconds: float) -> Answer:
        """Wait for the next value, at most for so long; a worker that is late is ended.

        Raises
        ------
        CannotWrite
            The machine took no more from the worker.
        """
        deadline = time.monotonic() + seconds
        while not self._died:
            line = self._line(deadline)
            if line is None:
                starved = waited(self._process.pid) > seconds / 2
                self.close(0.0)
                late = self._failed(f"was ended after {seconds:.0f} s", None)
                return replace(late, starved=starved)
            if not line:
                break
            message = json.loads(line)
            if "say" in message:
                self._say(*message["say"])
            elif "error" in message:
                code = self.close(_END_SECONDS)
                if message["kind"] == CannotWrite.__name__:
                    raise CannotWrite(message["error"], hint=message["hint"])
                found = self._failed(f"raised {message['kind']}: {message['error']}", code)
                return replace(found, **message)
            else:
                return Answer(value=message["value"])
        code = self.close(_END_SECONDS)
        return self._failed(_how(code), code)

    def ask(self, message: Any, seconds: float) -> Answer:
        """Send a function that yields its next message, and wait for the value."""
        self._died = self._died or not self._send(message)
        return self.answer(seconds)

    def close(self, seconds: float = _END_SECONDS) -> int:
        """End the worker, gently for so many seconds; return its exit code."""
        for stream in (self._process.stdin, self._process.stdout):
            try:
                if stream is not None:
                    stream.close()
            except OSError:
                continue
        try:
            self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            _kill(self._process)
        return self._process.returncode

    def kill(self) -> None:
        """End the worker at once, from any thread; who waits for its answer gets a failure."""
        if self._process.poll() is None:
            _kill(self._process)

    def stderr(self) -> str:
        """Return standard error so far, without colours."""
        self._errors.seek(0)  # the worker appends, wherever the host reads
        return _COLOUR.sub("", self._errors.read().decode(errors="replace"))

    def _send(self, message: Any) -> bool:
        stdin = self._process.stdin
        if stdin is None:  # pragma: no cover - Popen was given a pipe
            return False
        try:
            stdin.write(json.dumps(message).encode() + b"\n")
            stdin.flush()
        except (OSError, ValueError):  # it has died, or was closed
            return False
        return True

    def _line(self, deadline: float) -> bytes | None:
        """Return the next line; empty when the worker has ended, ``None`` when it is late."""
        stdout = self._process.stdout
        if stdout is None or stdout.closed:
            return b""
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    return None
                chunk = os.read(stdout.fileno(), 1 << 16)
                if not chunk:
                    return b""
                self._rest += chunk
        line, self._rest = self._rest.split(b"\n", 1)
        return line

    def _failed(self, failure: str, code: int | None) -> Answer:
        return Answer(failure=failure, returncode=code, stderr=self.stderr())


def call(worker: Worker, seconds: float) -> Answer:
    """Wait for a function that answers once, and for the end of its process.

    A worker that gives its value and then crashes has failed: what it holds is broken.
    """
    began = time.monotonic()
    with worker:
        answer = worker.answer(seconds)
        if not answer.failure:
            code = worker.close(max(_END_SECONDS, seconds - (time.monotonic() - began)))
            answer = replace(answer, returncode=code)
            if code:
                answer = replace(answer, value=None, failure=f"{_how(code)} after its answer")
        return replace(answer, stderr=worker.stderr())


def waited(process: int) -> float:
    """Return the longest time that a thread of a process has stood in a run queue, in seconds.

    From ``/proc/PID/task/*/schedstat`` as :mod:`~verify.latency.meter_inside` reads its own; 0
    where the system does not say, on macOS.
    """
    try:
        files = [*Path(f"/proc/{process}/task").glob("*/schedstat")]
        return max((int(file.read_bytes().split()[1]) for file in files), default=0) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def load_function(reference: str) -> Callable[..., Any]:
    """Import ``module:function``; a module that begins with a dot is one of this package."""
    module, _, name = reference.partition(":")
    found = getattr(importlib.import_module(module, _PACKAGE), name)
    return cast("Callable[..., Any]", found)


def clean_environment() -> dict[str, str]:
    """Return the environment variables of a worker.

    Only what a process needs to run; nothing that could bring in other packages. ``PYTHONPATH``
    is the folder that holds ``verify``: the checkout, or the installed ``ortmill`` and not the
    folder around it, whose numpy and onnxruntime are not those of the worker's environment. So
    in a worker this package is called ``verify``, wherever it comes from.
    """
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    environment["PYTHONNOUSERSITE"] = "1"
    environment["PYTHONIOENCODING"] = "utf-8"
    environment["TOKENIZERS_PARALLELISM"] = "false"
    return environment


def _how(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}" if code else "ended without a result"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a worker and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
