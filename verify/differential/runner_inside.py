"""Run every case with the wheel of this environment, and go on after a crash.

``python -m verify.differential.runner_inside --cases DIR --out FILE`` starts itself again as a
child that does the work and keeps a journal. When the child dies or hangs, the case that it had
announced is recorded as a crash and a new child goes on with the next one.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import VerifyError
from . import cases_inside as worker
from .store import blob_file, read_cases, read_journal

_POLL_SECONDS = 0.05
#: A wheel that cannot even be imported would otherwise "crash" once for every case.
_MAX_CRASHES = 200


def run(
    cases: Path,
    out: Path,
    *,
    configurations: Sequence[str] = worker.CONFIGURATIONS,
    timeout: float = 60.0,
) -> dict[str, Any]:
    """Run a case set and write its journal.

    Parameters
    ----------
    cases : Path
        A folder that ``store.write_cases`` wrote.
    out : Path
        The journal to write; ``<out>.bin`` is written beside it. Older ones are replaced.
    configurations : Sequence[str]
        Session configurations from :data:`worker.CONFIGURATIONS`.
    timeout : float
        Seconds that one case may take before its process is ended.

    Returns
    -------
    dict
        ``cases`` and ``crashes`` as counts, ``seconds`` as wall time.

    Raises
    ------
    VerifyError
        When onnxruntime cannot be imported here, or too many cases crash.
    """
    loaded = read_cases(cases)
    began = time.perf_counter()
    for stale in (out, blob_file(out)):
        stale.unlink(missing_ok=True)
    blob_file(out).touch()
    crashes = 0
    position = 0
    while position < len(loaded) or not _ended(out):
        end = _run_child(cases, position, out, configurations, timeout)
        if end is None:
            break
        last = _last_begun(out)
        if last is None or last < position:
            raise VerifyError(
                f"the differential runner ended with {end} before its first case",
                hint="Try to import onnxruntime in that environment; its output says why not.",
                context={"python": sys.executable},
            )
        crashes += 1
        if crashes > _MAX_CRASHES:
            raise VerifyError(f"more than {_MAX_CRASHES} differential cases ended the process")
        _record_crash(out, loaded[last].id, end, configurations, loaded[last].expected is not None)
        position = last + 1
    return {
        "cases": len(loaded),
        "crashes": crashes,
        "seconds": time.perf_counter() - began,
    }


def _run_child(
    cases: Path, position: int, out: Path, configurations: Sequence[str], timeout: float
) -> str | None:
    """Run a child until it ends; None for a good end, else what ended it."""
    command = [sys.executable, "-m", "verify.differential.runner_inside", "--child", str(cases)]
    child = subprocess.Popen([*command, str(position), str(out), *configurations])
    try:
        size, since = -1, time.monotonic()
        while child.poll() is None:
            time.sleep(_POLL_SECONDS)
            now = out.stat().st_size if out.exists() else 0
            if now != size:
                size, since = now, time.monotonic()
            elif time.monotonic() - since > timeout:
                child.kill()
                child.wait()
                return "timeout"
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    if child.returncode == 0:
        return None
    if child.returncode < 0:
        return signal.Signals(-child.returncode).name
    return f"exit code {child.returncode}"


def _ended(out: Path) -> bool:
    return any("end" in row for row in read_journal(out))


def _last_begun(out: Path) -> int | None:
    begun = [int(row["begin"]) for row in read_journal(out) if "begin" in row]
    return begun[-1] if begun else None


def _record_crash(
    out: Path, case: str, kind: str, configurations: Sequence[str], judged: bool
) -> None:
    outcome = {"status": "crash", "kind": kind, "verdict": "crash" if judged else ""}
    text = out.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    row = {"id": case, "runs": dict.fromkeys(configurations, outcome)}
    out.write_text(whole + json.dumps(row) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of ``python -m verify.differential.runner_inside``."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["--child"]:
        return worker.main(arguments[1:])
    parser = argparse.ArgumentParser(prog="python -m verify.differential.runner_inside")
    parser.add_argument("--cases", type=Path, required=True, help="folder of a case set")
    parser.add_argument("--out", type=Path, required=True, help="journal to write")
    parser.add_argument(
        "--timeout", type=float, default=60.0, help="seconds that one case may take"
    )
    options = parser.parse_args(arguments)
    try:
        done = run(options.cases, options.out, timeout=options.timeout)
    except VerifyError as error:
        print(error.problem, file=sys.stderr)
        if error.hint:
            print(error.hint, file=sys.stderr)
        return error.exit_code
    print(json.dumps(done))
    return 0


if __name__ == "__main__":
    sys.exit(main())
