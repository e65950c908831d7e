"""Start programs: with a clean environment, without input, in a session of their own.

:func:`capture` and :func:`ask` are for programs that answer, :class:`LoggedRun` for those that
work.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, TextIO

from ..errors import BuildError, CompileError, Interrupted, ResourceError, ToolchainError
from .session import end_child, write_note

_POLL_SECONDS = 0.2
# For the last output of a program that was ended.
_READ_SECONDS = 10.0
_TOLD_LINES = 25
_FULL = os.strerror(errno.ENOSPC)
_FAILED = re.compile(r"FAILED: |(?:^|\W)(?:fatal )?error[: ]|CMake Error|undefined reference", re.I)


def start(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None,
    stdout: int | IO[str],
    stderr: int | IO[str],
) -> subprocess.Popen[str]:
    """Start a program with exactly ``env`` as its environment, and no input.

    Its session is its own: Ctrl-C reaches it through us alone, and its children end with it.
    """
    return subprocess.Popen(
        list(argv),
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a program ended, and what it printed."""

    code: int
    out: str
    err: str


def capture(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    seconds: float,
    cancel: threading.Event | None = None,
    cwd: Path | None = None,
) -> Outcome:
    """Run a program to its end and return what it printed.

    Raises
    ------
    OSError
        There is no such program (FileNotFoundError), or it cannot be run.
    TimeoutError
        It did not end in time; it and its children have been ended.
    Interrupted
        ``cancel`` was set; it and its children have been ended.
    """
    # Files and not pipes: a daemon that it leaves behind would keep a pipe open.
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as out,
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as err,
    ):
        child = start(argv, env=env, cwd=cwd, stdout=out, stderr=err)
        deadline = time.monotonic() + seconds
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(timeout=_POLL_SECONDS)
                    break
                if cancel is not None and cancel.is_set():
                    raise Interrupted(f"{_name(argv)} was stopped")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{_name(argv)} took too long")
        except BaseException:
            end_child(child)
            raise
        out.seek(0)
        err.seek(0)
        return Outcome(code=child.returncode, out=out.read(), err=err.read())


def ask(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    seconds: float,
    cancel: threading.Event | None = None,
) -> Outcome:
    """Run a program as :func:`capture` does; one that cannot be run, or not in time, has failed.

    Raises
    ------
    Interrupted
        As for :func:`capture`.
    """
    try:
        return capture(argv, env=env, seconds=seconds, cancel=cancel)
    except OSError as error:
        # Also a TimeoutError, which is one.
        return Outcome(code=1, out="", err=str(error))


class Run(Protocol):
    """Run a program and return what it printed on its standard output.

    ``env`` is the child's whole environment, not an addition. A status other than zero
    raises a subclass of :class:`build.errors.BuildError`. :class:`LoggedRun` is one; tests have
    others.
    """

    def __call__(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> str:
        """Run ``argv`` and return its standard output as text."""
        ...


@dataclass(frozen=True, kw_only=True)
class LoggedRun:
    """A :class:`Run` with the whole output in a log, whose failures are one class of error.

    ``env`` is the whole environment of a child, where a call gives none. Output is appended to
    ``log``, and ``on_line`` is called with each line, without its end. ``note`` names the running
    program while it runs, for :func:`build.system.session.end_leftover`.
    """

    env: Mapping[str, str]
    log: Path
    error: type[BuildError] = CompileError
    on_line: Callable[[str], None] | None = None
    note: Path | None = None

    def __call__(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> str:
        """Run ``argv``; return what it wrote to its standard output.

        Raises
        ------
        ToolchainError
            There is no such program.
        Interrupted
            Ctrl-C or SIGTERM arrived; the program and its children have been ended.
        ResourceError
            The program failed on a full disk.
        BuildError
            It failed otherwise; the tail of its output and the log's path are in the context.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("a", encoding="utf-8", errors="replace") as stream:
            stream.write(f"$ {' '.join(argv)}\n")
            stream.flush()
            try:
                child = start(
                    argv,
                    env=self.env if env is None else env,
                    cwd=cwd,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
            except OSError as error:
                raise ToolchainError(
                    f"cannot run {argv[0]}: {error.strerror or error}",
                    hint="check that the program is installed and may be executed",
                ) from error
            lines: list[str] = []
            reader = threading.Thread(target=self._read, args=(child, stream, lines), daemon=True)
            reader.start()
            try:
                if self.note:
                    write_note(self.note, child.pid)
                code = child.wait()
            except KeyboardInterrupt:
                end_child(child)
                reader.join(_READ_SECONDS)
                raise Interrupted(
                    f"stopped while {_name(argv)} was running",
                    hint="run the same command again: finished steps are kept",
                ) from None
            except BaseException:
                end_child(child)
                raise
            finally:
                if self.note:
                    self.note.unlink(missing_ok=True)
            reader.join()
        if code and any(_FULL in line for line in lines):
            raise ResourceError(
                f"the disk is full: {_name(argv)} ended with status {code}",
                hint="free some space and run the same command again: finished steps are kept",
                context={"log": str(self.log)},
            )
        if code:
            raise self.error(
                f"{_name(argv)} ended with status {code}",
                hint="the whole output is in the log",
                context={"log": str(self.log), "output": "\n" + first_error(lines)},
            )
        return "\n".join(lines) + "\n" if lines else ""

    def _read(self, child: subprocess.Popen[str], stream: TextIO, lines: list[str]) -> None:
        with child.stdout or contextlib.nullcontext(()) as output:
            for line in output:
                stream.write(line)
                lines.append(line.rstrip("\n"))
                if self.on_line:
                    self.on_line(lines[-1])


def first_error(lines: Sequence[str]) -> str:
    """Return the lines around the first error that a compiler or CMake reported, or the last."""
    first = next((index for index, line in enumerate(lines) if _FAILED.search(line)), None)
    start = max(0, len(lines) - _TOLD_LINES)
    chosen = lines[start if first is None else min(first, start) :][:_TOLD_LINES]
    return "\n".join(line[:400] for line in chosen)


def _name(argv: Sequence[str]) -> str:
    name = Path(argv[0]).name
    script = next((word for word in argv[1:] if not word.startswith("-")), name)
    # "python ended with status 1" would say nothing.
    return Path(script).name if re.fullmatch(r"python[\d.]*", name) else name
