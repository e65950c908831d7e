"""The command ``python -m verify checks``."""

from __future__ import annotations

import argparse

from rich.console import Console

from ..checks.table import CHECKS
from ..report.document import dumps
from .command import Command, Output


def run(options: argparse.Namespace, console: Console) -> int:
    """List every check."""
    if options.json:
        listed = [
            {"id": check.id, "title": check.title, "catches": check.catches} for check in CHECKS
        ]
        print(dumps({"checks": listed}))
        return 0
    output = Output()
    for check in CHECKS:
        output.print(f"[bold]{check.id}[/]  {check.title}", soft_wrap=not output.is_terminal)
        output.print(f"    {check.catches}", markup=False, soft_wrap=not output.is_terminal)
    return 0


COMMAND = Command(
    help="list every check with what it catches", add_arguments=lambda parser: None, run=run
)
