"""Run the whole differential test: make the cases, run both wheels, compare."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..errors import VerifyError
from .cases import prepare
from .compare import compare
from .comparison import Comparison
from .store import read_cases, read_results

Say = Callable[[str], None]
_POLL_SECONDS = 0.1
_TAIL_LINES = 12


@dataclass(frozen=True, kw_only=True)
class Target:
    """One wheel, installed.

    Parameters
    ----------
    role : str
        ``candidate`` or ``official``; names the files of its run.
    python : Path
        The interpreter of its environment.
    """

    role: str
    python: Path


def differential(
    *,
    official: Path,
    candidate: Path,
    archive: Path | None,
    work: Path,
    environment: Mapping[str, str],
    say: Say,
) -> Comparison:
    """Run every case with both wheels and compare.

    Parameters
    ----------
    official, candidate : Path
        Interpreters of the two environments.
    archive : Path, optional
        Source archive of onnx with the node test data; without it there are only generated cases.
    work : Path
        Folder for the cases, journals, logs and ``differential.json``.
    environment : Mapping[str, str]
        The environment variables of the runners, with PYTHONPATH set to where ``verify`` lies.
    say : Callable[[str], None]
        Takes one line of progress at a time.

    Returns
    -------
    Comparison

    Raises
    ------
    VerifyError
        When the cases cannot be made or a runner cannot run.
    """
    began = time.perf_counter()
    cases = work / "cases"
    count = prepare(archive, cases)
    say(f"{count} cases made in {time.perf_counter() - began:.1f} s")
    targets = (
        Target(role="official", python=official),
        Target(role="candidate", python=candidate),
    )
    run_targets(targets, cases=cases, work=work, environment=environment)
    result = compare(
        read_cases(cases),
        read_results(_journal(work, "official")),
        read_results(_journal(work, "candidate")),
    )
    report = work / "differential.json"
    report.write_text(json.dumps(result.to_json(), indent=1) + "\n", encoding="utf-8")
    say(f"compared in {time.perf_counter() - began:.1f} s; the whole list is in {report}")
    return result


def run_targets(
    targets: tuple[Target, ...], *, cases: Path, work: Path, environment: Mapping[str, str]
) -> None:
    """Run the same cases in several environments at the same time, one process each.

    Raises
    ------
    VerifyError
        When one of them cannot run; the others are ended.
    """
    running: list[tuple[Target, subprocess.Popen[bytes]]] = []
    logs: list[IO[bytes]] = []
    try:
        for target in targets:
            log: IO[bytes] = _log(work, target.role).open("wb")
            logs.append(log)
            command = [str(target.python), "-m", "verify.differential.runner_inside"]
            command += ["--cases", str(cases), "--out", str(_journal(work, target.role))]
            child = subprocess.Popen(
                command, env=dict(environment), stdout=log, stderr=subprocess.STDOUT, cwd=work
            )
            running.append((target, child))
        waiting = list(running)
        while waiting:
            time.sleep(_POLL_SECONDS)
            for target, child in list(waiting):
                code = child.poll()
                if code is None:
                    continue
                waiting.remove((target, child))
                if code != 0:
                    _refuse(work, target.role, code)
    finally:
        for _, child in running:
            if child.poll() is None:
                child.terminate()
                child.wait()
        for log in logs:
            log.close()


def _refuse(work: Path, role: str, code: int) -> None:
    path = _log(work, role)
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    tail = "\n".join(lines[-_TAIL_LINES:])
    raise VerifyError(
        f"The differential cases could not be run with the {role} wheel, exit code {code}:\n{tail}",
        hint="Does `import onnxruntime` work in that environment?",
        context={"log": str(path)},
    )


def _journal(work: Path, role: str) -> Path:
    return work / f"{role}.jsonl"


def _log(work: Path, role: str) -> Path:
    return work / f"{role}.log"
