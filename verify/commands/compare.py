"""The command ``python -m verify compare``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from ..report.document import dumps, read
from .command import Command, Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("before", type=Path, metavar="a.json")
    parser.add_argument("after", type=Path, metavar="b.json")
    parser.add_argument(
        "--other-host", action="store_true", help="compare runs from different hosts all the same"
    )


def run(options: argparse.Namespace, console: Console) -> int:
    """Compare two reports; 0 whether they differ or not."""
    from ..report.terminal import show_comparison
    from ..report.two_runs import compare

    found = compare(read(options.before), read(options.after), allow_other_host=options.other_host)
    if options.json:
        print(dumps({**asdict(found), "real": found.real, "headline": found.headline}))
        return 0
    show_comparison(found, Output())
    return 0


COMMAND = Command(help="say whether two runs differ for real", add_arguments=add_arguments, run=run)
