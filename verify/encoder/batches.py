"""Which texts run together: those of like length, until a run holds enough padded tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .sessions import EmbedderError


@dataclass(frozen=True, kw_only=True)
class BatchLimits:
    """How much one run holds.

    Parameters
    ----------
    texts : int
        Texts at most.
    tokens : int
        Padded tokens at most: the texts, each as long as the longest. A longer text runs alone.
        Measured for MiniLM, where larger runs gain nothing per token and need more memory.

    Raises
    ------
    EmbedderError
        When a batch would hold nothing.
    """

    texts: int = 32
    tokens: int = 256

    def __post_init__(self) -> None:
        """Refuse a batch without texts or tokens."""
        for name, value in (("batch_size", self.texts), ("batch_tokens", self.tokens)):
            if value < 1:
                raise EmbedderError(f"{name} must be at least 1, not {value}.")

    def joins(self, lengths: Sequence[int], length: int) -> bool:
        """Tell whether a text of so many tokens may join a run with these."""
        if not lengths:
            return True
        longest, shortest = max(*lengths, length), min(*lengths, length)
        padded = (len(lengths) + 1) * longest
        return (
            len(lengths) < self.texts and padded <= self.tokens and longest <= 2 * max(shortest, 1)
        )

    def cut(self, lengths: Sequence[int]) -> list[list[int]]:
        """Sort texts by length and cut them into runs: a list of their places for each run.

        Texts of one length stay in the order given, so the same texts are cut alike each time.
        """
        runs: list[list[int]] = []
        held: list[int] = []
        for place in sorted(range(len(lengths)), key=lambda place: lengths[place]):
            if not runs or not self.joins(held, lengths[place]):
                runs.append([])
                held = []
            runs[-1].append(place)
            held.append(lengths[place])
        return runs
