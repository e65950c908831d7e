"""Make the packages with the wheel, measure them on this host, name what departs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from verify.conversion.evaluate import first_departure
from verify.conversion.judge import MIN_COSINE_EXACT
from verify.conversion.mapping import graph_values, known_values, map_names
from verify.conversion.package import find_packages, read_package
from verify.conversion.program import load_program
from verify.errors import VerifyError
from verify.graph import Precision
from verify.reference import default_folder, load_texts
from verify.target.context import TargetContext, clean_environment

Say = Callable[[str], None]
WORKERS = 2
ACCUMULATE_TEXTS = 4


class ProofError(VerifyError):
    """The conversion proof could not be carried out."""

    title = "conversion"


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One graph with what belongs to it on disk."""

    label: str
    width: int
    path: Path
    folder: Path

    @property
    def values(self) -> Path:
        """The CPU provider's values at the edges of the partitions."""
        return self.folder / "values.npz"


def prove(
    context: TargetContext,
    *,
    buckets: Sequence[int],
    precisions: Sequence[Precision],
    minimum_os: str,
    texts: int | None = None,
    say: Say,
) -> list[dict[str, Any]]:
    """Measure every package of every graph; see :func:`verify.conversion.measure.measure`.

    Parameters
    ----------
    context : TargetContext
        Its ``targets`` hold the environment of the wheel.
    buckets : Sequence[int]
        Sequence lengths.
    precisions : Sequence
        ``fp32``, ``fp16`` or both.
    minimum_os : str
        macOS that the packages must be readable on.
    texts : int, optional
        Use only so many of the reference texts.

    Raises
    ------
    ProofError
        When the wheel makes no session with CoreML, or a process dies.
    """
    chosen = [entry.text for entry in load_texts(default_folder())[0]][:texts]
    if not chosen:
        raise ProofError("There is no text to prove anything with.", hint="--texts 8, or more.")
    home = context.work / "conversion"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    graphs = []
    for precision in precisions:
        for width in buckets:
            say(f"graph [1,{width}] {precision}")
            graphs.append(
                Graph(
                    label=f"static [1,{width}] {precision}",
                    width=width,
                    path=context.graph(static=(1, width), precision=precision),
                    folder=home / f"{width}-{precision}",
                )
            )
    say(f"{len(graphs)} sessions with CoreML")
    _call(
        context,
        "emit",
        {"graphs": [{"graph": str(g.path), "folder": str(g.folder)} for g in graphs]},
    )
    jobs = _jobs(context, graphs, chosen, minimum_os, say)
    try:
        answers = _measured(jobs, say)
        return [_located(context, job, answer, chosen, say) for job, answer in answers]
    finally:
        for graph in graphs:
            graph.values.unlink(missing_ok=True)


def spread(count: int, wanted: int) -> list[int]:
    """Return up to ``wanted`` numbers below ``count``, evenly apart, the first one 0."""
    return sorted({int(place) for place in np.linspace(0, count - 1, min(count, wanted))})


def _jobs(
    context: TargetContext, graphs: Sequence[Graph], texts: list[str], minimum_os: str, say: Say
) -> list[dict[str, Any]]:
    """Ask the CPU provider for the values at the packages' edges and return the workers' jobs."""
    jobs, wanted = [], []
    everything = list(range(len(texts)))
    for graph in graphs:
        there = graph_values(graph.path)
        found: list[str] = []
        for number, folder in enumerate(find_packages(graph.folder)):
            package = read_package(folder)
            names = map_names([*package.inputs, *package.outputs], there)
            found += names.values()
            jobs.append(
                {
                    "label": f"{graph.label} #{number}" if number else graph.label,
                    "package": str(folder),
                    "values": str(graph.values),
                    "names": names,
                    "minimum_os": minimum_os,
                    "graph": str(graph.path),
                    "width": graph.width,
                    "modes": {
                        "exact": everything,
                        "fp16": everything,
                        "fp16-accumulate": spread(len(texts), ACCUMULATE_TEXTS),
                    },
                }
            )
        if found:
            wanted.append(_values(graph, list(dict.fromkeys(found))))
    if wanted:
        say(f"{len(texts)} texts on the CPU provider, {len(wanted)} graphs")
        _call(context, "values", {"graphs": wanted, "texts": texts})
    return jobs


def _values(graph: Graph, names: list[str]) -> dict[str, Any]:
    return {
        "graph": str(graph.path),
        "values": names,
        "width": graph.width,
        "file": str(graph.values),
    }


def _call(context: TargetContext, name: str, payload: Mapping[str, Any]) -> None:
    call = context.call(f"verify.target.conversion:{name}", payload, timeout=900.0)
    if call.value is not True:
        said = [line for line in call.stderr.strip().splitlines() if line.strip()]
        raise ProofError(
            f"The wheel's environment gave no {name}: "
            f"{said[-1] if said else f'exit code {call.returncode}'}",
            hint="`python -m verify run --only provider.registered` tells more.",
        )


def _measured(
    jobs: Sequence[dict[str, Any]], say: Say
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Share the jobs out to processes of one thread each; keep the jobs' order."""
    shares: list[list[dict[str, Any]]] = [[] for _ in range(min(WORKERS, len(jobs)))]
    for job in sorted(jobs, key=lambda entry: -int(entry["width"])):
        min(shares, key=lambda share: sum(int(entry["width"]) for entry in share)).append(job)
    found: dict[str, dict[str, Any]] = {}
    workers = [_start(share) for share in shares]
    readers = [
        threading.Thread(target=_read, args=(worker, found, say), daemon=True) for worker in workers
    ]
    try:
        for reader in readers:
            reader.start()
        for worker in workers:
            worker.wait()
        for reader in readers:
            reader.join()
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    lost = [job["label"] for job in jobs if job["label"] not in found]
    if lost:
        codes = ", ".join(str(worker.returncode) for worker in workers)
        raise ProofError(
            f"The evaluation ended without a result for {', '.join(lost)} (exit codes {codes}).",
            hint="Its own words are above. Out of memory? Try one bucket at a time.",
        )
    return [(job, found[job["label"]]) for job in jobs]


def _start(share: Sequence[Mapping[str, Any]]) -> subprocess.Popen[str]:
    environment = clean_environment()
    # One thread each: two processes with two threads each fight for two cores.
    environment.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1"))
    environment.update({k: v for k, v in os.environ.items() if k == "VIRTUAL_ENV"})
    process = subprocess.Popen(
        [sys.executable, "-m", "verify.conversion.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
    )
    if process.stdin is not None:
        process.stdin.write(json.dumps(list(share)))
        process.stdin.close()
    return process


def _read(worker: subprocess.Popen[str], found: dict[str, dict[str, Any]], say: Say) -> None:
    for line in worker.stdout or ():
        kind, _, rest = line.rstrip("\n").partition(" ")
        if kind == "@progress":
            say(rest)
        elif kind == "@answer":
            answer = json.loads(rest)
            found[answer["label"]] = answer


def _located(
    context: TargetContext,
    job: Mapping[str, Any],
    answer: dict[str, Any],
    texts: Sequence[str],
    say: Say,
) -> dict[str, Any]:
    """Name the operation that departs, where the exact evaluation does."""
    exact = answer["modes"].get("exact")
    if exact is None or exact["worst_cosine"] >= MIN_COSINE_EXACT:
        return answer
    say(f"{job['label']}: looking for the operation that departs")
    package = read_package(Path(job["package"]))
    program = load_program(package)
    made = [name for operation in program.operations for name in operation.outputs]
    names = known_values([*program.inputs, *made], graph_values(Path(job["graph"])))
    file = Path(job["package"]).parent / "inner.npz"
    entry = {
        "graph": job["graph"],
        "values": list(names.values()),
        "width": job["width"],
        "file": str(file),
    }
    _call(context, "values", {"graphs": [entry], "texts": [texts[exact["worst_text"]]]})
    with np.load(file, allow_pickle=False) as stored:
        reference = {name: stored[value][0] for name, value in names.items()}
    file.unlink()
    departure = first_departure(program, reference)
    return {**answer, "departure": departure.sentence() if departure else "none by itself"}
