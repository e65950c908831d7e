"""Run the whole differential test: make the cases, run both wheels, compare."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from ..environment.channel import Answer, Worker
from ..errors import VerifyError
from ..sentence import Say
from .cases_inside import CONFIGURATIONS
from .compare import compare
from .comparison import Comparison
from .families import generated_cases
from .nodetests import read_node_tests
from .store import Case, blob_file, read_cases, read_results, record_crash, write_cases

RUNNER = ".differential.cases_inside:serve"
START_SECONDS = 180.0
CASE_SECONDS = 60.0
#: A wheel that crashes more often than this is broken, and not in one of its kernels.
_MAX_CRASHES = 200


def differential(
    *, official: Path, candidate: Path, archive: Path | None, work: Path, say: Say
) -> Comparison:
    """Run every case with both wheels' interpreters and compare.

    Without onnx's source archive, which has the node test data, there are only generated cases.
    The folder ``work`` gets the cases, journals, logs and ``differential.json``.

    Raises
    ------
    VerifyError
        When the cases cannot be made or a wheel cannot run them.
    """
    began = time.perf_counter()
    cases = work / "cases"
    count = write_cases(all_cases(archive), cases)
    say(f"{count} cases made in {time.perf_counter() - began:.1f} s")
    run_wheels({"official": official, "candidate": candidate}, cases=cases, work=work)
    result = compare(
        read_cases(cases),
        read_results(_journal(work, "official")),
        read_results(_journal(work, "candidate")),
    )
    report = work / "differential.json"
    report.write_text(json.dumps(result.to_json(), indent=1) + "\n", encoding="utf-8")
    say(f"compared in {time.perf_counter() - began:.1f} s; the whole list is in {report}")
    return result


def all_cases(archive: Path | None) -> Iterator[Case]:
    """Give the node tests of an archive, when there is one, then every generated case.

    The same archive gives the same bytes: names are sorted, and every generated input is drawn
    from a generator that is seeded with the case's own name.

    Raises
    ------
    VerifyError
        When the archive cannot be read.
    """
    if archive is not None:
        yield from read_node_tests(archive)
    yield from generated_cases()


def run_wheels(pythons: Mapping[str, Path], *, cases: Path, work: Path) -> None:
    """Run the same cases in several environments at the same time, by role.

    Raises
    ------
    VerifyError
        When one of them cannot run; the others are ended.
    """
    stop = threading.Event()
    with ThreadPoolExecutor() as pool:
        runs = [
            pool.submit(run_wheel, python, cases, _journal(work, role), stop=stop)
            for role, python in pythons.items()
        ]
        try:
            for run in as_completed(runs):
                run.result()
        finally:
            stop.set()


def run_wheel(
    python: Path,
    cases: Path,
    journal: Path,
    *,
    configurations: Sequence[str] = CONFIGURATIONS,
    seconds: float = CASE_SECONDS,
    stop: threading.Event | None = None,
) -> int:
    """Run a case set with one wheel, and go on after a crash; return how often it crashed.

    ``cases`` is a folder that ``store.write_cases`` wrote. Beside the journal ``<journal>.bin`` is
    written; older ones are replaced. A case that takes longer than ``seconds`` ends its process,
    and once ``stop`` is set no further case is run.

    Raises
    ------
    VerifyError
        When onnxruntime cannot be imported there, or too many cases crash.
    """
    loaded = read_cases(cases)
    for stale in (journal, blob_file(journal)):
        stale.unlink(missing_ok=True)
    blob_file(journal).touch()
    position = crashes = 0
    while True:
        log = journal.with_suffix(f".{crashes}.log" if crashes else ".log")
        payload = [str(cases), position, str(journal), *configurations]
        with Worker(python, RUNNER, payload, work=journal.parent, log=log) as worker:
            answer = worker.answer(START_SECONDS)
            if answer.failure:
                raise VerifyError(
                    f"The differential cases could not be run with the {journal.stem} wheel; the "
                    f"process {answer.failure}.",
                    hint="Does `import onnxruntime` work in that environment?",
                    context={"log": str(log), "last lines": answer.tail},
                )
            while not answer.failure:
                position = int(answer.value)
                if position == len(loaded) or (stop is not None and stop.is_set()):
                    return crashes
                answer = worker.ask(None, seconds)
        crashes += 1
        if crashes > _MAX_CRASHES:
            raise VerifyError(f"more than {_MAX_CRASHES} differential cases ended the process")
        record_crash(journal, loaded[position], _end(answer), configurations)
        position += 1


def _end(answer: Answer) -> str:
    if answer.returncode is None:
        return "timeout"
    if answer.returncode < 0:
        return signal.Signals(-answer.returncode).name
    return f"exit code {answer.returncode}"


def _journal(work: Path, role: str) -> Path:
    return work / f"{role}.jsonl"
