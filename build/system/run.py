"""How the build calls other programs: one protocol, so that tests can stand in for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol


class Run(Protocol):
    """Run a program and return what it printed on its standard output.

    ``env`` is the child's whole environment, not an addition. The output also goes to ``log``.
    A status other than zero, or a ``timeout`` in seconds that has passed, raises a subclass of
    :class:`build.errors.BuildError`.
    """

    def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        log: Path | None = None,
        timeout: float | None = None,
    ) -> str:
        """Run ``argv`` and return its standard output as text."""
        ...
