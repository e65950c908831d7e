"""The channel to a worker, with real processes that answer, raise, crash and hang."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.kit.verify_examples import TINY, policy
from verify.environment.channel import Answer, Worker, call
from verify.environment.context import TargetContext
from verify.errors import CannotWrite

HERE = Path(sys.executable)


def started(function: str, payload: Any, work: Path, **more: Any) -> Worker:
    return Worker(HERE, f"tests.kit.worker_functions:{function}", payload, work=work, **more)


def answered(function: str, payload: Any, work: Path, seconds: float = 60.0) -> Answer:
    return call(started(function, payload, work), seconds)


def test_a_value_comes_back_and_prints_do_not_disturb_it(tmp_path: Path) -> None:
    found = answered("double", 21, tmp_path)
    assert (found.value, found.failure, found.returncode) == (42, "", 0)
    assert found.stderr == "native code prints 21\n"


def test_a_function_of_this_package_is_named_from_its_root(tmp_path: Path) -> None:
    found = call(Worker(HERE, ".environment.channel:_how", 9, work=tmp_path), 60.0)
    assert found.value == "ended with exit code 9"


def test_a_function_that_yields_is_asked_again(tmp_path: Path) -> None:
    with started("adds_up", 1, tmp_path) as worker:
        assert worker.answer(60.0).value == 1
        assert [worker.ask(step, 60.0).value for step in (2, 3)] == [3, 6]
        assert worker.close() == 0
        assert worker.ask(1, 60.0).failure == "ended without a result"


def test_progress_comes_before_the_answer(tmp_path: Path) -> None:
    said = []
    context = TargetContext(
        role="candidate",
        work=tmp_path,
        model_dir=tmp_path,
        encoder=TINY,
        policy=policy(),
        targets={"official": HERE},
        listener=lambda check, text: said.append((check, text)),
    )
    found = context.call("tests.kit.worker_functions:reports", "half way", role="official")
    assert found.value == "official"
    assert said == [("some.check", "half way")]


def test_an_exception_is_data_and_its_traceback_is_kept(tmp_path: Path) -> None:
    found = answered("raises", "theirs", tmp_path)
    assert found.value is None
    assert (found.failure, found.returncode) == ("raised ValueError: not this one", 1)
    assert (found.kind, found.error, found.hint) == ("ValueError", "not this one", "")
    assert "Traceback" in found.stderr
    assert found.last_words == "ValueError: not this one"


def test_an_error_of_ours_brings_its_hint(tmp_path: Path) -> None:
    found = answered("raises", "ours", tmp_path)
    assert (found.kind, found.error, found.hint) == ("VerifyError", "A sentence.", "A hint.")


def test_a_full_disk_says_nothing_of_what_was_asked(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match=r"No space left on device: /w/graph.onnx") as found:
        answered("finds_the_disk_full", "/w/graph.onnx", tmp_path)
    assert "free some space" in found.value.hint


@pytest.mark.parametrize(
    ("code", "failure", "words"),
    [
        (7, "ended with exit code 7", "last words"),
        (0, "ended without a result", "last words"),
        (
            -signal.SIGSEGV,
            "was killed by SIGSEGV",
            "its process was killed by SIGSEGV: last words",
        ),
    ],
)
def test_a_death_is_data(tmp_path: Path, code: int, failure: str, words: str) -> None:
    found = answered("ends", code, tmp_path)
    assert (found.value, found.failure, found.returncode) == (None, failure, code)
    assert found.last_words == words
    assert found.tail == "last words"


def test_a_crash_after_the_answer_is_a_failure(tmp_path: Path) -> None:
    found = answered("crashes_after_its_answer", "fine", tmp_path)
    assert found.value is None
    assert found.failure == "was killed by SIGSEGV after its answer"


def test_a_late_worker_is_ended_with_what_it_started(tmp_path: Path) -> None:
    number = tmp_path / "child"
    worker = started("hangs", str(number), tmp_path)
    while not number.exists() or not number.read_text("ascii"):  # it has begun to hang
        time.sleep(0.01)
    found = call(worker, 1.0)
    assert (found.failure, found.returncode) == ("was ended after 1 s", None)
    child = int(number.read_text("ascii"))
    for _ in range(600):  # whoever inherits it has to notice
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the worker's child lives on")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells it")
@pytest.mark.parametrize(("function", "starved"), [("computes", True), ("hangs", False)])
def test_who_was_late_for_want_of_a_processor_is_told_from_who_hangs(
    tmp_path: Path, function: str, starved: bool
) -> None:
    """Three programs are on the worker's only processor, each in a session: a share for each."""
    core = min(os.sched_getaffinity(0))
    loop = f"import os; os.sched_setaffinity(0, {{{core}}})\nprint(flush=True)\nwhile True: pass"
    words = [sys.executable, "-c", loop]
    others = [
        subprocess.Popen(words, start_new_session=True, stdout=subprocess.PIPE) for _ in range(3)
    ]
    try:
        for each in others:
            assert each.stdout is not None
            each.stdout.readline()
        begun = tmp_path / "begun"
        worker = started(function, str(begun), tmp_path)
        while not begun.exists():
            time.sleep(0.01)
        os.sched_setaffinity(worker._process.pid, {core})
        found = call(worker, 4.0)
    finally:
        for each in others:
            each.kill()
            each.communicate()
    assert found.failure == "was ended after 4 s"
    assert found.starved == starved


def test_a_worker_that_another_thread_ends_has_failed(tmp_path: Path) -> None:
    worker = started("hangs", str(tmp_path / "child"), tmp_path)
    timer = threading.Timer(0.5, worker.kill)
    timer.start()
    # Far beyond what a test may take: not ended by its time.
    assert call(worker, 3600.0).failure == "was killed by SIGKILL"
    worker.kill()  # it has ended already


def test_the_log_is_a_new_file_each_time(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "worker.log"
    for number in (1, 2):
        call(started("double", number, tmp_path, log=log), 60.0)
    assert log.read_text("utf-8") == "native code prints 2\n"


def test_the_environment_is_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONSTARTUP", "x.py")
    monkeypatch.setenv("LD_PRELOAD", "")
    names = ["PYTHONSTARTUP", "LD_PRELOAD", "PYTHONNOUSERSITE", "PATH", "MORE"]
    found = call(started("environment", names, tmp_path, variables={"MORE": "1"}), 60.0)
    assert found.value == {
        "PYTHONSTARTUP": None,
        "LD_PRELOAD": None,
        "PYTHONNOUSERSITE": "1",
        "PATH": os.environ["PATH"],
        "MORE": "1",
    }
