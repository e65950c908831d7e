"""The command reference: what ``--help`` says, of every command of both packages."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from unittest import mock

from build.cli import _parser as build_parser
from verify.cli import command_line

_WIDTH = "96"
_HEAD = """\
# Command reference

Written by `nox -s gen` from the commands' own help.
`nox -s SESSION -- ARGUMENTS` passes its arguments on: `nox -s build` is `python -m build run`,
`nox -s verify` is `python -m verify run`, and the sessions of other commands have their names.
Where ortmill is installed, the commands are `ortmill build …` and `ortmill verify …`.
"""


def page() -> str:
    """Return the page in Markdown."""
    parts = [_HEAD]
    # argparse asks the terminal how wide it is.
    with mock.patch.dict(os.environ, {"COLUMNS": _WIDTH}):
        for parser in (build_parser(), command_line()):
            for each in _commands(parser):
                depth = "##" if each is parser else "###"
                text = each.format_help().rstrip()
                parts.append(f"{depth} {each.prog}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def _commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and those of its commands, depth first."""
    yield parser
    for action in parser._actions:  # argparse has no public way to list commands
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _commands(command)
