"""Every error that a user of the verification can cause.

An error means that the verification *could not run*: it ends in exit code 3 and is never mistaken
for a failed check (1) or an inconclusive one (2).
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping

from .program import as_called
from .sentence import ended_once


class VerifyError(Exception):
    """A verification that could not run: one sentence, and what to do next.

    Parameters
    ----------
    problem : str
        One sentence that says what is wrong and where.
    hint : str, optional
        What the reader should do next.
    context : Mapping[str, str], optional
        Named facts worth printing below the sentence.
    """

    exit_code = 3
    title = "could not run"

    def __init__(
        self, problem: str, *, hint: str = "", context: Mapping[str, str] | None = None
    ) -> None:
        self.problem = ended_once(problem)
        super().__init__(self.problem)
        self.hint = as_called(hint)
        self.context = dict(context or {})


class PolicyError(VerifyError):
    """A policy or model recipe that cannot be read."""

    title = "policy"


class WheelNotUsable(VerifyError):
    """The wheel is missing, damaged, or made for another platform or Python."""

    title = "wheel"


class EnvironmentFailed(VerifyError):
    """The clean virtual environment could not be made."""

    title = "environment"


class CannotWrite(VerifyError):
    """The machine takes no more: its disk is full, or a folder cannot be written."""

    title = "disk"


def not_installed(missing: ModuleNotFoundError) -> VerifyError:
    """Return what to say where this Python has not what the verification imports."""
    return EnvironmentFailed(
        f"{missing.name} is not installed for {sys.executable}.",
        hint="Take .nox/verify/bin/python, which `nox -s doctor` makes, or install ortmill: "
        "`pip install .` in its checkout.",
    )


_MACHINES_OWN = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EROFS: "nothing can be written there",
    errno.EACCES: "see who may read and write it",
    errno.EPERM: "see who may read and write it",
}


def machines_own(error: BaseException | None) -> CannotWrite | None:
    """Return what to say of an error that the machine under the verification has caused.

    That is one that no wheel and no code of ours can help: a full disk or a closed folder, also
    where it led to another error. ``None`` for every other error.
    """
    while error is not None:
        if isinstance(error, CannotWrite):
            return error
        if isinstance(error, OSError) and error.errno in _MACHINES_OWN:
            return CannotWrite(
                f"{error.strerror}: {error.filename or 'this machine refused it'}.",
                hint=f"{_MACHINES_OWN[error.errno]}; --work DIR names another work directory",
            )
        error = error.__cause__ or error.__context__
    return None
