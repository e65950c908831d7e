"""``python -m verify model --from-onnx``: a model of the user's, its axes fixed and folded."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from ..checks.policies import find_policy
from ..coverage.fixed_shapes import (
    add_fix,
    add_set,
    fix_axes,
    fold,
    load_whole,
    parse_fixes,
    set_constants,
    write_model,
    write_record,
)
from ..coverage.partitions import FORMATS, Limits, Question, measure
from ..encoder import graph_family
from ..errors import VerifyError
from ..sentence import Say
from . import coverage
from .command import add_wheel_option
from .equal_spelling import improve


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``model --from-onnx``."""
    group = parser.add_argument_group("a model of your own")
    group.add_argument(
        "--from-onnx", type=Path, metavar="FILE", help="an exported model, in place of the recipe"
    )
    add_fix(group)
    add_set(group)
    group.add_argument(
        "--rewrite",
        action="store_true",
        help="spell what the provider leaves behind with operators that it takes, where that is "
        "proven equal on the CPU provider and gains something",
    )
    group.add_argument(
        "--output", type=Path, metavar="FILE", help="default: <FILE's name>-fixed.onnx beside it"
    )
    add_wheel_option(group)


def refuse(options: argparse.Namespace) -> None:
    """Refuse the options of a model of one's own where there is none.

    Raises
    ------
    VerifyError
        Naming the option that would have no effect.
    """
    for name in ("fix", "set", "rewrite", "output", "wheel"):
        if getattr(options, name):
            raise VerifyError(
                f"--{name} has no effect without --from-onnx.",
                hint="Give the model with --from-onnx FILE.",
            )


def run(options: argparse.Namespace, console: Console, say: Say) -> int:
    """Fix and fold a model, and show the coverage before and after; 1 when over the limits."""
    graph_family.refuse(options, beside="--from-onnx")
    source: Path = options.from_onnx
    target: Path = options.output or source.with_name(f"{source.stem}-fixed.onnx")
    if target.resolve() == source.resolve():
        raise VerifyError(
            f"--output {target} is the model itself.", hint="Name another file for the result."
        )
    if target.suffix == ".json":
        raise VerifyError(
            f"--output {target} would be replaced by the record of the changes, which is named so.",
            hint="Name a file that ends in .onnx.",
        )
    fixes = parse_fixes(options.fix)
    fixed = fix_axes(set_constants(load_whole(source), options.set), fixes)
    policy = find_policy(None)
    with coverage.opened_wheel(options, policy, say=say) as (context, found):
        wheel = found.path.name
        say("folding constants")
        plain = context.work / "fixed.onnx"
        write_model(fixed, plain)
        folded = fold(context, plain, target)
        if not folded:
            console.print(
                "half precision beside single: the constants are not folded and stay as they are"
            )
        steps = improve(context, target, say=say) if options.rewrite else []
        record = write_record(
            source,
            target,
            wheel=wheel if folded else None,
            changes={"fixed": fixes, "set": options.set, "rewritten": [asdict(s) for s in steps]},
        )
        answers = measure(
            context,
            [
                Question(path=source, label=f"{source.stem} before", judged=False),
                Question(path=target, label=f"{source.stem} after"),
            ],
            FORMATS,
            judged=("MLProgram",),
            options={},
            say=say,
        )
    limits = Limits(
        partitions=policy.limits.coverage_partitions_max, nodes=policy.limits.coverage_nodes_min
    )
    console.print(f"{target} sha256 {record['graph_sha256']}", markup=False, soft_wrap=True)
    if record["made_constant"]:
        named = ", ".join(record["made_constant"])
        console.print(f"inputs made constants: {named}", markup=False, soft_wrap=True)
    for step in steps:
        console.print(step.sentence(), markup=False, soft_wrap=True)
    if options.rewrite and not steps:
        console.print("nothing to rewrite: no node left behind has another spelling")
    return coverage.report(answers, limits, wheel=wheel, as_json=options.json)
