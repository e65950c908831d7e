"""The command ``python -m verify decisions``."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from ..commands.command import Command

_MARKS = {"yes": "✓ GO   ", "no": "✗ NO-GO", "open": "? open "}
_INDENT = 9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--manifest", type=Path, default=Path("wheels/manifest.json"), help="default: %(default)s"
    )
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
    from .points import points

    manifest = read_manifest(options.manifest) if options.manifest.is_file() else None
    document = read(options.report) if options.report.is_file() else None
    found = points(manifest, options.manifest.parent, document)
    for point in found:
        console.print(f"{_MARKS[point.answer]}  {point.question}", markup=False)
        more = (point.because, f"next: {point.command}" if point.command else "")
        for line in filter(None, more):
            if console.is_terminal:
                console.print(Padding(Text(line), (0, 0, 0, _INDENT)))
            else:
                console.print(" " * _INDENT + line, markup=False, soft_wrap=True)
    if options.json:
        print(json.dumps([asdict(point) for point in found], indent=1, ensure_ascii=False))
    answers = {point.answer for point in found}
    return 1 if "no" in answers else 2 if "open" in answers else 0


COMMAND = Command(
    help="the plan's decision points, each answered from an artefact on disk",
    add_arguments=add_arguments,
    run=run,
)
