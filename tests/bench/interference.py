"""How the latency gate judges good and bad wheels on a busy machine.

``python -m tests.bench.interference [--runs N] [--real N --python PYTHON --model DIR]``

The simulated part draws calls whose own P95 is 20 % below or above the budget and disturbs them.
The real part measures the encoder with the sampler while this machine is really disturbed, and
judges each run twice: with a budget that the quiet machine's P95 keeps by 25 %, and with one that
it breaks by 20 %. A good wheel must never fail, a bad one must never pass.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil

from tests.kit.latencies import BUDGET_MS, KINDS, disturbed
from verify.checks.policies import find_policy
from verify.encoder.model_recipe import load_model_recipe, recipe_path
from verify.environment.context import TargetContext
from verify.latency.interference import Conditions, judge_fairly
from verify.latency.series import Plan, SeriesSpec, measure

GOOD, BAD = 0.8, 1.2
STATES = ("passed", "inconclusive", "failed")


def simulated(runs: int) -> dict[str, dict[str, Counter[str]]]:
    """Return how often each kind of interference ends in which status, by kind and wheel."""
    table: dict[str, dict[str, Counter[str]]] = {}
    for number, kind in enumerate(KINDS):
        table[kind] = {}
        for name, factor in (("good", GOOD), ("bad", BAD)):
            counts: Counter[str] = Counter()
            for rng in np.random.default_rng([number, int(factor * 10)]).spawn(runs):
                conditions = disturbed(kind, rng, rounds=4, p95_ms=factor * BUDGET_MS)
                blame = judge_fairly(conditions, budget_ms=BUDGET_MS, min_samples=300)
                counts[blame.judgement.status] += 1
            table[kind][name] = counts
    return table


def show(table: dict[str, dict[str, Counter[str]]]) -> list[str]:
    """Return the table as Markdown lines."""
    lines = [
        "| interference | good: passed | inconclusive | failed "
        "| bad: passed | inconclusive | failed |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, wheels in table.items():
        cells = [str(wheels[name][state]) for name in ("good", "bad") for state in STATES]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return lines


def holds(table: dict[str, dict[str, Counter[str]]]) -> bool:
    """Whether no good wheel failed and no bad one passed."""
    return all(w["good"]["failed"] == 0 and w["bad"]["passed"] == 0 for w in table.values())


# On this machine -----------------------------------------------------------------------------

SPIN = "while True: pass"


@contextlib.contextmanager
def hogs(seconds: float | None = None) -> Iterator[None]:
    """Keep every core busy with two programs, for some seconds or to the end."""
    running = [_stranger() for _ in range(2 * (os.cpu_count() or 1))]

    def kill() -> None:
        for each in running:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()

    stop = threading.Timer(seconds, kill) if seconds else None
    if stop:
        stop.start()
    try:
        yield
    finally:
        if stop:
            stop.cancel()
        kill()


def _stranger() -> psutil.Process:
    """Start a program that is nobody's child: our own children count as the measurement's."""
    # Its output is not ours: a pipe that it held would never end.
    starter = (
        "import subprocess as s, sys; "
        "print(s.Popen([sys.executable, *sys.argv[1:]], stdout=s.DEVNULL).pid)"
    )
    said = subprocess.run(
        [sys.executable, "-c", starter, "-c", SPIN], stdout=subprocess.PIPE, text=True, check=True
    )
    return psutil.Process(int(said.stdout))


@contextlib.contextmanager
def stops() -> Iterator[None]:
    """Stop every sampling process for 30 to 80 ms, several times a second."""
    over = threading.Event()
    rng = np.random.default_rng(1)

    def torment() -> None:
        while not over.wait(float(rng.uniform(0.05, 0.25))):
            children = psutil.Process().children(recursive=True)
            with contextlib.suppress(psutil.Error):
                for child in children:
                    child.send_signal(signal.SIGSTOP)
                time.sleep(float(rng.uniform(0.03, 0.08)))
            for child in children:
                with contextlib.suppress(psutil.Error):
                    child.send_signal(signal.SIGCONT)

    thread = threading.Thread(target=torment)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def quota() -> Iterator[None]:
    """Give this process and its children 0.7 of a core, in a control group of their own (root)."""
    v2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    top = Path("/sys/fs/cgroup") if v2 else Path("/sys/fs/cgroup/cpu")
    group = top / f"interference-{os.getpid()}"
    group.mkdir()
    try:
        if v2:
            (group / "cpu.max").write_text("70000 100000")
        else:
            (group / "cpu.cfs_period_us").write_text("100000")
            (group / "cpu.cfs_quota_us").write_text("70000")
        (group / "cgroup.procs").write_text(str(os.getpid()))
        yield
    finally:
        (top / "cgroup.procs").write_text(str(os.getpid()))
        for _ in range(50):
            if not (group / "cgroup.procs").read_text():
                break
            time.sleep(0.1)
        group.rmdir()


REAL: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
    "quiet": contextlib.nullcontext,
    "hogs on all cores": hogs,
    "quota": quota,
    "stops": stops,
    "neighbour for half": lambda: hogs(3.0),
}


def real(
    context: TargetContext, runs: int, kinds: Sequence[str], own: float | None
) -> dict[str, dict[str, Counter[str]]]:
    """Measure the encoder under each kind of interference, and judge each run twice.

    ``own`` is the P95 in ms of the quiet machine; without it, it is measured first.
    """
    plan = Plan(series=(SeriesSpec(target="candidate"),), rounds=2, least=2, seconds=6.0)

    def one() -> Conditions:
        return measure(context, plan)[0].conditions()

    if own is None:
        own = float(np.median([np.quantile(one().wall, 0.95) for _ in range(3)])) / 1e6
    print(f"P95 on the quiet machine: {own:.2f} ms", file=sys.stderr)
    table: dict[str, dict[str, Counter[str]]] = {}
    for kind in kinds:
        table[kind] = {"good": Counter(), "bad": Counter()}
        for number in range(runs):
            print(f"{kind}: run {number + 1} of {runs}", file=sys.stderr)
            with REAL[kind]():
                conditions = one()
            for name, factor in (("good", GOOD), ("bad", BAD)):
                blame = judge_fairly(conditions, budget_ms=own / factor, min_samples=300)
                table[kind][name][blame.judgement.status] += 1
        print(f"{kind}: {table[kind]}", file=sys.stderr)
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; 1 when a good wheel failed or a bad one passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.interference", description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="simulated runs of each row")
    parser.add_argument("--real", type=int, default=0, help="real runs of each row")
    parser.add_argument("--python", type=Path, help="interpreter of an environment with a wheel")
    parser.add_argument("--model", type=Path, help="folder of all-minilm-l6-v2's files")
    parser.add_argument(
        "--kind", action="append", choices=list(REAL), help="this row of the real runs alone"
    )
    parser.add_argument("--own-ms", type=float, help="P95 of the quiet machine, measured before")
    options = parser.parse_args(argv)
    tables = {"simulated": simulated(options.runs)} if options.runs else {}
    if options.real:
        with tempfile.TemporaryDirectory() as work:
            context = TargetContext(
                role="candidate",
                work=Path(work),
                model_dir=options.model.resolve(),
                encoder=load_model_recipe(recipe_path("all-minilm-l6-v2")).encoder,
                policy=find_policy("linux"),
                quick=True,
                targets={"candidate": options.python.absolute()},
                host="linux-x86_64",
            )
            tables["real"] = real(context, options.real, options.kind or list(REAL), options.own_ms)
    for name, table in tables.items():
        print(f"\n{name}:\n")
        print("\n".join(show(table)))
    return 0 if all(holds(table) for table in tables.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
