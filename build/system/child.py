"""Helper programs of the fetch, run so that they can be stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import Interrupted

_POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a program ended, and what it printed."""

    code: int
    out: str
    err: str


def run_child(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    seconds: float,
    cancel: threading.Event | None = None,
    cwd: Path | None = None,
) -> Outcome:
    """Run a program to its end, with exactly ``env`` as its environment and no input.

    Raises
    ------
    FileNotFoundError
        There is no such program.
    TimeoutError
        It did not end in time; it and its children have been ended.
    Interrupted
        ``cancel`` was set; it and its children have been ended.
    """
    child = subprocess.Popen(
        list(argv),
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        # A group of its own: Ctrl-C reaches it through us alone, and its children end with it.
        start_new_session=True,
    )
    deadline = time.monotonic() + seconds
    try:
        while True:
            try:
                out, err = child.communicate(timeout=_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                if cancel is not None and cancel.is_set():
                    raise Interrupted(f"{Path(argv[0]).name} was stopped") from None
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{Path(argv[0]).name} took too long") from None
            else:
                return Outcome(code=child.returncode, out=out, err=err)
    except BaseException:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
        raise
