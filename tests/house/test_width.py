"""Help fits 80 columns, no line is cut in 60, and nobody gets colour who wants none."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from build.cli import _parser as build_parser
from verify.cli import command_line as verify_command_line

ROOT = Path(__file__).resolve().parents[2]
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


SESSIONS = (
    "tests.bench.gate_error",
    "tests.bench.patches",
    "tests.bridge",
    "tests.emulation.run",
    "tests.gen",
    "tests.paths",
    "tests.references",
    "tests.rehearsal",
    "tests.rehearsal_mac",
    "tests.surface",
)


@pytest.mark.parametrize("module", SESSIONS)
def test_the_help_of_a_session_fits_too(module: str) -> None:
    text = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": str(WIDTH)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert [line for line in text.splitlines() if len(line) > WIDTH] == []
    assert "usage: nox -s" in text


COMMANDS = (
    ("build", "recipes"),
    ("build", "recipe", "check", "onnxruntime-1.21.0"),
    ("build", "recipe", "check", "no-such-recipe"),
    ("verify", "checks"),
    ("verify", "decisions", "--manifest", "none.json", "--report", "none.json"),
    ("verify", "run", "--policy", "no-such-policy", "--manifest", "none.json"),
)
ESCAPE = "\x1b"
# Select Graphic Rendition: 3x, 4x, 9x and 10x are colours (ECMA-48; 9x and 10x are aixterm's).
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3|4|9|10)\d[;m]")


def said(words: tuple[str, ...], width: int, *, terminal: bool) -> str:
    """Run a command that may use ``width`` columns and no colour; return all that it printed."""
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": str(width)}
    argv = [sys.executable, "-m", *words]
    if not terminal:
        done = subprocess.run(
            argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr
    parent, child = os.openpty()
    with subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=child, stderr=child) as program:
        os.close(child)
        printed = b""
        # The end of a terminal whose programs are gone is an error on Linux.
        with contextlib.suppress(OSError):
            while block := os.read(parent, 4096):
                printed += block
        os.close(parent)
        program.wait()
    return printed.decode()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_pipe_gets_no_escapes_and_a_terminal_no_colour(words: tuple[str, ...]) -> None:
    piped = said(words, 60, terminal=False)
    assert piped.strip()
    assert ESCAPE not in piped
    shown = said(words, 60, terminal=True)
    assert not COLOUR.search(shown), shown
    # Nothing is cut: what the pipe got is there, wherever the lines are broken.
    plain = "".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).split())
    for line in piped.splitlines():
        assert "".join(line.split()) in plain
