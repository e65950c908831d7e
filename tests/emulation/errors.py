"""What a person can run into: a problem, what to do next, and facts worth printing."""

from __future__ import annotations

from collections.abc import Mapping


class EmulationError(Exception):
    """An emulation that could not run (exit code 3); never mistaken for a failed check.

    Parameters
    ----------
    problem : str
        One sentence that says what is wrong and where.
    hint : str, optional
        What to do next.
    context : Mapping[str, str], optional
        Named facts to print below.
    """

    exit_code = 3

    def __init__(
        self, problem: str, *, hint: str = "", context: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint
        self.context = dict(context or {})


class CandidateBroken(EmulationError):
    """The wheel under test cannot run the cases at all: a failed check, not a failed harness."""
