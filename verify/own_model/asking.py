"""``python -m verify --model FILE.onnx``: everything about a model of the user's in one go."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ..argument import above_zero
from ..checks.policies import find_policy
from ..commands import coverage
from ..commands.command import Command, add_wheel, add_work
from ..commands.conversion import DEFAULT_MODEL
from ..commands.progress import Progress
from ..conversion import own_model as own
from ..conversion.proof import InputsRefused
from ..coverage.axes import DynamicAxes, fix_words
from ..coverage.fixed_shapes import (
    TooLarge,
    add_set,
    fix_axes,
    load_whole,
    parse_fixes,
    set_constants,
)
from ..coverage.partitions import Limits
from ..environment import host
from ..errors import VerifyError
from ..files import made_folder, write_text
from ..program import as_called
from ..report.document import dumps
from .examine import Asked, examine
from .one_page import render, show
from .summary import document, entries

if TYPE_CHECKING:
    import onnx

FOLDER = "own-model"
DESCRIPTION = """\
Everything about a model of your own: its axes fixed and its constants folded, operators spelt as
CoreML takes them where that is proven equal, coverage before and after, the conversion proof in
single and in half precision, latency on the CPU, and the code to paste for Python and Rust. One
page is the report; each part that fails names its party, and the others run all the same.
`python -m verify --model FILE.onnx` is the same."""
EPILOG = """\
examples:
  python -m verify --model net.onnx --fix batch=1
  python -m verify --model bert.onnx --fix batch=1 --fix sequence=128 \\
    --range input_ids=0:30521
  python -m verify --model net.onnx WHEEL --inputs cases.npz --budget-ms 20"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_wheel(parser)
    parser.add_argument("--model", type=Path, required=True, metavar="FILE.onnx", help="the model")
    add_set(parser)
    parser.add_argument(
        "--rewrite",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="spell what CoreML leaves behind otherwise, where that is proven equal",
    )
    own.add_arguments(parser)
    parser.add_argument("--policy", metavar="NAME|FILE", help="limits; default: this host's")
    parser.add_argument("--budget-ms", type=above_zero, metavar="MS", help="judge the P95 by it")
    parser.add_argument("--quick", action="store_true", help="fewer samples of the latency")
    add_work(parser)
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="where the fixed model and the report go; default: <work>/own-model/<name>",
    )


def run(options: argparse.Namespace, console: Console) -> int:
    """Examine the model, write the page and the JSON, and return the verdict's exit code.

    Raises
    ------
    VerifyError
        When the model cannot be read, an axis has no size, or the wheel cannot be used.
    """
    began = time.monotonic()
    source: Path = options.model
    policy = find_policy(options.policy)
    model, refusal = _read(options, console)
    limits = Limits(
        partitions=policy.limits.coverage_partitions_max,
        nodes=policy.limits.coverage_nodes_min if options.min_nodes is None else options.min_nodes,
    )
    if model is not None:
        with contextlib.suppress(InputsRefused):  # the parts that need inputs say so
            own.choose_inputs(own.model_inputs(model), options)
    folder = made_folder(options.output or options.work / FOLDER / source.stem)
    target = folder / f"{source.stem}-fixed.onnx"
    if target.resolve() == source.resolve():
        raise VerifyError(
            f"{target} is the model itself.", hint="Name another folder with --output."
        )
    target.unlink(missing_ok=True)
    with (
        Progress(console) as progress,
        coverage.opened_wheel(options, policy, recipe=DEFAULT_MODEL, say=progress.say) as (
            context,
            wheel,
        ),
    ):
        asked = Asked(
            source=source,
            target=target,
            model=model,
            refusal=refusal,
            fixes=parse_fixes(options.fix),
            options=options,
            limits=limits,
            wheel=wheel,
            device=str(host.describe()["kind"]).startswith("macos"),
        )
        examined = examine(context, asked, say=progress.say)
    found = document(asked, examined, time.monotonic() - began)
    write_text(folder / "report.json", dumps(found) + "\n")
    write_text(folder / "report.html", render(found, asked, examined))
    if options.json:
        print(dumps(found))
    show(found, entries(examined), folder / "report.html", console)
    return examined.exit_code


def _read(
    options: argparse.Namespace, console: Console
) -> tuple[onnx.ModelProto | None, VerifyError | None]:
    """Return the model with its axes fixed; asked for at a terminal, and told elsewhere."""
    try:
        whole = set_constants(load_whole(options.model), options.set)
    except TooLarge as error:  # the provider can be asked about it all the same
        return None, error
    try:
        return fix_axes(whole, parse_fixes(options.fix)), None
    except DynamicAxes as error:
        words = fix_words(error.axes)
        if not sys.stdin.isatty() or options.json:
            call = as_called(f"python -m verify --model {shlex.quote(str(options.model))}")
            given = " ".join(_words(options))
            more = error.hint.partition("(N is a size).")[2]
            raise VerifyError(
                error.problem, hint=f"Give each a size, N here: {call}{given} {words}{more}"
            ) from None
        axes = error.axes
    for axis in axes:
        options.fix.append(f"{axis}={console.input(f'size of the axis {axis}: ').strip()}")
    return fix_axes(whole, parse_fixes(options.fix)), None


def _words(options: argparse.Namespace) -> list[Any]:
    """Return the sizes and constants that were given, to be pasted again."""
    return [f" --{name}={shlex.quote(word)}" for name in ("fix", "set")
            for word in getattr(options, name)]  # fmt: skip


COMMAND = Command(
    help="everything about a model of your own, on one page",
    add_arguments=add_arguments,
    run=run,
    description=DESCRIPTION,
    epilog=EPILOG,
)
