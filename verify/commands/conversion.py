"""The command ``python -m verify conversion``."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from ..conversion import own_model as own
from ..conversion.outcome import exit_code, judge, judge_device, judge_nodes
from ..conversion.package import allowed_spec_version, promised_macos
from ..conversion.proof import Setting, prove
from ..coverage.nodes import is_onnx, load
from ..encoder.graph import Precision
from ..encoder.model_recipe import ModelRecipe, chosen_recipe, model_folder
from ..errors import VerifyError
from ..files import keep_alone
from ..policy.limits import Policy
from ..policy.result import CheckResult
from .command import Command, add_look_up, add_model, add_wheel
from .progress import Progress

DESCRIPTION = (
    "Evaluate what the CoreML provider emits, operation by operation and without a Mac, and "
    "compare it with the CPU provider: in single precision, in half as the Neural Engine computes, "
    "and with sums in half. For the encoder's graphs on the reference texts, or for an ONNX model "
    "of your own. On a Mac Core ML predicts as well."
)
EPILOG = """\
examples:
  python -m verify conversion                    every bucket, both precisions
  python -m verify conversion --buckets 128 --texts 8          a quick look
  python -m verify conversion --model net.onnx --fix batch=1
  python -m verify conversion --model net.onnx --inputs cases.npz"""
DEFAULT_MODEL = "all-minilm-l6-v2"
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_wheel(parser)
    parser.add_argument(
        "--buckets", type=_numbers, metavar="N,N", help="sequence lengths; default: the model's"
    )
    parser.add_argument(
        "--precision",
        type=_precisions,
        metavar="fp32,fp16",
        help="types of the graphs; default: both",
    )
    parser.add_argument(
        "--texts", type=_number, metavar="N", help="only so many of the reference texts"
    )
    parser.add_argument(
        "--minimum-os",
        metavar="VERSION",
        help="macOS that must read the packages; default: the wheel's, or its build recipe's",
    )
    parser.add_argument("--policy", metavar="NAME|FILE", help="limits; default: this host's")
    parser.add_argument(
        "--device",
        choices=("auto", "yes", "no"),
        default="auto",
        help="whether Core ML predicts too; auto: on a Mac (default: %(default)s)",
    )
    own.add_arguments(parser)
    add_model(parser, what="model recipe, or an ONNX model of your own")
    add_look_up(parser)


def run(options: argparse.Namespace, console: Console) -> int:
    """Run the command; 0 passed, 1 failed, 2 not everything could be evaluated.

    Raises
    ------
    VerifyError
        When the proof could not run (exit code 3).
    """
    from ..checks.policies import find_policy
    from ..environment import host
    from ..environment import venv as environment
    from ..environment.context import TargetContext
    from ..environment.wheel_file import find_wheel, inspect_wheel
    from ..report.document import dumps

    started = time.monotonic()
    policy = find_policy(options.policy)
    kind = host.describe()["kind"]
    subject = _subject(options)
    device = _device(options.device, kind)
    path, manifest, _ = find_wheel(options.wheel, options.manifest)
    wheel = inspect_wheel(path, manifest)
    if not subject.model:
        subject.recipe.check_files(subject.models)
    setting = Setting(minimum_os=options.minimum_os or promised_macos(path.name), device=device)
    if setting.minimum_os:
        allowed_spec_version(setting.minimum_os)  # an unknown macOS is refused at once
    work = options.work.resolve()
    scratch = work / "verify"
    scratch.mkdir(parents=True, exist_ok=True)
    with Progress(console) as progress, environment.opened(wheel, work, say=progress.say) as python:
        context = TargetContext(
            role="candidate",
            work=scratch,
            model_dir=subject.models.resolve(),
            encoder=subject.recipe.encoder,
            policy=policy,
            manifest=manifest,
            targets={"candidate": python},
            host=kind,
        )
        taken: Mapping[str, int] = {}
        if subject.model:
            proven = own.prove_model(context, subject.model, options, setting, say=progress.say)
            measured, taken = proven.packages, proven.taken
        else:
            measured = prove(
                context,
                buckets=subject.buckets,
                precisions=options.precision or PRECISIONS,
                setting=setting,
                texts=options.texts,
                say=progress.say,
            )
    results = judge_all(measured, policy, options if subject.model else None, taken)
    seconds = round(time.monotonic() - started, 1)
    code = exit_code(results)
    if code != 1:
        # After a failure the packages stay, to be looked at.
        keep_alone(scratch, context.graphs_dir.name)
    if options.json:
        document = {
            "wheel": {"file": wheel.path.name, "sha256": wheel.sha256},
            "host": kind,
            "seconds": seconds,
            "exit_code": code,
            "checks": [asdict(result) for result in results],
            "packages": measured,
        }
        print(dumps(document))
    else:
        print(f"{text(measured, results, seconds)} on {kind}")
    return code


def judge_all(
    measured: Sequence[Mapping[str, Any]],
    policy: Policy,
    own_model: argparse.Namespace | None,
    taken: Mapping[str, int],
) -> list[CheckResult]:
    """Judge what was measured; for a model of the user's with its options, its share of nodes."""
    limits = policy.limits
    results = judge(measured, exact=limits.conversion_exact_min, half=limits.conversion_half_min)
    if own_model is not None:
        # Without a policy named, any share is a proof of that share.
        asked = limits.coverage_nodes_min if own_model.policy else 0.0
        least = asked if own_model.min_nodes is None else own_model.min_nodes
        results.append(judge_nodes(taken, least=least))
    return [*results, judge_device(measured, half=limits.conversion_half_min)]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is proven: a model of the user's, or the recipe's encoder in some buckets."""

    recipe: ModelRecipe
    models: Path
    buckets: tuple[int, ...] = ()
    model: Path | None = None


def _subject(options: argparse.Namespace) -> Subject:
    """Find out what is asked about; options that would have no effect are refused."""
    mine = own.given_options(options)
    given = Path(options.model)
    if is_onnx(given) or (given.is_file() and given.suffix != ".toml"):
        for name in ("buckets", "precision", "texts", "models", "look_up"):
            if getattr(options, name) is not None:
                raise VerifyError(
                    f"--{name.replace('_', '-')} has no effect beside a model of your own.",
                    hint="Fix its axes with --fix AXIS=N, and choose its inputs with --inputs.",
                )
        path = Path(options.model)
        load(path)  # a wrong file is refused before an environment is made
        recipe = chosen_recipe(DEFAULT_MODEL)
        return Subject(recipe=recipe, models=options.work, model=path)
    if mine:
        raise VerifyError(
            f"--{mine[0]} has no effect without a model of your own.",
            hint="Give it with --model FILE.onnx.",
        )
    recipe = chosen_recipe(options.model, look_up=options.look_up)
    buckets = options.buckets or recipe.encoder.buckets
    too_long = [size for size in buckets if size > recipe.encoder.longest]
    if too_long:
        raise VerifyError(
            f"{recipe.name} has {recipe.encoder.longest} positions, too few for a bucket of "
            f"{too_long[0]}.",
            hint="Give smaller ones with --buckets.",
        )
    models = model_folder(options, recipe.name)
    return Subject(recipe=recipe, models=models, buckets=tuple(buckets))


def _device(wanted: str, kind: str) -> bool:
    """Whether Core ML is asked to predict.

    Raises
    ------
    VerifyError
        When it must and this host is no Mac.
    """
    there = kind.startswith("macos")
    if wanted == "yes" and not there:
        raise VerifyError(
            f"Core ML predicts on macOS only, and this host is {kind}.",
            hint="Leave --device out: the proof without a device needs no Mac.",
        )
    return there and wanted != "no"


def text(
    measured: Sequence[Mapping[str, Any]], results: Sequence[CheckResult], seconds: float
) -> str:
    """Return the report for a person: a row for each package, then the checks."""
    lines = [
        f"{'package':24} {'ops':>4} {'exact':>12} {'max abs':>9} {'fp16':>9} {'median':>9} "
        f"{'accumulate':>10}"
    ]
    for entry in measured:
        exact, half, rough = (
            entry["modes"].get(mode) for mode in ("exact", "fp16", "fp16-accumulate")
        )
        lines.append(
            f"{entry['label']:24} {entry['facts'].get('operations', '?'):>4} "
            f"{_worst(exact):>12} "
            f"{_distance(exact):>9} "
            f"{_below(half, min):>9} {_below(half, median):>9} {_below(rough, min):>10}"
        )
    for entry in measured:
        for sentence in (entry["modes"].get("fp16-accumulate") or {}).get("overflow", ())[:1]:
            lines.append(f"  {entry['label']}, sums in half: {sentence}")
    lines.append("")
    for result in results:
        lines.append(f"{result.id}: {result.status}: {result.summary}")
        if result.hint:
            lines.append(f"  hint: {result.hint}")
    lines += _devices(measured)
    vanished = {
        sentence
        for entry in measured
        for sentence in (entry["modes"].get("fp16") or {}).get("vanished", ())
    }
    lines += [f"  in half: {sentence}" for sentence in sorted(vanished)[:5]]
    if len(vanished) > 5:
        lines.append(f"  in half: {len(vanished) - 5} more; --json lists them all")
    lines.append(f"{seconds} s")
    return "\n".join(lines)


def _devices(measured: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each package on what Core ML does with it, where there is a Core ML."""
    lines = []
    for entry in measured:
        found = entry.get("device") or {}
        for name, said in (
            ("coremltools", found.get("devices")),
            ("provider", found.get("provider")),
        ):
            if said:
                parts = ", ".join(
                    f"{device} {share['operations']:.0f} ({100 * share['cost']:.1f} % of the cost)"
                    for device, share in said.items()
                )
                lines.append(f"  {entry['label']}, plan by {name}: {parts}")
        if found.get("plans_differ"):
            lines.append(f"  {entry['label']}: the plans differ: {found['plans_differ']}")
    return lines


def _worst(mode: Mapping[str, Any] | None) -> str:
    return "not run" if mode is None else f"{mode['worst_cosine']:.9f}"


def _below(mode: Mapping[str, Any] | None, pick: Callable[[Sequence[float]], float]) -> str:
    """Return one of the cosines with seven digits, cut and not rounded: only 1 reads as 1."""
    if mode is None:
        return "not run"
    if mode["overflow"]:
        return "overflow"
    return format(math.floor(pick(mode["cosines"]) * 1e7) / 1e7, ".7f")


def _distance(mode: Mapping[str, Any] | None) -> str:
    if mode is None:
        return "-"
    found = mode["max_abs_vector"]
    return "infinite" if found is None else format(found, ".2g")


def _numbers(given: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(_number(part) for part in given.split(",")))


def _number(given: str) -> int:
    if not given.strip().isdigit() or int(given) < 1:
        raise argparse.ArgumentTypeError(f'"{given}" is not a whole number above 0')
    return int(given)


def _precisions(given: str) -> tuple[Precision, ...]:
    parts = given.split(",")
    wrong = [part for part in parts if part not in PRECISIONS]
    if wrong:
        raise argparse.ArgumentTypeError(f'"{wrong[0]}" is neither fp32 nor fp16')
    return tuple(precision for precision in PRECISIONS if precision in parts)


COMMAND = Command(
    help="evaluate what the CoreML provider emits, without a Mac",
    add_arguments=add_arguments,
    run=run,
    description=DESCRIPTION,
    epilog=EPILOG,
)
