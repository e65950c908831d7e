"""Measure the four paths from a text to its vector on this host, in one interleaved run."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from build.package.exports import read_sdk, unpacked
from build.tree.workspace import host_platform, open_workspace
from tests.paths.environment import bridge_environment
from tests.paths.measure import measure
from tests.paths.result import Row, advice, row
from tests.paths.routes import Parts, routes
from tests.paths.show import markdown, write
from verify.checks.policies import find_policy
from verify.encoder import reference
from verify.encoder.model_recipe import load_model_recipe, recipe_path
from verify.latency.queries import workload

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
MODEL = "all-minilm-l6-v2"
PASSED, FAILED, NOT_RUN = 0, 1, 3


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the paths; 0 where one is a GO, 1 where none is, 3 where it could not be run."""
    parser = argparse.ArgumentParser(prog="nox -s paths --", description=__doc__)
    parser.add_argument(
        "--samples", type=int, default=600, metavar="N", help="timed calls of each path"
    )
    parser.add_argument("--budget-ms", type=float, help="budget of P95 (default: the policy's)")
    parser.add_argument("--threads", type=int, default=_cores(), metavar="N", help="of every path")
    parser.add_argument(
        "--report",
        type=Path,
        default=ROOT / ".work" / "reports",
        metavar="DIR",
        help="written here",
    )
    options = parser.parse_args(argv)
    budget = 1 if options.budget_ms is None else options.budget_ms
    if options.samples < 1 or options.threads < 1 or not 0 < budget < float("inf"):
        _say("--samples, --threads and --budget-ms are numbers above 0")
        return NOT_RUN
    try:
        found = _run(options)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        _say(f"the paths could not be measured: {error}")
        return NOT_RUN
    return PASSED if any(each.verdict == "GO" for each in found) else FAILED


def _run(options: argparse.Namespace) -> list[Row]:
    limits = find_policy(None).limits
    budget = options.budget_ms or limits.latency_p95_ms
    parts = _parts(options)
    work = ROOT / ".work" / "paths"
    known = reference.load(parts.encoder)
    right = zip([each.text for each in known.texts], known.embeddings, strict=True)
    chosen = routes(parts)
    samples = measure(
        chosen,
        texts=workload("mix", max_length=parts.encoder.max_length),
        references=list(right),
        samples=options.samples,
        logs=work,
        say=_say,
    )
    rows = [row(route, samples[route.key], limits, budget) for route in chosen]
    about: dict[str, object] = {
        "host": platform.platform(),
        "processor": _processor(),
        "threads": options.threads,
        "ONNX Runtime": parts.sdk.version,
        "samples": options.samples,
        "budget": f"P95 of {budget:g} ms",
    }
    said = advice(rows, budget)
    write(options.report, rows, samples, budget_ms=budget, about=about, advice=said)
    print(markdown(rows))
    for each in rows:
        print(f"{each.key}: {each.verdict}. {each.reason}")
    print(said)
    _say(f"written: {options.report / 'paths.html'}")
    return rows


def _parts(options: argparse.Namespace) -> Parts:
    """Find or make what the paths need; FileNotFoundError says what is missing."""
    work = ROOT / ".work" / "paths"
    work.mkdir(parents=True, exist_ok=True)
    archives = sorted((ROOT / "wheels").glob(f"onnxruntime-sdk-*-{host_platform()}.tar.gz"))
    if not archives:
        raise FileNotFoundError("there is no SDK in wheels/; run `nox -s build`")
    model = ROOT / ".work" / "models" / MODEL
    if not (model / "model.safetensors").is_file():
        raise FileNotFoundError(f"there is no model in {model}; run `nox -s fetch`")
    target = open_workspace(ROOT, os.environ).cache / "consumers" / "cargo"
    python = bridge_environment(archives[-1].parent, work, say=_say)
    _say("compiling the worker")
    subprocess.run(
        ["cargo", "build", "--release", "--locked", "--quiet"],
        cwd=HERE / "worker",
        env={**os.environ, "CARGO_TARGET_DIR": str(target)},
        check=True,
    )
    return Parts(
        worker=target / "release" / "paths",
        sdk=read_sdk(unpacked(archives[-1], ROOT / ".work" / "sdk")),
        model=model,
        encoder=load_model_recipe(recipe_path(MODEL)).encoder,
        graphs=work / "graphs",
        threads=options.threads,
        python=python,
        work=ROOT / ".work",
    )


def _cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    """Return the processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
