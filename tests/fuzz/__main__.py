"""``python -m tests.fuzz --wheel FILE --count N --seed S``.

Each graph goes through coverage, model and conversion, all in one environment that holds the
wheel beside this one's packages, with their workers forked from it. What may never be: a
traceback, a hang, an exit code that is not documented, a fault of ours, a pass of a graph that no
session can be made of, and a fixed graph that differs from the original on the CPU provider.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import importlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from tests.kit.commands import target_python
from verify.cli import main as verify
from verify.environment import channel, wheel_file

from .forked import PRELOADED, Forked, in_a_fork
from .graphs import Made, make

LATE_SECONDS = 120.0


def command(words: Sequence[object]) -> tuple[int, str, str]:
    """Run one command; return its exit code and what it wrote."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = verify([str(word) for word in words])
    return code, out.getvalue(), err.getvalue()


def problems(made: Made, wheel: Path, counts: Counter[str]) -> Iterator[str]:
    """Yield what may not be, for one model."""
    place = made.path.parent
    fixed = place / "fixed.onnx"
    common = ["--work", place / "work"]
    named = ["--wheel", wheel, *common]
    asked = {
        "coverage": ["coverage", made.path, "--format", "MLProgram", "--json", *named],
        "model": ["model", "--from-onnx", made.path, "--rewrite", "--output", fixed, *made.fixes,
                  *named],
        "conversion": ["conversion", wheel, "--model", made.path, "--cases", "2", *made.fixes,
                       *common],
    }  # fmt: skip
    for name, words in asked.items():
        began = time.monotonic()
        code, out, err = command(words)
        counts[f"{name} {code}"] += 1
        if time.monotonic() - began > LATE_SECONDS:
            yield f"{name} took {time.monotonic() - began:.0f} s"
        if "Traceback" in out + err or "fault of ortmill" in err:
            yield f"{name} ended in {code}: {err[-600:]}"
        if code not in (0, 1, 2, 3):
            yield f"{name} ended in {code}"
        if code == 3 and "hint:" not in err + out and '"hint"' not in out:
            yield f"{name} gives no hint: {err[-600:]}"
        if name == "coverage" and out.strip().startswith("{"):
            for entry in json.loads(out)["coverage"]:
                if code == 0 and entry.get("failure"):
                    yield f"coverage passes beside {entry['failure']}"
        if name == "conversion" and code == 1:
            said = _first(out)
            counts[f"conversion failed: {said.split(':')[0]}"] += 1
            counts[f"note: {said[:300]}"] += 1
        if name == "conversion" and "first to depart: no one of" in out:
            yield f"conversion names no operation: {out[-600:]}"
        if name == "model" and code in (0, 1) and fixed.is_file():
            yield from _same(made.path, fixed, counts)


def _first(out: str) -> str:
    failed = [line for line in out.splitlines() if ": failed:" in line]
    return failed[0] if failed else "?"


def _same(before: Path, after: Path, counts: Counter[str]) -> Iterator[str]:
    """Compare both files on the wheel's CPU provider, in a process of its own."""
    paths = (str(before), str(after))
    worker = channel.Worker(
        Path(sys.executable), "tests.fuzz.same:compare", paths, work=before.parent
    )
    answer = channel.call(worker, LATE_SECONDS)
    said = answer.value or f"unknown: the process {answer.failure}"
    counts[f"fixed graph: {said.split(':')[0]}"] += 1
    if said.startswith("differs"):
        yield f"the fixed graph {said}"


def main(argv: Sequence[str] | None = None) -> int:
    """Try every seed; 1 when something is that may not be."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    words = sys.argv[1:] if argv is None else list(argv)
    options = parser.parse_args(words)
    if options.inside:
        return _try_all(options)
    with tempfile.TemporaryDirectory(prefix="fuzz-wheel-") as folder:
        python = target_python(options.wheel, Path(folder) / "venv")
        threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
        return subprocess.run(
            [str(python), "-m", "tests.fuzz", "--inside", *words],
            env={**os.environ, **threads},
            check=False,
        ).returncode


def _try(seed: int, wheel: Path) -> dict[str, Any]:
    """Try one seed; a crash of the commands' own process is told by who forked it."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        made = make(seed, Path(folder))
        found = [f"({made.what}): {said}" for said in problems(made, wheel, counts)]
    notes = [name for name in counts if name.startswith("note: ")]
    for name in notes:
        del counts[name]
    return {"problems": found, "notes": notes, "counts": counts}


def _try_all(options: argparse.Namespace) -> int:
    """Try every seed in this process, which holds the wheel."""
    counts: Counter[str] = Counter()
    found = 0

    @contextlib.contextmanager
    def opened(*_: object, **__: object) -> Iterator[Path]:
        yield Path(sys.executable)

    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()
    forking = mock.Mock(wraps=subprocess, Popen=Forked)
    forking.PIPE, forking.TimeoutExpired = subprocess.PIPE, subprocess.TimeoutExpired
    with (
        mock.patch("verify.environment.venv.opened", opened),
        mock.patch.object(channel, "subprocess", forking),
        mock.patch.object(wheel_file, "_refuse_damaged"),
        mock.patch.object(wheel_file, "file_sha256", functools.cache(wheel_file.file_sha256)),
    ):
        for seed in range(options.seed, options.seed + options.count):
            told = in_a_fork(lambda seed=seed: _try(seed, options.wheel.absolute()))
            found += len(told["problems"])
            counts.update(told["counts"])
            for line in [*told["notes"], *told["problems"]]:
                print(f"seed {seed}: {line}", flush=True)
    print(f"{options.count} graphs, {found} findings")
    for name, count in sorted(counts.items()):
        print(f"  {count:6} {name}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
