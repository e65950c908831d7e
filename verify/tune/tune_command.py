"""The command ``python -m verify tune``."""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..commands.command import Command, Output, add_model, add_wheel
from ..commands.progress import Progress
from ..encoder.settings import Profile, profile_path
from ..files import write_text
from ..hardware import fingerprint, hardware
from ..policy.limits import CpuPrecision
from ..report.document import dumps
from ..run.opened import opened_context
from ..statistics.ratio import RatioInterval
from .search import SLOWER, Bench, Compared, Tuned, search

DESCRIPTION = """\
Measure which settings of the CPU provider's sessions are fastest on this
machine, for this wheel and this model: threads, spinning, the rewriting of the
graph, the memory arena, the memory pattern, denormals as zero. Each is measured
in turns with what stood before it, and kept where the median is faster by its
whole 95 % interval and the P95 is not slower by its own. What was kept is
measured once more beside our default and onnxruntime's own settings; where that
does not confirm it, the default stays.

The answer is a profile in the user's cache folder. An Embedder with the same
model, precision, wheel and machine reads it there (SessionSettings has the
switch). The verification reads none: what it proves must not depend on it.

It ends in 1 where our default is slower than onnxruntime's own settings by more
than 2 %, by the whole interval; in 2 where the machine was too restless to
choose by, or other programs took a quarter of a core: nothing is written then."""

EPILOG = """\
examples:
  python -m verify tune                    the built wheel, the model in fp32
  python -m verify tune --quick            a minute, with wider intervals
  python -m verify tune --precision int8   that form has a profile of its own
  python -m verify tune --workload tokens-128 --output here.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_wheel(parser)
    add_model(parser)
    parser.add_argument(
        "--precision",
        choices=get_args(CpuPrecision),
        default="fp32",
        help="form of the encoder (default: %(default)s)",
    )
    parser.add_argument(
        "--workload",
        type=_workload,
        default="mix",
        metavar="mix|tokens-N",
        help="what has to become faster: a mix of queries, or a text of N tokens "
        "(default: %(default)s)",
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds, wider intervals")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the profile there instead"
    )


def run(options: argparse.Namespace, console: Console) -> int:
    """Measure, write the profile and show what it rests on."""
    here = hardware()
    with Progress(console) as progress, opened_context(options, say=progress.say) as (context, _):
        bench = Bench(context=context, precision=options.precision, say=progress.say)
        if options.quick:
            bench = replace(bench, rounds=4, queries=20)
        found = search(bench, workload=options.workload, cores=int(here["cores"]))
        model = context.encoder.name
    path = None
    profile = Profile(
        machine={**here, "fingerprint": fingerprint(here)},
        wheel=found.onnxruntime,
        model=model,
        precision=options.precision,
        tuning=found.tuning,
        measured={
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "workload": options.workload,
            **{key: value for key, value in found.to_json().items() if key != "tuning"},
        },
    )
    code = 1 if found.at_fault else 2 if found.noisy else 0
    if code != 2:
        path = options.output or profile_path(model, options.precision)
        write_text(path, dumps(profile.to_json()) + "\n")
    if options.json:
        print(dumps({"exit_code": code, "file": path and str(path), "profile": profile.to_json()}))
    else:
        show(found, Output(least=120))
    others = found.machine.get("others", 0.0)
    restless = f"too restless a machine (others took {others:.2f} cores): no profile was written"
    written = f"profile: {path}" if path else restless
    console.print(written, markup=False, soft_wrap=True)
    return code


def show(found: Tuned, console: Console) -> None:
    """Print what was tried, and how the default and the choice stand."""
    table = Table(title="each beside what stood before it, in turns", title_justify="left")
    for name in ("setting", "workload"):
        table.add_column(name, no_wrap=True)
    for name in ("P50 ms", "P95 ms", "faster at P50", "faster at P95", ""):
        table.add_column(name, justify="right")
    for each in (*found.trials, *found.chosen):
        table.add_row(*_cells(each), "kept" if each.kept else "")
    console.print(table)
    for each in found.default:
        console.print(
            f"{each.name} against onnxruntime's own settings, {each.workload}: "
            f"{_ratio(each.p50)} times as fast",
            markup=False,
        )
    if found.at_fault:
        console.print(f"our default is slower by more than {SLOWER - 1:.0%}: that is a fault")
    if found.why:
        console.print(f"what the trials kept was given up: {found.why}", markup=False)
    console.print(f"settings: {found.tuning.describe()}", markup=False)


def _cells(each: Compared) -> list[str]:
    return [
        escape(each.name),
        each.workload,
        f"{each.p50_ms:.2f}",
        f"{each.p95_ms:.2f}",
        _ratio(each.p50),
        _ratio(each.p95),
    ]


def _ratio(found: RatioInterval) -> str:
    if found.ratio is None or found.low is None or found.high is None:
        return found.reason
    return f"{found.ratio:.3f} ({found.low:.3f} to {found.high:.3f})"


def _workload(text: str) -> str:
    number = text.removeprefix("tokens-")
    if text == "mix" or (number != text and number.isdecimal() and int(number) > 2):
        return text
    raise argparse.ArgumentTypeError(f'{text} is neither "mix" nor "tokens-N" with N above 2')


COMMAND = Command(
    help="which session settings are fastest on this machine",
    add_arguments=add_arguments,
    run=run,
    description=DESCRIPTION,
    epilog=EPILOG,
)
