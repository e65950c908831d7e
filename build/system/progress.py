"""What a long step reports while it runs."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A listener for bytes and for single lines.

    Fetching calls both methods from several threads at once: an implementation takes care of
    its own locking.
    """

    def bytes(self, label: str, done: int, total: int | None) -> None:
        """Report that ``done`` of ``total`` bytes (None: not known) of ``label`` are there."""

    def say(self, text: str) -> None:
        """Report one line of text."""


class Silent:
    """A listener that keeps everything to itself."""

    def bytes(self, label: str, done: int, total: int | None) -> None:
        """Do nothing."""

    def say(self, text: str) -> None:
        """Do nothing."""
