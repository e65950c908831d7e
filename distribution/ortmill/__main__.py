"""The command ``ortmill``: its first word chooses the half, the rest is that half's own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from . import __version__

_HALVES = {
    "build": "build the wheel and the native SDK from a recipe",
    "verify": "prove what a wheel can do on this host",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; the process's own by default.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] == "bridge":
        words.insert(0, "verify")
    if words and words[0] in _HALVES:
        run = import_module(f".{words[0]}.cli", __package__).main
        return int(run(words[1:]))
    try:
        _parser().parse_args(words)
    except SystemExit as end:
        return int(end.code or 0)
    return 0  # pragma: no cover - without one of its commands argparse ends by itself


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
    halves = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, summary in _HALVES.items():
        halves.add_parser(name, help=summary, add_help=False)
    halves.add_parser("bridge", help="short for `verify bridge`", add_help=False)
    return parser


if __name__ == "__main__":
    sys.exit(main())
