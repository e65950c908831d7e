"""Every error that a user of the build can cause, with the exit code that it ends in.

The command line catches :class:`BuildError` and nothing else; the exit codes are listed in
``docs/troubleshooting.md`` and printed by ``python -m build --help``.
"""

from __future__ import annotations

from collections.abc import Mapping

from .program import as_called


class BuildError(Exception):
    """A build that cannot go on, reported in one sentence with what to do next.

    Parameters
    ----------
    problem : str
        One sentence that says what is wrong and where.
    hint : str, optional
        What the reader should do next.
    context : Mapping[str, str], optional
        Named facts worth printing below the sentence: a file, a URL, two hashes.
    """

    exit_code = 1
    title = "build failed"

    def __init__(
        self, problem: str, *, hint: str = "", context: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = as_called(hint)
        self.context = dict(context or {})


class UsageError(BuildError):
    """The command line asks for something that does not exist."""

    exit_code = 2
    title = "usage"


class RecipeError(BuildError):
    """A recipe that cannot be read, or that contradicts itself."""

    exit_code = 3
    title = "recipe"


class FetchError(BuildError):
    """An input that no origin could deliver."""

    exit_code = 4
    title = "fetch"


class IntegrityError(BuildError):
    """Bytes that are not the pinned ones: wrong hash, wrong size, moved tag."""

    exit_code = 5
    title = "integrity"


class SourceError(BuildError):
    """A source tree that cannot be laid out: unsafe archive, failed patch, other version."""

    exit_code = 6
    title = "source"


class ToolchainError(BuildError):
    """A compiler or tool that is missing, too old, or not for this platform."""

    exit_code = 7
    title = "toolchain"


class ResourceError(BuildError):
    """The machine cannot hold the build: disk, memory, a folder that cannot be written."""

    exit_code = 8
    title = "resources"


class CompileError(BuildError):
    """CMake, the compiler or the linker failed; the whole output is in the log."""

    exit_code = 9
    title = "compile"


class WheelError(BuildError):
    """The compiled tree gave a wheel or an SDK that must not be shipped."""

    exit_code = 10
    title = "wheel"


class Interrupted(BuildError):
    """Ctrl-C or SIGTERM: children are ended, finished stages are kept."""

    exit_code = 130
    title = "interrupted"
