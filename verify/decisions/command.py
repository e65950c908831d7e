"""The command ``python -m verify decisions``."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from ..commands.command import Command, add_manifest
from .points import Answer, Point, points

_MARKS = {"yes": "✓ GO   ", "no": "✗ NO-GO", "open": "? open "}
_INDENT = 9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_manifest(parser)
    parser.add_argument(
        "--report",
        type=Path,
        default=Path(".work/reports/verify.json"),
        help="the verification to read (default: %(default)s)",
    )


def run(options: argparse.Namespace, console: Console) -> int:
    """Print each point; return 0 when all say go, 1 when one says no, 2 when one is open."""
    from ..environment.wheel_file import read_manifest
    from ..report.document import read

    manifest = read_manifest(options.manifest) if options.manifest.is_file() else None
    document = read(options.report) if options.report.is_file() else None
    found = points(manifest, options.manifest.parent, document)
    # What several points in a row wait for is said once, below the last of them.
    for (answer, because, command), asked in groupby(found, key=_why):
        for point in asked:
            console.print(f"{_MARKS[answer]}  {point.question}", markup=False)
        for line in filter(None, (because, f"next: {command}" if command else "")):
            if console.is_terminal:
                console.print(Padding(Text(line), (0, 0, 0, _INDENT)))
            else:
                console.print(" " * _INDENT + line, markup=False, soft_wrap=True)
    if options.json:
        print(json.dumps([asdict(point) for point in found], indent=1, ensure_ascii=False))
    answers = {point.answer for point in found}
    return 1 if "no" in answers else 2 if "open" in answers else 0


def _why(point: Point) -> tuple[Answer, str, str]:
    return point.answer, point.because, point.command


COMMAND = Command(
    help="the plan's decision points, each answered from an artefact on disk",
    add_arguments=add_arguments,
    run=run,
)
