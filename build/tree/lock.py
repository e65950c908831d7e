"""One build at a time in a tree; whoever waits learns for whom."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..system.files import writing_to


@contextmanager
def hold_tree(lock: Path, checkout: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold a tree's lock; wait for another build, and say once whose it is.

    ``.owner`` beside the lock file names the holder's process and its ``checkout``.

    Raises
    ------
    ResourceError
        The lock's folder cannot be written.
    """
    owner = lock.with_suffix(".owner")
    held = FileLock(lock)
    with writing_to(lock.parent):
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire(timeout=0)
        except Timeout:
            say(f"another build uses this tree ({_described(owner)}); waiting until it ends")
            held.acquire()
    try:
        owner.write_text(
            json.dumps({"process": os.getpid(), "checkout": str(checkout)}), encoding="utf-8"
        )
        yield
    finally:
        owner.unlink(missing_ok=True)
        held.release()


def _described(owner: Path) -> str:
    try:
        facts = json.loads(owner.read_text(encoding="utf-8"))
        return f"process {facts['process']}, started in {facts['checkout']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "it has not said whose it is"
