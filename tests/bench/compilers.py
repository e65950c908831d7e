"""Compare the speed of two wheels on this machine: the same sources by two compilers, say.

``python -m tests.bench.compilers BASELINE.whl CANDIDATE.whl [--blocks N] [--runs N] [--json]``

Each wheel gets a clean environment of its own. For each pair of blocks two fresh processes are
started, one for each wheel. They take turns, length by length, at embedding one query over and
over on the CPU, text in to vector out; one measures while the other waits idle, and who goes
first changes from turn to turn. So whatever the machine does meets both alike, and so does the
luck of a process's memory layout. The ratio's interval comes from a bootstrap over
pairs of blocks (`verify.statistics.ratio`). The same wheel given twice measures the bench itself:
its intervals should hold 1.

Exit codes: 0 measured, 3 could not run. Nothing is judged.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from verify.encoder.model_recipe import load_model_recipe, recipe_path
from verify.environment.channel import clean_environment
from verify.environment.venv import make_candidate
from verify.environment.wheel_file import WheelFile, inspect_wheel
from verify.errors import VerifyError
from verify.statistics.ratio import MIN_BLOCKS, RatioInterval, ratio_interval

Say = Callable[[str], None]
REPOSITORY = Path(__file__).resolve().parents[2]
MODEL = "all-minilm-l6-v2"
LENGTHS = (8, 16, 32, 64, 128, 256)
NS_PER_MS = 1e6


@dataclass(frozen=True, kw_only=True)
class Row:
    """One length: medians in milliseconds, and ``baseline / candidate`` with its interval."""

    tokens: int
    baseline_ms: float
    candidate_ms: float
    interval: RatioInterval


def rows_of(baseline: Sequence[Mapping[int, Sequence[float]]],
            candidate: Sequence[Mapping[int, Sequence[float]]]) -> list[Row]:  # fmt: skip
    """Turn the blocks of both wheels, nanoseconds by length, into one row for each length."""
    rows = []
    for tokens in sorted(baseline[0]):
        one = [block[tokens] for block in baseline]
        two = [block[tokens] for block in candidate]
        rows.append(
            Row(
                tokens=tokens,
                baseline_ms=float(np.median(np.concatenate(one))) / NS_PER_MS,
                candidate_ms=float(np.median(np.concatenate(two))) / NS_PER_MS,
                interval=ratio_interval(one, two),
            )
        )
    return rows


def overall(rows: Sequence[Row]) -> float | None:
    """Return the geometric mean of the ratios, each length counting alike."""
    ratios = [row.interval.ratio for row in rows if row.interval.ratio]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def table(rows: Sequence[Row], names: tuple[str, str], threads: int | None, clock: str) -> str:
    """Return the table for a person."""
    lines = [
        f"baseline  {names[0]}",
        f"candidate {names[1]}",
        f"threads   {threads or 'as onnxruntime chooses'}; {clock} clock",
        "",
        "tokens  baseline p50  candidate p50   ratio   95 % interval    the candidate is",
    ]
    for row in rows:
        found = row.interval
        if found.ratio is None or found.low is None or found.high is None:
            told = f"{'':>5}   {found.reason}"
        else:
            told = f"{found.ratio:5.3f}   {found.low:5.3f} to {found.high:5.3f}   {_word(found)}"
        lines.append(
            f"{row.tokens:>6}  {row.baseline_ms:>9.3f} ms  {row.candidate_ms:>10.3f} ms   {told}"
        )
    mean = overall(rows)
    lines.append(f"geometric mean of the ratios: {mean:.3f}" if mean else "no ratio at all")
    return "\n".join(lines)


def _word(found: RatioInterval) -> str:
    assert found.low is not None
    assert found.high is not None
    if found.low > 1:
        return f"faster by {found.low - 1:.1%} at least"
    if found.high < 1:
        return f"slower by {1 / found.high - 1:.1%} at least"
    return "not shown to differ"


def measure(
    pythons: tuple[Path, Path], job: Mapping[str, Any], *, blocks: int, say: Say
) -> tuple[list[dict[int, list[float]]], list[dict[int, list[float]]]]:
    """Run the blocks in turns; return them by wheel.

    Raises
    ------
    VerifyError
        A process could not measure.
    """
    taken: tuple[list[dict[int, list[float]]], list[dict[int, list[float]]]] = ([], [])
    for number in range(blocks):
        with ExitStack() as stack:
            pair = [stack.enter_context(_worker(python, job)) for python in pythons]
            found: tuple[dict[int, list[float]], dict[int, list[float]]] = ({}, {})
            for place, length in enumerate(job["lengths"]):
                for side in (0, 1) if (number + place) % 2 == 0 else (1, 0):
                    found[side][length] = _ask(pair[side], length)
        for side in (0, 1):
            taken[side].append(found[side])
        say(f"pair {number + 1} of {blocks}")
    return taken


@contextmanager
def _worker(python: Path, job: Mapping[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """Start a measuring process; it waits idle until it is asked for a length."""
    child = subprocess.Popen(
        [str(python), "-m", "tests.bench.compilers_worker", json.dumps(job)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    )
    try:
        yield child
    finally:
        # The end of its input ends it.
        child.communicate()


def _ask(child: subprocess.Popen[str], length: int) -> list[float]:
    """Have a process measure one length."""
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(f"{length}\n")
        child.stdin.flush()
        return [float(value) for value in json.loads(child.stdout.readline())]
    except (OSError, ValueError) as error:
        raise VerifyError(
            f"a measuring process ended with exit code {child.poll()} at {length} tokens",
            hint="what it said stands above",
        ) from error


def environments(wheels: tuple[WheelFile, WheelFile], work: Path, say: Say) -> tuple[Path, Path]:
    """Make a clean environment for each wheel; one wheel given twice gets two of them."""
    same = wheels[0].sha256 == wheels[1].sha256
    first = make_candidate(wheels[0], work, say=say)
    return first, make_candidate(wheels[1], work / "second" if same else work, say=say)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(
        prog="python -m tests.bench.compilers",
        description="Compare the embedding latency of two wheels, measured in turns.",
    )
    made.add_argument("baseline", type=Path, metavar="BASELINE.whl")
    made.add_argument("candidate", type=Path, metavar="CANDIDATE.whl")
    made.add_argument("--blocks", type=int, default=12, help="pairs of processes (%(default)s)")
    made.add_argument("--runs", type=int, default=20, help="runs of a length a block (%(default)s)")
    made.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS), metavar="TOKENS")
    made.add_argument("--threads", type=int, help="default: as onnxruntime chooses")
    made.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu is the process's own time, for a machine that others use; with one thread alone",
    )
    made.add_argument("--models", type=Path, help="the model's files (default: the fetched ones)")
    made.add_argument("--work", type=Path, default=REPOSITORY / ".work" / "compilers")
    made.add_argument("--json", action="store_true", help="everything, raw, on standard output")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parser().parse_args(argv)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", file=sys.stderr, flush=True)

    try:
        if options.blocks < MIN_BLOCKS:
            raise VerifyError(
                f"{options.blocks} pairs of blocks give no interval",
                hint=f"--blocks takes {MIN_BLOCKS} or more",
            )
        if options.clock == "cpu" and options.threads != 1:
            raise VerifyError(
                "with several threads, the processor's time counts those that wait",
                hint="give --threads 1 with --clock cpu",
            )
        recipe = load_model_recipe(recipe_path(MODEL))
        if not all(3 <= length <= recipe.encoder.max_length for length in options.lengths):
            raise VerifyError(f"--lengths takes 3 to {recipe.encoder.max_length} tokens")
        models = options.models or REPOSITORY / ".work" / "models" / recipe.name
        recipe.check_files(models)
        wheels = (inspect_wheel(options.baseline, None), inspect_wheel(options.candidate, None))
        work = options.work.resolve()
        pythons = environments(wheels, work, say)
        job = {
            "models": str(models.resolve()),
            "encoder": recipe.encoder.to_json(),
            "graphs": str(work / "graphs"),
            "lengths": options.lengths,
            "runs": options.runs,
            "threads": options.threads,
            "clock": options.clock,
        }
        taken = measure(pythons, job, blocks=options.blocks, say=say)
    except VerifyError as error:
        print(f"could not run: {error.problem}", file=sys.stderr)
        for text in (error.hint, *(f"{k}: {v}" for k, v in error.context.items())):
            if text:
                print(f"  {text}", file=sys.stderr)
        return error.exit_code
    rows = rows_of(*taken)
    names = (wheels[0].path.name, wheels[1].path.name)
    if options.json:
        report = {
            "wheels": [{"file": w.path.name, "sha256": w.sha256} for w in wheels],
            "job": {key: job[key] for key in ("lengths", "runs", "threads", "clock")},
            "rows": [asdict(row) for row in rows],
            "geometric_mean": overall(rows),
            "samples_ns": {"baseline": taken[0], "candidate": taken[1]},
        }
        print(json.dumps(report))
    else:
        print(table(rows, names, options.threads, options.clock))
    if wheels[0].sha256 == wheels[1].sha256:
        say("the same wheel twice: every interval should hold 1")
    return 0


if __name__ == "__main__":
    sys.exit(main())
