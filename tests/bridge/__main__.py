"""Use the bridge hard and measure it: `nox -s bridge -- soak|latency|load --help`."""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.bridge import measure
from tests.bridge.clients import WIRES, client, faults, plan, report, running
from tests.paths.environment import bridge_environment
from verify import Embedder
from verify.errors import VerifyError
from verify.latency.queries import QUERIES

ROOT = Path(__file__).resolve().parents[2]
NOT_RUN = 3
# Below these numbers nothing is measured.
LEAST = {"requests": 1, "kills": 0, "rounds": 1, "pause": 0, "calls": 1}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of them; 1 where something was lost, wrong, too slow or not flat, 3 not run."""
    parser = argparse.ArgumentParser(prog="nox -s bridge --", description=__doc__)
    parser.add_argument(
        "--home", type=Path, help="environment with ortmill[http]; made of wheels/ by default"
    )
    parser.add_argument("--model", default="all-minilm-l6-v2")
    parser.add_argument("--models", type=Path, help="default: .work/models/<model>")
    what = parser.add_subparsers(dest="what", required=True)
    soak = what.add_parser("soak", help="100,000 requests from Rust and Node, with every mistake")
    soak.add_argument("--requests", type=int, default=100_000)
    soak.add_argument("--kills", type=int, default=3)
    soak.add_argument("--seed", type=int, default=1)
    soak.add_argument("--client", choices=sorted(WIRES), action="append")
    pair = what.add_parser("latency", help="one query at a time, beside the Embedder")
    pair.add_argument("--rounds", type=int, default=15)
    pair.add_argument("--pause", type=float, default=10, metavar="MS", help="before each call")
    load = what.add_parser("load", help="HTTP under load, by hey")
    load.add_argument("--calls", type=int, default=400, help="for one client")
    options = parser.parse_args(argv)
    for name, least in LEAST.items():
        if not getattr(options, name, least) >= least:
            parser.error(f"--{name} is a number from {least} on")
    folder = (options.models or ROOT / ".work" / "models" / options.model).resolve()
    # What a compiler that is missing ends a test with.
    pytests = (pytest.skip.Exception, pytest.fail.Exception)
    try:
        home = options.home or made_home(ROOT / ".work" / "bridge")
        installed = measure.Installed(home.resolve(), options.model, folder)
        return {"soak": run_soak, "latency": run_latency, "load": run_load}[options.what](
            installed, options
        )
    except VerifyError as error:
        said = "\n  hint: ".join(filter(None, (error.problem, error.hint)))
    except (OSError, subprocess.CalledProcessError, *pytests) as error:
        said = str(error)
    print(f"the bridge could not be tried: {said}", file=sys.stderr)
    return NOT_RUN


def made_home(work: Path) -> Path:
    """Return an environment with the wheel and the project in it, and what HTTP needs."""
    home = bridge_environment(ROOT / "wheels", work, say=print)
    if not list(home.glob("lib/python*/site-packages/uvicorn")):
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--disable-pip-version-check", f"{ROOT}[http]"], check=True)
    return home


def run_soak(installed: measure.Installed, options: argparse.Namespace) -> int:
    """Print what each client saw."""
    words = sorted({word for query in QUERIES[:30] for word in query.split()})
    texts = [" ".join(pair) for pair in itertools.islice(itertools.pairwise(words), 100)] + words
    with Embedder.from_recipe(installed.folder, installed.recipe) as embedder:
        vectors = embedder.embed(texts)
    failed = False
    for language in options.client or sorted(WIRES):
        with tempfile.TemporaryDirectory() as folder:
            argv = installed.bridge("--wire", WIRES[language])
            numbers = {"requests": options.requests, "kills": options.kills, "seed": options.seed}
            told = plan(Path(folder), argv, texts, vectors, **numbers)
            with running(client(language), told, ROOT) as process:
                found = report(process)
        rss = np.array(found.pop("rss")) / 1e6
        # Of the last life, which is the longest without an end.
        last = rss[-len(rss) // (options.kills + 1) :]
        half = len(last) // 2
        halves = (last[:half], last[half:])
        found["rss_mb"] = [round(float(each.max(initial=0)), 1) for each in halves]
        problems = faults(found)
        print(f"{language}: {found}", *problems, sep="\n  ", flush=True)
        failed |= bool(problems) or found["rss_mb"][1] > 1.05 * found["rss_mb"][0]
    return int(failed)


def run_latency(installed: measure.Installed, options: argparse.Namespace) -> int:
    """Print P50 and P95 of every way, and what the bridge adds."""
    found = measure.latency(installed, options.rounds, options.pause / 1e3)
    inside = found[measure.WAYS[0]]
    print(f"{len(inside)} calls each, in ms")
    worst = 0.0
    for way, seconds in found.items():
        p50, p95 = 1e3 * np.percentile(seconds, (50, 95))
        low, high = (1e3 * each for each in measure.interval_of_p95(seconds, inside))
        added = p95 - 1e3 * np.percentile(inside, 95)
        worst = max(worst, float(added))
        print(
            f"{way:16} P50 {p50:6.2f}  P95 {p95:6.2f}  added {added:5.2f} [{low:.2f}, {high:.2f}]"
        )
    return int(worst > 1)


def run_load(installed: measure.Installed, options: argparse.Namespace) -> int:
    """Print P50, P95 and requests a second at 1, 8 and 64 clients."""
    for way, clients, seconds, rate in measure.load(installed, (1, 8, 64), options.calls):
        p50, p95 = 1e3 * np.percentile(seconds, (50, 95))
        print(
            f"{clients:3} clients  {way:16} P50 {p50:7.2f}  P95 {p95:7.2f} ms  {rate:6.0f}/s "
            f"({len(seconds)} requests)",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
