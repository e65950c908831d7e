"""The meters, on real processes: one that is stopped, one that shares its only core."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from verify.latency import calibration, machine
from verify.latency.calibration import CalibrationProcess, loops
from verify.latency.meter_inside import Meter, peak_mib

ROOT = Path(__file__).resolve().parents[3]
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}
LINUX = sys.platform.startswith("linux")
SAMPLE = """\
import json, os, select, sys, time
from verify.latency.meter_inside import Meter, peak_mib
if sys.argv[1:]: os.sched_setaffinity(0, {int(sys.argv[1])})
meter = Meter()
before = meter.read()
print("begun", flush=True)
began, seen = time.perf_counter(), 0
# For half a second of its own, and until nobody will stop it any more.
while (used := time.process_time()) < 30:
    if used > 0.5 and select.select([sys.stdin], [], [], 0)[0]: break
    if meter._stops > seen: print("continued", seen := seen + 1, flush=True)
wall = time.perf_counter() - began
meter.keep(before)
print(json.dumps({**meter.take(), "wall": wall}), flush=True)
"""


def sampling(*arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SAMPLE, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENV,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def test_a_stop_is_counted() -> None:
    process = sampling()
    for number in (1, 2):
        time.sleep(0.1)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        process.send_signal(signal.SIGCONT)
        # Two that come before it has run again are one.
        assert process.stdout is not None
        assert process.stdout.readline() == f"continued {number}\n"
    out, _ = process.communicate(timeout=120)
    found = json.loads(out)
    assert found["stops"] == [2]
    assert found["processor"][0] < (found["wall"] - 0.15) * 1e9


@pytest.mark.skipif(not LINUX, reason="only Linux tells how long a thread stood in a run queue")
def test_a_neighbour_on_the_only_core_shows_as_delay_and_as_switches() -> None:
    core = sorted(os.sched_getaffinity(0))[0]
    hog = subprocess.Popen(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"]
    )
    try:
        out, _ = sampling(str(core)).communicate(timeout=120)
    finally:
        hog.kill()
        hog.wait()
    found = json.loads(out)
    assert found["delay"][0] > 0.1e9
    assert found["switches"][0] > 0


def test_a_host_without_task_files_tells_no_delay(tmp_path: Path) -> None:
    meter = Meter(tasks=tmp_path / "none")
    meter.keep(meter.read())
    assert meter.take()["delay"] == [None]
    assert meter.take()["delay"] == []


def test_the_loop_does_the_same_work_in_a_process_of_its_own(tmp_path: Path) -> None:
    with CalibrationProcess(tmp_path) as process:
        answers = [process.time() for _ in range(5)]
    assert all(each["processor"] > 1e6 for each in answers)
    assert min(a["processor"] for a in answers) < 4 * next(loops({}))["processor"]


def test_a_loop_that_was_lost_judges_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    monkeypatch.setattr(calibration.sys, "executable", str(python))
    with CalibrationProcess(tmp_path) as process:
        assert process.time() == {}


def test_other_programs_are_told_from_ours() -> None:
    before = machine.read_counters()
    ours = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.6)
        seen = machine.between(before, machine.read_counters())
    finally:
        ours.kill()
        ours.wait()
    assert not any("test_other" in each for each in seen.busiest)
    used = psutil.cpu_count() or 1
    assert 0 <= seen.others <= used
    assert seen.seconds >= 0.6
    assert seen.to_json()["load"] >= 0


def test_programs_that_ended_meanwhile_are_named_as_that() -> None:
    """A build beside the measurement is hundreds of compilers, of which the end shows two."""
    before = machine.Counters(
        clock=0.0, busy=10.0, stolen=None, pressure=None, throttled=None, others={(1, "make"): 2.0}
    )
    after = replace(before, clock=10.0, busy=27.0, others={(1, "make"): 3.0, (2, "cc1plus"): 4.0})
    assert machine.between(before, after).busiest == (
        "programs that came and went (1.20 cores)",
        "cc1plus (0.40 cores)",
        "make (0.10 cores)",
    )


def test_the_share_of_other_programs_is_what_neither_idles_nor_is_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    readings = iter([(100.0, 40.0, 9.0), (102.0, 41.0, 10.2), (100.0, 40.0, 9.0), (100.1, 41, 9)])
    monkeypatch.setattr("verify.latency.machine._others", lambda: next(readings))
    monkeypatch.setattr("psutil.cpu_count", lambda: 2)
    assert machine.others_share()() == pytest.approx((4 - 1 - 1.2) / 4)
    assert machine.others_share()() == 0.0  # ticks of 10 ms: more than the whole while was idle


def test_a_machine_is_alone_only_where_nothing_says_otherwise() -> None:
    quiet = machine.Machine(
        seconds=10.0, others=0.02, stolen=0.0, pressure=0.5, throttled=0.0, load=2.0,
        frequency_mhz=None, busiest=(), limits="",
    )  # fmt: skip
    assert quiet.alone
    for change in ({"others": 0.2}, {"stolen": 0.05}, {"throttled": 1.0}):
        assert not machine.Machine(**{**quiet.to_json(), **change}).alone


@pytest.mark.skipif(not LINUX, reason="macOS counts a program from its own start")
def test_the_peak_is_that_of_the_program_and_not_of_who_started_it() -> None:
    held = np.ones(40_000_000)  # 305 MiB, which a child shares until it starts its program
    code = "from verify.latency.meter_inside import peak_mib; print(peak_mib())"
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENV
    )
    assert peak_mib() > held.nbytes / 2**20
    assert 5 < float(child.stdout) < 200
