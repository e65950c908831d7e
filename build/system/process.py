"""Run a program with its whole output in a log, and end it with all its children on Ctrl-C.

Every program gets a session of its own. Ninja puts each compiler into a process group of its own,
but none leaves the session, so that is what is ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import psutil

from ..errors import BuildError, CompileError, Interrupted, ToolchainError

_GRACE_SECONDS = 10.0
# A process's birth is counted from the machine's start, which moves when its clock is set.
_CLOCK_SLACK = 2.0
_FAILED = re.compile(r"FAILED: |(?:^|\W)(?:fatal )?error[: ]|CMake Error|undefined reference", re.I)


class Runner:
    """A :class:`build.system.run.Run` whose failures are one class of error.

    Parameters
    ----------
    env : Mapping[str, str]
        The whole environment of a child, where a call gives none.
    log : Path
        Where output is appended, where a call names no other file.
    error : type[BuildError], optional
        What a status other than zero raises.
    on_line : callable, optional
        Called with each line of output, without its line end.
    note : Path, optional
        Names the running program while it runs, for :func:`end_leftover`.
    """

    def __init__(
        self,
        *,
        env: Mapping[str, str],
        log: Path,
        error: type[BuildError] = CompileError,
        on_line: Callable[[str], None] | None = None,
        note: Path | None = None,
    ) -> None:
        self._env, self._log, self._error, self._on_line = env, log, error, on_line
        self._note = note

    def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        log: Path | None = None,
        timeout: float | None = None,
    ) -> str:
        """Run ``argv``; return what it wrote to its standard output.

        Raises
        ------
        ToolchainError
            There is no such program.
        Interrupted
            Ctrl-C or SIGTERM arrived; the program and its children have been ended.
        BuildError
            The program failed or took longer than ``timeout`` seconds; the tail of its output
            and the log's path are in the context.
        """
        target = log or self._log
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("a", encoding="utf-8", errors="replace") as stream:
            stream.write(f"$ {' '.join(argv)}\n")
            stream.flush()
            try:
                child = subprocess.Popen(
                    list(argv),
                    cwd=cwd,
                    env=dict(self._env if env is None else env),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    encoding="utf-8",
                    errors="replace",
                    start_new_session=True,
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
                self._take_note(child)
                code = child.wait(timeout=timeout)
            except subprocess.TimeoutExpired:
                end_child(child)
                reader.join(_GRACE_SECONDS)
                raise self._failed(argv, target, lines, f"took longer than {timeout:g} s") from None
            except KeyboardInterrupt:
                end_child(child)
                reader.join(_GRACE_SECONDS)
                raise Interrupted(
                    f"stopped while {_name(argv)} was running",
                    hint="run the same command again: finished steps are kept",
                ) from None
            except BaseException:
                end_child(child)
                raise
            finally:
                if self._note:
                    self._note.unlink(missing_ok=True)
            reader.join()
        if code:
            raise self._failed(argv, target, lines, f"ended with status {code}")
        return "\n".join(lines) + "\n" if lines else ""

    def _take_note(self, child: subprocess.Popen[str]) -> None:
        if self._note:
            begun = time.time()
            with contextlib.suppress(psutil.Error):
                # The kernel's own word, which the same question gives again later.
                begun = psutil.Process(child.pid).create_time()
            facts = {"session": child.pid, "begun": begun}
            self._note.write_text(json.dumps(facts) + "\n", encoding="utf-8")

    def _read(self, child: subprocess.Popen[str], stream: TextIO, lines: list[str]) -> None:
        with child.stdout or contextlib.nullcontext(()) as output:
            for line in output:
                stream.write(line)
                lines.append(line.rstrip("\n"))
                if self._on_line:
                    self._on_line(lines[-1])

    def _failed(
        self, argv: Sequence[str], log: Path, lines: Sequence[str], what: str
    ) -> BuildError:
        return self._error(
            f"{_name(argv)} {what}",
            hint="the whole output is in the log",
            context={"log": str(log), "output": "\n" + telling_part(lines)},
        )


def telling_part(lines: Sequence[str], *, most: int = 25) -> str:
    """Return the lines around the first error that a compiler or CMake reported, or the last."""
    first = next((index for index, line in enumerate(lines) if _FAILED.search(line)), None)
    if first is None or first > len(lines) - most:
        chosen = lines[-most:]
    else:
        chosen = lines[first : first + most]
    return "\n".join(line[:400] for line in chosen)


def _name(argv: Sequence[str]) -> str:
    name = Path(argv[0]).name
    script = next((word for word in argv[1:] if not word.startswith("-")), name)
    # "python ended with status 1" would say nothing.
    return Path(script).name if re.fullmatch(r"python[\d.]*", name) else name


def end_child(child: subprocess.Popen[str]) -> None:
    """End a child and everything in its session, and collect its status."""
    end_session(child.pid, collect=child.poll)
    child.wait()


def end_session(session: int, *, collect: Callable[[], object] = lambda: None) -> None:
    """End every process of a session: SIGTERM, and SIGKILL for what is left after ten seconds.

    Parameters
    ----------
    session : int
        The session's number: the process number of its first process.
    collect : callable, optional
        Called again and again to collect the status of the caller's own child.
    """
    try:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # To the first group alone: build tools end their own children, and tidy up.
            os.killpg(session, signal.SIGTERM)
        for pid in session_members(session):
            # One that is stopped would not hear of it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGCONT)
        deadline = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < deadline:
            collect()
            if not session_members(session):
                return
            time.sleep(0.05)
    finally:
        # Reached at once where a second Ctrl-C arrives.
        for pid in session_members(session):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _GRACE_SECONDS
        while session_members(session) and time.monotonic() < deadline:
            collect()
            time.sleep(0.02)


def session_members(session: int) -> list[int]:
    """Return the living processes of a session; ones that only wait to be collected are dead."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(pid) == session and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


def end_leftover(note: Path) -> bool:
    """End what a killed build left running; return whether there was anything.

    SIGKILL gives a build no chance to end its compilers, and a second ninja in the same tree
    beside them would write the same files.

    Parameters
    ----------
    note : Path
        The note of a :class:`Runner`.
    """
    try:
        facts = json.loads(note.read_text(encoding="utf-8"))
        session, begun = int(facts["session"]), float(facts["begun"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    note.unlink(missing_ok=True)
    members = session_members(session)
    # A session of this number that is older, or whose first process is newer, is somebody else's.
    for pid in members:
        with contextlib.suppress(psutil.Error):
            created = psutil.Process(pid).create_time()
            if created < begun - _CLOCK_SLACK or (
                pid == session and created > begun + _CLOCK_SLACK
            ):
                return False
    if members:
        end_session(session)
    return bool(members)
