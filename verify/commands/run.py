"""The command ``python -m verify run``."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import get_args

from rich.console import Console

from ..argument import above_zero, from_one
from ..policy.limits import CpuPrecision, Policy, wheel_kind
from ..report.document import dumps, write
from .command import Command, UsageError, add_look_up, add_model, add_wheel
from .progress import Progress

EXAMPLES = """\
examples:
  python -m verify run                        the wheel that `nox -s build` made
  python -m verify run FILE.whl --policy linux
                                              another wheel, a policy by name
  python -m verify run onnxruntime==1.32.0    the official one, from pip's index
  python -m verify run MACOS.whl              on Linux: read, nothing is run
  python -m verify run --quick -k latency     only what is about latency
  python -m verify run --skip memory.growth="CI runner swaps"
  python -m verify checks                     what each check catches
  python -m verify judge .work/reports/verify.json --policy strict.toml
  python -m verify differential --onnx-archive FILE
                                              answers against the official wheel
  python -m verify conversion                 the CoreML programs, without a Mac
  python -m verify compare before.json after.json
                                              is a difference real?"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_wheel(parser)
    parser.add_argument(
        "--policy",
        metavar="NAME|FILE",
        help="limits; by default the one for this kind of host and wheel",
    )
    parser.add_argument("--quick", action="store_true", help="fewer samples, in under 45 seconds")
    parser.add_argument(
        "-k", dest="keyword", default="", metavar="EXPR", help='such as "latency or not memory"'
    )
    parser.add_argument("--only", action="append", default=[], metavar="ID", help="may be repeated")
    parser.add_argument(
        "--skip",
        action="append",
        default=[],
        metavar="ID=REASON",
        help="leave a check out; the verdict repeats the reason",
    )
    parser.add_argument(
        "--adaptive",
        type=above_zero,
        nargs="?",
        const=120.0,
        metavar="SECONDS",
        help="keep sampling until the result is clear, at most so long (120 when left out)",
    )
    parser.add_argument("--budget-ms", type=above_zero, metavar="MS", help="P95 budget instead")
    parser.add_argument(
        "--max-length",
        type=from_one,
        metavar="TOKENS",
        help="cut texts to so many tokens instead of the model's own number (256; 128 is the "
        "number in its tokenizer.json)",
    )
    parser.add_argument(
        "--precision",
        choices=get_args(CpuPrecision),
        help="form of the encoder that the CPU provider is judged in; default: the policy's",
    )
    parser.add_argument(
        "--no-official", action="store_true", help="no comparison with the official wheel"
    )
    parser.add_argument(
        "--references",
        type=Path,
        metavar="DIR",
        help="folder with <model>.npz of `nox -s references -- --output DIR`",
    )
    add_model(parser)
    add_look_up(parser)


def run(options: argparse.Namespace, console: Console) -> int:
    """Verify a wheel, write the reports and return the verdict's exit code."""
    from ..checks.policies import find_policy
    from ..encoder.model_recipe import chosen_recipe, model_folder
    from ..environment.promise import is_own
    from ..environment.venv import locked
    from ..environment.wheel_file import find_wheel, is_installable
    from ..report import terminal
    from ..run import carry_out
    from ..run.selection import Selection
    from .report import write_pages

    # A missing wheel is reported before anything else, and the wheel decides about the policy.
    wheel, manifest, _ = find_wheel(options.wheel, options.manifest)
    policy = find_policy(
        options.policy,
        wheel=wheel.name,
        own=is_own(wheel, described=manifest is not None),
        installable=is_installable(wheel.name),
    ).with_budget(options.budget_ms)
    policy = policy.with_precision(options.precision)
    if options.policy is None and (policy.wheels or not policy.own):
        _say_policy(wheel.name, policy, console)
    recipe = chosen_recipe(options.model, look_up=options.look_up)
    if options.max_length is not None:
        recipe = replace(recipe, encoder=recipe.encoder.cut_to(options.max_length))
    chosen = carry_out.Options(
        wheel=options.wheel,
        manifest=options.manifest,
        policy=policy,
        selection=Selection(
            quick=options.quick,
            only=tuple(options.only),
            keyword=options.keyword,
            skip=skips(options.skip),
        ),
        recipe=recipe,
        models=model_folder(options, recipe.name) if policy.executes else options.work,
        work=options.work,
        adaptive_seconds=options.adaptive,
        official=not options.no_official,
        references=None if options.references is None else options.references.resolve(),
    )
    with Progress(console) as progress, locked(options.work, say=progress.say):
        document = carry_out.run(chosen, say=progress.say_of)
    reports = options.work / "reports"
    write(document, reports / "verify.json")
    write_pages(document, reports, [])
    terminal.show(document, console)
    where = f"\nreports: {reports}/verify.json, junit.xml, report.html"
    if any(each.status == "failed" for each in document.checks):
        where += f"\nwhat the checks made, kept after a failure: {options.work}/verify"
    console.print(where, markup=False, soft_wrap=True)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with Path(summary).open("a", encoding="utf-8") as stream:
            stream.write(terminal.markdown(document))
    if options.json:
        print(dumps(document))
    return document.verdict.exit_code


def skips(pairs: list[str]) -> dict[str, str]:
    """Turn ``ID=REASON`` words into a mapping.

    Raises
    ------
    UsageError
        When a reason is missing or a check is named twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, _, reason = pair.partition("=")
        if not reason.strip():
            raise UsageError(
                f"--skip {pair} needs a reason, because the verdict repeats it.",
                hint=f'Write --skip {name}="why it is left out".',
            )
        if name in found:
            raise UsageError(f"--skip {name} is given twice.")
        found[name] = reason.strip()
    return found


def _say_policy(wheel: str, policy: Policy, console: Console) -> None:
    """Say which policy a wheel is judged by, where it is not the host's usual one."""
    whose = "" if policy.own else ", by what its tags promise"
    how = (
        "" if policy.executes else f" is for {wheel_kind(wheel)}: it is read here and not executed"
    )
    console.print(
        f"{wheel}{how or ' is judged'}{whose} (policy {policy.name}).",
        markup=False,
        soft_wrap=not console.is_terminal,
    )


COMMAND = Command(
    help="verify a wheel in a clean environment",
    add_arguments=add_arguments,
    run=run,
    epilog=EXAMPLES,
)
