"""Measure packages in processes of their own, as many as there are cores worth using."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..environment.channel import clean_environment
from ..errors import VerifyError

Say = Callable[[str], None]
WORKERS = 2


class ProofError(VerifyError):
    """The conversion proof could not be carried out."""

    title = "conversion"


def measure_all(
    jobs: Sequence[dict[str, Any]], say: Say
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Share the jobs out to processes of one thread each; keep the jobs' order."""
    shares: list[list[dict[str, Any]]] = [[] for _ in range(min(WORKERS, len(jobs)))]
    for job in sorted(jobs, key=lambda entry: -int(entry["cost"])):
        told = {key: value for key, value in job.items() if key != "graph"}
        min(shares, key=lambda share: sum(int(entry["cost"]) for entry in share)).append(told)
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
        [sys.executable, "-m", "verify.conversion.measure_process"],
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
