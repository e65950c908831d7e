"""The command ``python -m verify beside``."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from ..argument import from_one
from ..commands.command import Command, Output, add_model, add_wheel
from ..commands.progress import Progress
from ..encoder.prepared.choice import Precision
from ..encoder.prepared.variants import PREPARED
from ..environment.context import TargetContext
from ..report.document import dumps
from ..run.opened import opened_context
from ..sentence import Say
from . import beside_page
from .beside_page import Measured
from .compared import LOADS, compare
from .curves import measure_curves
from .operators import profile
from .sides import NEWEST, SIDES, WHEELS, environments, hub_folder

DESCRIPTION = """\
Hold our wheel beside others on the same graph, in one interleaved run of separate environments
(docs/performance.md): the official wheel of the same version, the newest official one, fastembed
with its own code and settings, and sentence-transformers with --torch. Vectors are compared with
the references first: a wrong row is no row. --curves measures ours alone, along tokens, batch and
threads; --profile prints the time by operator in the three wheels."""

EPILOG = """\
examples:
  python -m verify beside --html beside.html
  python -m verify beside --torch      and sentence-transformers (some 3 GB)
  python -m verify beside --curves --html curves.html
  python -m verify beside --profile --threads 1
  python -m verify beside --profile --newest onnxruntime==1.24.4

Without --curves and --profile: 0 where ours takes at most 1.02 times as long
as the official wheel of the same version, 1 where it takes longer, 2 where the
interval leaves it open."""

_TORCH = "torch from PyPI brings CUDA's libraries, some 3 GB: --torch installs it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_wheel(parser)
    add_model(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--curves", action="store_true", help="along tokens, batch and threads")
    what.add_argument("--profile", action="store_true", help="the time by operator")
    parser.add_argument(
        "--newest", default=NEWEST, metavar="onnxruntime==VERSION", help="default: %(default)s"
    )
    parser.add_argument("--torch", action="store_true", help="sentence-transformers too")
    parser.add_argument(
        "--form",
        choices=("fp32", *PREPARED),
        metavar="NAME",
        help="of the curves beside fp32 (default: int8), of the profile (default: fp32)",
    )
    for name, value, what_of in (
        ("rounds", 6, "rounds of the timing"),
        ("tokens", 128, "of curves and profile"),
        ("batch", 1, "of the profile"),
        ("threads", 0, "of the profile; 0 leaves them to onnxruntime"),
    ):
        told = f"{what_of} (default: %(default)s)"
        kind = from_one if value else int
        parser.add_argument(f"--{name}", type=kind, default=value, metavar="N", help=told)
    parser.add_argument(
        "--entry",
        action="append",
        default=[],
        type=_entry,
        metavar="NAME=VALUE",
        help="a setting of the profile's sessions, such as session.intra_op.allow_spinning=0",
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the page with charts")


def run(options: argparse.Namespace, console: Console) -> int:
    """Measure and show."""
    with (
        Progress(console) as progress,
        opened_context(options, say=progress.say) as (context, wheel),
    ):
        measured = _measured(options, context, wheel.path.name, progress.say)
    if options.html:
        beside_page.write_page(measured, options.html)
        console.print(f"page: {options.html}", markup=False, soft_wrap=True)
    if options.json:
        print(dumps(measured.to_json()))
    else:
        beside_page.show(measured, Output(least=180))
    if measured.comparison is None:
        return 0
    goals = {measured.comparison.goal(load.name)[0] for load in LOADS}
    return 1 if "missed" in goals else 0 if goals == {"held"} else 2


def _measured(
    options: argparse.Namespace, context: TargetContext, wheel: str, say: Say
) -> Measured:
    if options.curves:
        forms: list[Precision] = [*dict.fromkeys(("fp32", options.form or "int8"))]
        curves = measure_curves(
            context, forms, tokens=options.tokens, rounds=options.rounds, say=say
        )
        return Measured(wheel=wheel, curves=curves)
    sides = WHEELS if options.profile else SIDES
    left_out = {} if options.torch else {"sentence-transformers": _TORCH}
    if context.encoder.architecture != "bert":
        left_out["sentence-transformers"] = "its files are written for a BERT alone"
    roles = [each.role for each in sides if each.role not in left_out]
    work = options.work.resolve()
    targets, missing = environments(roles, wheel, work, newest=options.newest, say=say)
    context = replace(context, targets={**context.targets, **targets})
    missing = {**left_out, **missing}
    if not options.profile:
        folder = hub_folder(context)
        found = compare(context, sides, missing, folder, rounds=options.rounds, say=say)
        return Measured(wheel=wheel, comparison=found)
    asked = {name: vars(options)[name] for name in ("tokens", "batch", "threads")}
    asked |= {"precision": options.form or "fp32", "entries": dict(options.entry)}
    there = [each for each in sides if each.role not in missing]
    profiles = profile(context, there, asked, rounds=options.rounds, say=say)
    return Measured(wheel=wheel, profiles=profiles, asked=asked)


def _entry(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE")
    return name, value


COMMAND = Command(
    help="ours beside the official wheels, fastembed and sentence-transformers",
    add_arguments=add_arguments,
    run=run,
    description=DESCRIPTION,
    epilog=EPILOG,
)
