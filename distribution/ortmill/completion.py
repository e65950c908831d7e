"""What a shell completes ``ortmill`` by: a static script, so that no key waits for Python."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import shtab


def script(
    parser: argparse.ArgumentParser, halves: Mapping[str, argparse.ArgumentParser], shell: str
) -> str:
    """Return the script of a shell: of the command's own parser, whose commands are empty so far.

    ``halves`` is the whole command line of each half, by its name.
    """
    (commands,) = _nested(parser)
    for name, half in halves.items():
        commands.choices[name] = half
    (verbs,) = _nested(halves["verify"])
    for name in commands.choices.keys() & verbs.choices.keys():  # those that are short for them
        commands.choices[name] = verbs.choices[name]
    for each in _all(parser):
        for action in each._actions:
            _complete_files(action)
    return shtab.complete(parser, shell)


# argparse has no public way to list what a parser takes.
_Nested: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _nested(parser: argparse.ArgumentParser) -> Iterator[_Nested]:
    return (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))


def _all(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and those of its commands, depth first."""
    yield parser
    for nested in _nested(parser):
        for each in nested.choices.values():
            yield from _all(each)


def _complete_files(action: argparse.Action) -> None:
    """Let what names a file or a folder be completed as one."""
    named = str(action.metavar or "")
    # shtab reads an attribute that argparse does not know.
    if named == "DIR":
        action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    elif action.type is Path or "FILE" in named or "WHEEL" in named or action.dest == "recipe":
        action.complete = shtab.FILE  # type: ignore[attr-defined]
