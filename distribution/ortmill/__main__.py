"""The command ``ortmill``: its first word chooses the half, the rest is that half's own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from . import __version__

_HALVES = {
    "build": "build the wheel and the native SDK from a recipe",
    "verify": "prove what a wheel can do on this host",
}
_SHORT = ("bridge", "tune")
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; the process's own by default.
    """
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:  # before a half could say so
        print("interrupted: nothing was begun", file=sys.stderr)
        return _INTERRUPTED


def _run(words: list[str]) -> int:
    if words and words[0] in _SHORT:
        words.insert(0, "verify")
    if words[:1] == ["build"]:
        return int(_half("build").main(words[1:]))
    if words[:1] == ["verify"]:
        return int(_half("verify").main(words[1:], bring=_bring))
    parser = _parser()
    try:
        given = parser.parse_args(words)
    except SystemExit as end:
        return int(end.code or 0)
    if given.command is None:
        parser.print_help(sys.stderr)
        return 2
    halves = {"build": _half("build")._parser(), "verify": _half("verify").command_line()}
    completion = import_module(".completion", __package__)
    try:
        print(completion.script(_parser(), halves, given.shell), flush=True)
    except BrokenPipeError:
        return int(_half("build").close_output())
    return 0


def _half(name: str) -> Any:
    """Load the command line of one half, which takes its time."""
    return import_module(f".{name}.cli", __package__)


def _bring(model: str, work: Path) -> None:
    """Fetch a model's files by its recipe's pins, to where the verification looks for them.

    What cannot be fetched is reported here; the verification then says what it lacks, or goes on
    where it needs none of them. The record is written last, so with it the files are there.
    """
    if not (work / "models" / Path(model).stem / "model.json").is_file():
        code = _half("build").main(["fetch-model", model, "--work", str(work)])
        if code == _INTERRUPTED:
            raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ortmill",
        description="Build an ONNX Runtime wheel with the CoreML execution provider from pinned "
        "sources, and prove what that wheel can do.",
        epilog="In a checkout of ortmill its recipes are used, elsewhere those that are installed "
        "with it. Artefacts go to wheels/ and everything transient to .work/, both below the "
        "current directory; downloads and source trees go to the user's cache folder.",
    )
    parser.add_argument("--version", action="version", version=f"ortmill {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, summary in _HALVES.items():
        commands.add_parser(name, help=summary, add_help=False)
    for name in _SHORT:
        commands.add_parser(name, help=f"short for `verify {name}`", add_help=False)
    shells = commands.add_parser("completion", help="print what a shell completes commands by")
    shells.add_argument("shell", choices=("bash", "zsh", "fish"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
