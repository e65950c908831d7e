"""The command ``python -m verify conversion``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from verify.conversion.judge import exit_code, judge
from verify.conversion.proof import prove
from verify.errors import VerifyError
from verify.graph import Precision
from verify.result import CheckResult

DESCRIPTION = (
    "Evaluate what the CoreML provider emits, operation by operation and without a Mac, and "
    "compare it with the CPU provider: in single precision, in half as the Neural Engine computes, "
    "and with sums in half."
)
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser, beside those that name the model."""
    parser.add_argument(
        "wheel", type=Path, nargs="?", help="the wheel; by default the one in the manifest"
    )
    parser.add_argument(
        "--manifest", type=Path, default=Path("wheels/manifest.json"), help="default: %(default)s"
    )
    parser.add_argument(
        "--buckets", type=_numbers, metavar="N,N", help="sequence lengths; default: the model's"
    )
    parser.add_argument(
        "--precision",
        type=_precisions,
        default=PRECISIONS,
        metavar="fp32,fp16",
        help="types of the graphs; default: both",
    )
    parser.add_argument(
        "--texts", type=_number, metavar="N", help="only so many of the reference texts"
    )
    parser.add_argument(
        "--minimum-os",
        metavar="VERSION",
        help="macOS that must read the packages; default: the build recipe's",
    )


def run(options: argparse.Namespace) -> int:
    """Run the command; 0 passed, 1 failed, 2 not everything could be evaluated.

    Raises
    ------
    VerifyError
        When the proof could not run (exit code 3).
    """
    from filelock import FileLock

    from verify import environment, host
    from verify.encoder import load_model_recipe, recipe_path
    from verify.policy import find_policy
    from verify.report_json import dumps
    from verify.run import find_wheel
    from verify.target.context import TargetContext

    started = time.monotonic()
    recipe = load_model_recipe(recipe_path(options.model))
    models = options.models or options.work / "models" / recipe.name
    path, manifest, _ = find_wheel(options.wheel, options.manifest)
    wheel = environment.inspect_wheel(path, manifest)
    recipe.check_files(models)
    buckets = options.buckets or recipe.encoder.buckets
    too_long = [size for size in buckets if size > recipe.encoder.positions]
    if too_long:
        raise VerifyError(
            f"{recipe.name} has {recipe.encoder.positions} positions, too few for a bucket of "
            f"{too_long[0]}.",
            hint="Give smaller ones with --buckets.",
        )
    minimum_os = options.minimum_os or recipe_minimum_os(wheel.version)
    work = options.work.resolve()
    scratch = work / "verify"
    scratch.mkdir(parents=True, exist_ok=True)
    # The environment is made anew for each run: two runs must not share a work directory.
    with FileLock(work / "verify.lock"):
        context = TargetContext(
            role="candidate",
            work=scratch,
            model_dir=models.resolve(),
            encoder=recipe.encoder,
            policy=find_policy(None),
            manifest=manifest,
            targets={"candidate": environment.make_candidate(wheel, work, say=_say)},
            host=host.describe()["kind"],
        )
        measured = prove(
            context,
            buckets=buckets,
            precisions=options.precision,
            minimum_os=minimum_os,
            texts=options.texts,
            say=_say,
        )
    results = judge(measured)
    seconds = round(time.monotonic() - started, 1)
    code = exit_code(results)
    if options.json:
        document = {
            "wheel": {"file": wheel.path.name, "sha256": wheel.sha256},
            "seconds": seconds,
            "exit_code": code,
            "checks": [asdict(result) for result in results],
            "packages": measured,
        }
        print(dumps(document))
    else:
        print(text(measured, results, seconds))
    return code


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
            f"{_worst(exact, 9):>12} "
            f"{_distance(exact):>9} "
            f"{_worst(half, 6):>9} "
            f"{'-' if half is None else format(median(half['cosines']), '.6f'):>9} "
            f"{_worst(rough, 6):>10}"
        )
    lines.append("")
    for result in results:
        lines.append(f"{result.id}: {result.status}: {result.summary}")
        if result.hint:
            lines.append(f"  hint: {result.hint}")
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


def recipe_minimum_os(version: str) -> str:
    """Return the macOS that the build recipe of an ONNX Runtime version promises.

    Raises
    ------
    VerifyError
        When there is no recipe for that version.
    """
    from verify import strict

    upstream = version.partition("+")[0]
    folder = Path(__file__).resolve().parents[2] / "recipes"
    path = folder / f"onnxruntime-{upstream}.toml"
    if not path.is_file():
        raise VerifyError(
            f"There is no build recipe for onnxruntime {upstream}, so the promised macOS is not "
            "known.",
            hint="Name it with --minimum-os 13.3.",
        )
    data = strict.read_toml(path, what="build recipe")
    return str(data["platforms"]["macos-arm64"]["minimum_os"])


def _worst(mode: Mapping[str, Any] | None, digits: int) -> str:
    return "not run" if mode is None else format(mode["worst_cosine"], f".{digits}f")


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


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
