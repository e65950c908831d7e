"""The command ``python -m verify judge``."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from ..argument import above_zero
from ..report.document import dumps, read, write
from .command import Command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("report", type=Path, metavar="verify.json")
    parser.add_argument("--policy", required=True, metavar="NAME|FILE")
    parser.add_argument("--budget-ms", type=above_zero, metavar="MS", help="latency budget instead")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the judged report there")


def run(options: argparse.Namespace, console: Console) -> int:
    """Judge a report by another policy and return the new verdict's exit code."""
    from ..checks.policies import find_policy
    from ..report import terminal
    from ..run import rejudge

    document = read(options.report)
    policy = find_policy(options.policy).with_budget(options.budget_ms)
    judged = rejudge.judge(document, policy)
    terminal.show(judged, console)
    if options.output:
        write(judged, options.output)
    if options.json:
        print(dumps(judged))
    return judged.verdict.exit_code


COMMAND = Command(
    help="judge a finished run again with another policy, without running",
    add_arguments=add_arguments,
    run=run,
)
