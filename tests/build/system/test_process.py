"""Programs are run with their output kept, and ended with all that they started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from build.errors import Interrupted, ResourceError, ToolchainError, WheelError
from build.system import session
from build.system.process import LoggedRun, capture, first_error
from build.system.session import end_leftover, session_members, write_note

ENV = {"PATH": os.environ.get("PATH", "")}
# Starts a child in a group of its own, as ninja does; both ignore SIGTERM.
STUBBORN = """\
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(120)"
child = subprocess.Popen([sys.executable, "-c", code], process_group=0)
part = sys.argv[1] + ".part"
open(part, "w").write(f"{os.getpid()} {child.pid}")
os.rename(part, sys.argv[1])
print("started", flush=True)
time.sleep(120)
"""


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def wait_for(path: Path, seconds: float = 60) -> str:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)
    return path.read_text()


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(autouse=True)
def _ctrl_c() -> Iterator[None]:
    # A shell starts what it puts into the background with Ctrl-C switched off.
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, kept)


@pytest.fixture
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_GRACE_SECONDS", 0.5)


def test_output_is_returned_logged_and_handed_on(tmp_path: Path) -> None:
    lines: list[str] = []
    run = LoggedRun(env=ENV, log=tmp_path / "logs" / "x.log", on_line=lines.append)
    code = "import sys; print('one'); print('two', file=sys.stderr, flush=True); print('é')"
    assert sorted(run(python(code)).splitlines()) == ["one", "two", "é"]
    assert sorted(lines) == ["one", "two", "é"]
    run(python("print('again')"))
    log = (tmp_path / "logs" / "x.log").read_text(encoding="utf-8")
    assert log.count("$ ") == 2
    assert "é\n" in log
    assert log.endswith("again\n")


def test_the_environment_and_the_folder_are_the_given_ones(tmp_path: Path) -> None:
    run = LoggedRun(env={"ONLY": "this"}, log=tmp_path / "x.log")
    code = "import os; print(dict(os.environ).get('ONLY'), 'PATH' in os.environ, os.getcwd())"
    assert run(python(code), cwd=tmp_path) == f"this False {tmp_path}\n"
    assert run(python(code), env={"ONLY": "that"}, cwd=tmp_path).startswith("that ")


def test_a_failure_names_script_status_and_log_and_shows_the_first_error(tmp_path: Path) -> None:
    script = tmp_path / "compile.py"
    script.write_text(
        "for n in range(50): print(f'[{n}/50] fine')\n"
        "print('a.cc:7:1: error: this is the first')\n"
        "for n in range(300): print('noise', n)\n"
        "raise SystemExit(3)\n"
    )
    log = tmp_path / "x.log"
    with pytest.raises(WheelError, match=r"^compile\.py ended with status 3$") as caught:
        LoggedRun(env=ENV, log=log, error=WheelError)([sys.executable, "-u", str(script)])
    assert caught.value.context["log"] == str(log)
    shown = caught.value.context["output"]
    assert "error: this is the first" in shown
    assert len(shown.splitlines()) < 40
    assert "noise 299" in log.read_text()


@pytest.mark.parametrize(
    ("line", "telling"),
    [
        ("FAILED: x.o", True),
        ("x.cc:1:2: fatal error: y.h: No such file", True),
        ("CMake Error at CMakeLists.txt:3 (message):", True),
        ("ld: x.o: undefined reference to `f'", True),
        ("[3/9] Building CXX object error_code.cc.o", False),
        ("-- Performing Test HAS_WERROR", False),
    ],
)
def test_which_lines_are_telling(line: str, telling: bool) -> None:
    lines = ["before"] * 60 + [line] + ["after"] * 60
    assert (line in first_error(lines)) is telling


def test_without_an_error_the_end_is_told() -> None:
    assert first_error([str(number) for number in range(100)]).splitlines()[-1] == "99"
    assert first_error([]) == ""


@pytest.mark.usefixtures("_short_grace")
def test_a_time_out_ends_the_program(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    for seconds in (3, 60):  # a busy machine may not have started it before it was ended
        with pytest.raises(TimeoutError, match="took too long"):
            capture(python(STUBBORN, str(note)), env=ENV, seconds=seconds)
        if note.exists():
            break
    assert not any(lives(int(pid)) for pid in note.read_text().split())


def test_no_program_and_one_that_may_not_be_run(tmp_path: Path) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text("x")
    for program in (tmp_path / "none", plain):
        with pytest.raises(ToolchainError, match=f"cannot run {program}") as caught:
            LoggedRun(env=ENV, log=tmp_path / "x.log")([str(program)])
        assert caught.value.hint


@pytest.mark.usefixtures("_short_grace")
def test_ctrl_c_ends_children_that_ignore_it_in_groups_of_their_own(tmp_path: Path) -> None:
    note, running = tmp_path / "pids", tmp_path / "running.json"
    run = LoggedRun(env=ENV, log=tmp_path / "x.log", note=running)

    def press() -> None:
        wait_for(note)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    with pytest.raises(Interrupted, match="stopped while") as caught:
        run(python(STUBBORN, str(note)))
    assert caught.value.exit_code == 130
    assert not any(lives(int(pid)) for pid in note.read_text().split())
    assert "started" in (tmp_path / "x.log").read_text()
    assert not running.exists()


@pytest.mark.usefixtures("_short_grace")
def test_what_a_killed_build_left_is_ended_by_the_next(tmp_path: Path) -> None:
    note, pids = tmp_path / "running.json", tmp_path / "pids"
    child = subprocess.Popen(
        python(STUBBORN, str(pids)), start_new_session=True, stdout=subprocess.DEVNULL
    )
    write_note(note, child.pid)
    wait_for(pids)
    assert len(session_members(child.pid)) == 2
    assert end_leftover(note)
    assert session_members(child.pid) == []
    assert child.wait(timeout=60) == -signal.SIGKILL
    assert not note.exists()
    assert not end_leftover(note)


def test_a_process_that_only_has_the_same_number_is_left_alone(tmp_path: Path) -> None:
    note = tmp_path / "running.json"
    child = subprocess.Popen(python("import time; time.sleep(60)"), start_new_session=True)
    try:
        for begun in (time.time() - 3600, time.time() + 3600):
            note.write_text(json.dumps({"session": child.pid, "begun": begun}))
            assert not end_leftover(note)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("text", ["", "{}", '{"session": "x", "begun": 1}', "[]"])
def test_a_note_that_cannot_be_read_ends_nothing(tmp_path: Path, text: str) -> None:
    note = tmp_path / "running.json"
    note.write_text(text)
    assert not end_leftover(note)


def test_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    """As an assembler says it below a compiler, ninja and upstream's script."""
    code = "import sys; print('x.o: No space left on device'); sys.exit(1)"
    run = LoggedRun(env=ENV, log=tmp_path / "04-compile.log")
    with pytest.raises(ResourceError, match="the disk is full") as caught:
        run([sys.executable, "-c", code])
    assert "finished steps are kept" in caught.value.hint
