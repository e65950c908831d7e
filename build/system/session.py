"""End a program with everything that it started.

Every program gets a session of its own. Ninja puts each compiler into a process group of its own,
but none leaves the session, so that is what is ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from .files import write_whole

_GRACE_SECONDS = 10.0
# A process's birth is counted from the machine's start, which moves when its clock is set.
_CLOCK_SLACK = 2.0


def write_note(note: Path, pid: int) -> None:
    """Name a running program in a file, for :func:`end_leftover`; ``pid`` leads its session."""
    begun = time.time()
    with contextlib.suppress(psutil.Error):
        # The kernel's own word, which the same question gives again later.
        begun = psutil.Process(pid).create_time()
    write_whole(note, json.dumps({"session": pid, "begun": begun}) + "\n")


def end_child(child: subprocess.Popen[str]) -> None:
    """End a child and everything in its session, and collect its status."""
    end_session(child.pid, collect=child.poll)
    child.wait()


def end_session(session: int, *, collect: Callable[[], object] = lambda: None) -> None:
    """End every process of a session: SIGTERM, and SIGKILL for what is left after ten seconds.

    Its number is the process number of its first process. ``collect`` is called again and again to
    collect the status of the caller's own child.
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
    beside them would write the same files. The note is what :func:`write_note` wrote.
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
