"""Help fits a window of 80 columns, and every command's words are within it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from build.cli import _parser as build_parser
from verify.cli import command_line as verify_command_line

WIDTH = 80


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from parsers(each)


@pytest.mark.parametrize("package", ["build", "verify"])
def test_help_fits_80_columns(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    whole = {"build": build_parser, "verify": verify_command_line}[package]()
    wide = [
        f"{each.prog}: {line}"
        for each in parsers(whole)
        for line in each.format_help().splitlines()
        if len(line) > WIDTH
    ]
    assert wide == []
