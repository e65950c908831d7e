"""The sessions of the noxfile, run without nox: what each would start."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from types import ModuleType
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]


class Session:
    """Stands in for nox's, and keeps what it is asked to run."""

    def __init__(self, *words: str) -> None:
        self.posargs = list(words)
        self.ran: list[list[str]] = []

    def run(self, *argv: str, **options: object) -> None:
        self.ran.append(list(argv[2:]))


@functools.cache
def load() -> ModuleType:
    """Load the sessions; nox takes each name once in a process."""
    spec = importlib.util.spec_from_file_location("sessions", ROOT / "noxfile.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def started(name: str, *words: str) -> list[list[str]]:
    """Return the words after ``python -m`` of each program that a session starts."""
    session = Session(*words)
    with mock.patch.object(load(), "environment", return_value="python"):
        getattr(load(), name).func(session)
    return session.ran
