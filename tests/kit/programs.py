"""Real programs, as the build runs them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def run(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> str:
    """Return a program's standard output: a ``Run`` of the build; one that fails fails the test."""
    done = subprocess.run(
        argv, env=env, cwd=cwd, timeout=250, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
