"""The command ``python -m verify report``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ..files import write_text
from ..report.document import Document, read
from .command import Command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("report", type=Path, metavar="verify.json")
    parser.add_argument("--history", type=Path, nargs="*", default=[], metavar="verify.json")


def run(options: argparse.Namespace, console: Console) -> int:
    """Write the pages of a report beside it."""
    document = read(options.report)
    history = [read(path) for path in options.history]
    folder = options.report.parent
    write_pages(document, folder, history)
    console.print(f"{folder}/report.html, {folder}/junit.xml", markup=False, soft_wrap=True)
    return 0


def write_pages(document: Document, folder: Path, history: Sequence[Document]) -> None:
    """Write ``junit.xml`` and ``report.html`` of a run into a folder."""
    from ..report import junit
    from ..report.html import write_report

    write_text(folder / "junit.xml", junit.render(document))
    frontier = folder / f"frontier-{document.model}.json"
    write_report(document, folder / "report.html", history=history, frontier=frontier)


COMMAND = Command(
    help="write report.html and junit.xml for a finished run", add_arguments=add_arguments, run=run
)
