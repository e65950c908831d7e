"""The compilers of the consumers. One that is missing is said loudly, or demanded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from build.tree.workspace import open_workspace

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
REQUIRED = "ORTMILL_REQUIRE_CONSUMERS"


def not_shown(what: str) -> None:
    """Skip so that nobody takes it for a pass, or fail where every consumer is required."""
    message = f"THE SDK WAS NOT USED: {what}"
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(message)
    warnings.warn(message, stacklevel=2)
    pytest.skip(message)


def tool(name: str) -> str:
    """Return a program's path; without it the test ends as `not_shown` says."""
    # The pinned CMake is in the environment of the tests.
    beside = str(Path(sys.executable).parent)
    found = shutil.which(name, path=f"{beside}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        not_shown(f"there is no {name} on PATH")
    return str(found)


def compiled() -> Path:
    """Return where Cargo keeps what it compiled: minutes of work, the same in all checkouts."""
    return open_workspace(ROOT, os.environ).cache / "consumers"


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    fails: bool = False,
    timeout: float = 280,
) -> str:
    """Run a program to its end and return its output and errors together.

    A program that ends as it should not fails the test with all that it said; one that hangs is
    killed after ``timeout`` seconds and fails it too.
    """
    done = subprocess.run(
        [str(word) for word in argv],
        env={**os.environ, **(env or {})},
        cwd=cwd,
        timeout=timeout,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert (done.returncode != 0) == fails, f"{argv} ended with {done.returncode}:\n{done.stdout}"
    assert done.returncode >= 0, f"{argv} was killed by signal {-done.returncode}:\n{done.stdout}"
    return done.stdout
