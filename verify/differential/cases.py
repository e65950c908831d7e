"""All cases of the differential test: the ONNX node tests and the generated ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .families import generated_cases
from .nodetests import read_node_tests
from .store import Case, write_cases


def all_cases(archive: Path | None) -> Iterator[Case]:
    """Give the node tests of an archive, when there is one, then every generated case.

    Raises
    ------
    VerifyError
        When the archive cannot be read.
    """
    if archive is not None:
        yield from read_node_tests(archive)
    yield from generated_cases()


def prepare(archive: Path | None, into: Path) -> int:
    """Write the whole case set into a folder and return how many cases it holds.

    The same archive gives the same bytes: names are sorted, and every generated input is drawn
    from a generator that is seeded with the case's own name.
    """
    return write_cases(all_cases(archive), into)
