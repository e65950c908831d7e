"""The command ``python -m verify frontier``."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from ..argument import from_one
from ..commands.command import Command, Output, add_model, add_wheel
from ..commands.progress import Progress
from ..encoder.prepared.choice import Precision
from ..environment.host import describe
from ..environment.wheel_file import WheelFile
from ..files import write_text
from ..program import as_called
from ..report.document import Host, dumps
from ..report.frontier import Frontier, FrontierRun
from ..run.opened import opened_context
from ..sentence import Say
from . import frontier_page
from .measured_forms import FORMS, measure_frontier

DESCRIPTION = """\
Measure every form of the encoder that the CPU provider can run (docs/performance.md): cosine with
fp32 over the reference texts, neighbours kept over a retrieval set, P95 and P50 in turns in one
run, size and memory. A table; JSON with --json; a page with a chart with --html. The numbers are
kept in reports/frontier-MODEL.json, and the report of a verification of the same wheel and model
shows them (`python -m verify report` writes it again)."""

EPILOG = """\
examples:
  python -m verify frontier --html frontier.html
  python -m verify frontier --official   and the official wheel's fp32
  python -m verify frontier --forms int8,int8-fast --rounds 30
                                         two forms, narrower intervals"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_wheel(parser)
    add_model(parser)
    parser.add_argument(
        "--forms", type=_forms, default=FORMS, metavar="NAME,NAME", help="default: all of them"
    )
    for name, value, of in (("tokens", 128, "the text"), ("rounds", 8, "the timing")):
        told = f"of {of} (default: %(default)s)"
        parser.add_argument(f"--{name}", type=from_one, default=value, metavar="N", help=told)
    parser.add_argument("--no-retrieval", action="store_true", help="reference texts alone")
    parser.add_argument(
        "--official", action="store_true", help="time the official wheel's fp32 too"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the page with the chart")


def run(options: argparse.Namespace, console: Console) -> int:
    """Measure and show; 0 when it was measured."""
    created, machine = datetime.now(UTC), Host(**describe())
    with Progress(console) as progress:
        frontier, wheel = _measured(options, progress.say)
    measured = FrontierRun(
        created=created.isoformat(timespec="seconds").replace("+00:00", "Z"),
        command=_command(options),
        wheel=wheel.path.name,
        wheel_sha256=wheel.sha256,
        host=machine,
        frontier=frontier,
    )
    kept = options.work / "reports" / f"frontier-{frontier.encoder}.json"
    write_text(kept, dumps(measured.to_json()) + "\n")
    console.print(f"numbers: {kept}", markup=False, soft_wrap=True)
    if options.html:
        frontier_page.write_page(measured, options.html)
        console.print(f"page: {options.html}", markup=False, soft_wrap=True)
    if options.json:
        print(dumps(measured.to_json()))
        return 0
    frontier_page.show(frontier, Output(least=160))
    return 0


def _measured(options: argparse.Namespace, say: Say) -> tuple[Frontier, WheelFile]:
    with opened_context(options, official=options.official, say=say) as (context, wheel):
        frontier = measure_frontier(
            context,
            options.forms,
            tokens=options.tokens,
            rounds=options.rounds,
            retrieval=not options.no_retrieval,
            say=say,
        )
    return frontier, wheel


def _command(options: argparse.Namespace) -> str:
    """Return what was run, with what decides the numbers."""
    words = ["python -m verify frontier", "--model", options.model]
    words += ["--forms", ",".join(options.forms)]
    words += ["--tokens", str(options.tokens), "--rounds", str(options.rounds)]
    words += ["--official"] if options.official else []
    words += ["--no-retrieval"] if options.no_retrieval else []
    return as_called(" ".join(words))


def _forms(text: str) -> tuple[Precision, ...]:
    unknown = sorted(set(text.split(",")) - set(FORMS))
    if unknown:
        known = ", ".join(FORMS)
        raise argparse.ArgumentTypeError(f"there is no form {unknown[0]}; known: {known}")
    return tuple(form for form in FORMS if form in text.split(","))


COMMAND = Command(
    help="what each form for the CPU keeps and costs",
    add_arguments=add_arguments,
    run=run,
    description=DESCRIPTION,
    epilog=EPILOG,
)
