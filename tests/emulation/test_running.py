"""Running cases and texts under an emulator: argv, crashes, exact products, what must fail."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.emulation import qemu, run
from tests.emulation.cases import CONFIGURATION, journal_position, run_cases
from tests.emulation.embeddings import Job, read_answers
from tests.emulation.errors import EmulationError
from tests.emulation.instructions import FAMILIES, count, family_of
from tests.emulation.kernels import kernel_cases
from tests.emulation.root import Emulator
from tests.emulation.wheels import inspect_name, known_platforms, pip_arguments
from verify.differential.cases_inside import run_case
from verify.differential.store import Case, record_crash, write_cases
from verify.differential.values import Tensor


class TestQemu:
    def test_the_argv_is_exactly_this(self) -> None:
        emulator = Emulator(home=Path("/cache/e"))
        profile = qemu.Profile(name="p", cpu="cortex-a76", meaning="", instructions=())
        root = "/cache/e/root"
        assert qemu.command(emulator, profile, ["-c", "1"], trace=Path("/t")) == [
            "/cache/e/host/usr/bin/qemu-aarch64-static", "-L", root, "-cpu", "cortex-a76",
            "-d", "in_asm", "-D", "/t", f"{root}/usr/bin/python3.11", "-c", "1",
        ]  # fmt: skip
        assert "-d" not in qemu.command(emulator, profile, [])

    def test_nothing_of_this_machine_leaks_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("LD_PRELOAD", "QEMU_CPU", "PYTHONHOME"):
            monkeypatch.setenv(name, "leak")
        env = qemu.environment(Path("/a"), Path("/b"))
        assert env["PYTHONPATH"] == "/a:/b"
        assert "leak" not in env.values()

    def test_profiles_differ_in_what_they_must_reach(self) -> None:
        wanted = [set(profile.instructions) for profile in qemu.PROFILES]
        assert all(wanted)
        assert not set.intersection(*wanted)
        assert set.union(*wanted) <= FAMILIES.keys()

    @pytest.mark.parametrize(
        ("code", "patience", "how"),
        [
            ("print('hello')", 600, ""),
            ("raise SystemExit(7)", 600, "exit code 7"),
            ("import os; os.kill(os.getpid(), 4)", 600, "an illegal instruction"),
            ("while True: pass", 1, "no progress"),
            ("import time; time.sleep(600)", 0.5, "no progress in 10 s"),
        ],
    )
    def test_how_a_process_ended(
        self, tmp_path: Path, code: str, patience: float, how: str
    ) -> None:
        log = tmp_path / "log"
        lines: list[str] = []
        ended = qemu.run(
            [sys.executable, "-c", code],
            {},
            log=log,
            still=lambda: log.stat().st_size,
            patience=patience,
            line=lines.append,
        )
        assert ended.how == how or (how == "no progress" and ended.how.startswith(how))
        assert lines == (["hello"] if not how else [])

    def test_a_run_that_is_cancelled_ends_its_process(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        cancel = threading.Event()
        cancel.set()
        began = time.monotonic()
        with pytest.raises(EmulationError, match="interrupted"):
            qemu.run(
                [sys.executable, "-c", "import time; time.sleep(600)"],
                {},
                log=log,
                still=lambda: 0,
                patience=600,
                cancel=cancel,
            )
        assert time.monotonic() - began < 300


class TestWheels:
    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("onnxruntime-1.21.0-cp311-cp311-manylinux_2_28_x86_64.whl", "not for linux-aarch64"),
            ("onnxruntime-1.21.0-cp311-cp311-macosx_13_0_arm64.whl", "not for linux-aarch64"),
            ("onnxruntime-1.21.0-cp312-cp312-manylinux_2_28_aarch64.whl", "CPython 3.11"),
            ("numpy-1.0-cp311-cp311-manylinux_2_28_aarch64.whl", "wheel of numpy"),
            ("onnxruntime-1.21.0-cp311-cp311-manylinux_2_39_aarch64.whl", "newer glibc"),
            ("onnxruntime.whl", "not the name of a wheel"),
        ],
    )
    def test_other_wheels_are_refused(self, tmp_path: Path, name: str, problem: str) -> None:
        path = tmp_path / name
        path.touch()
        with pytest.raises(EmulationError, match=problem):
            inspect_name(path)

    def test_the_name_tells_version_and_platforms(self, tmp_path: Path) -> None:
        path = tmp_path / "onnxruntime-1.21.0+ortmill.1-cp311-cp311-manylinux_2_28_aarch64.whl"
        path.touch()
        wheel = inspect_name(path)
        assert (wheel.version, wheel.base_version) == ("1.21.0+ortmill.1", "1.21.0")
        assert wheel.platforms == ("manylinux_2_28_aarch64",)

    def test_pip_is_asked_for_the_foreign_platform_alone(self) -> None:
        words = pip_arguments(known_platforms())
        given_ = [words[n + 1] for n, word in enumerate(words) if word == "--platform"]
        assert "manylinux_2_28_aarch64" in given_
        assert "manylinux2014_aarch64" in given_
        assert all(item.endswith("_aarch64") for item in given_)
        assert "manylinux_2_37_aarch64" not in given_  # newer than Debian 12's glibc


#: Words as an assembler gives them for v0, v1, v2 (and lane 0).
WORDS = {
    0x4E829420: "sdot", 0x4F82E020: "sdot", 0x6E829420: "udot", 0x6F82E020: "udot",
    0x4E82A420: "smmla", 0x6E82A420: "ummla", 0x4E82AC20: "usmmla", 0x6E42EC20: "bfmmla",
    0x4E22CC20: "fmla.4s", 0x4F821020: "fmla.4s", 0x4E420C20: "fmla.8h", 0x4F021020: "fmla.8h",
    0xD65F03C0: None, 0x4EA28420: None, 0x4E228420: None,
}  # fmt: skip


class TestInstructions:
    def test_words_belong_to_their_families(self) -> None:
        assert {word: family_of(word) for word in WORDS} == WORDS

    def test_a_log_is_counted_whatever_its_disassembler_knows(self) -> None:
        log = (
            b"----------------\nIN: MlasGemm\n"
            b"0x5501093dc8:  d65f03c0  ret      \n"
            b"0x5501093dcc:  4e82a420  .byte    0x20, 0xa4, 0x82, 0x4e\n"
            b"0x5501093dd0:  4e82a420  smmla    v0.4s, v1.16b, v2.16b\n"
        )
        found = count(log.splitlines(keepends=True))
        assert found["smmla"] == 2
        assert sum(found.values()) == 2


class TestKernels:
    def test_every_case_expects_something_and_no_two_are_alike(self) -> None:
        cases = list(kernel_cases())
        assert len({case.id for case in cases}) == len(cases)
        assert all(case.expected and case.rtol == case.atol == 0.0 for case in cases)
        kinds = {case.id.split("/")[1] for case in cases}
        assert kinds == {"MatMulInteger", "MatMul", "MatMulNBits", "Conv"}

    def test_another_processor_agrees(self) -> None:
        # Signed products are left out: kernels of this machine may saturate them.
        chosen = [c for c in kernel_cases() if "int8" not in c.id or "/uint8-uint8/" in c.id]
        some = [c for c in chosen if "float16" not in c.id][::11]
        outcomes = {case.id: run_case(case, CONFIGURATION) for case in some}
        assert len({case.split("/")[1] for case in outcomes}) == 4
        wrong = {case: item.detail or item.message for case, item in outcomes.items()
                 if item.verdict != "passed"}  # fmt: skip
        assert not wrong

    def test_one_wrong_lane_shows(self) -> None:
        case = next(kernel_cases())
        assert case.expected is not None
        (tensor,) = case.expected
        assert isinstance(tensor, Tensor)
        off = (np.frombuffer(tensor.data, dtype=np.int32) + 1).tobytes()
        wrong = replace(case, expected=(replace(tensor, data=off),))
        assert run_case(wrong, "default").verdict == "failed"


FAKE_QEMU = f"""#!/bin/sh
while [ "${{1##*/}}" != python3.11 ]; do shift; done
shift
exec "{sys.executable}" "$@"
"""
FAKE_ORT = """
import os, signal
__version__ = "1.21.0"
class GraphOptimizationLevel: ORT_ENABLE_ALL = 99
class SessionOptions:
    def add_session_config_entry(self, key, value): pass
class InferenceSession:
    def __init__(self, model, sess_options=None, providers=None):
        if model == b"illegal": os.kill(os.getpid(), signal.SIGILL)
    def get_inputs(self): return []
    def get_outputs(self): return []
    def run_with_ort_values(self, names, feeds): return []
def set_seed(seed): pass
def get_build_info(): return "fake"
"""


@pytest.fixture
def pretender(tmp_path: Path) -> Emulator:
    """An "emulator" that runs this Python, and a site with an onnxruntime made for tests."""
    emulator = Emulator(home=tmp_path / "emulator")
    emulator.qemu.parent.mkdir(parents=True)
    emulator.qemu.write_text(FAKE_QEMU, encoding="utf-8")
    emulator.qemu.chmod(stat.S_IRWXU)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "onnxruntime.py").write_text(FAKE_ORT, encoding="utf-8")
    return emulator


def empty_case(name: str, model: bytes) -> Case:
    return Case(id=name, group="node", model=model, inputs=(), expected=())


class TestCases:
    def test_a_case_that_ends_the_process_is_recorded_and_the_rest_runs(
        self, tmp_path: Path, pretender: Emulator
    ) -> None:
        models = {"a": b"good", "b": b"illegal", "c": b"good", "d": b"illegal"}
        write_cases([empty_case(*item) for item in models.items()], tmp_path / "cases")
        said: list[str] = []
        results = run_cases(
            pretender, qemu.PROFILES[0], site=(tmp_path / "site",), cases=tmp_path / "cases",
            journal=tmp_path / "j.jsonl", label="fake", say=said.append,
        )  # fmt: skip
        verdicts = {name: runs[CONFIGURATION].verdict for name, runs in results.outcomes.items()}
        assert verdicts == {"a": "passed", "b": "crash", "c": "passed", "d": "crash"}
        assert results.outcomes["b"][CONFIGURATION].kind == "an illegal instruction"
        assert len(said) == 2

    def test_a_wheel_that_cannot_start_is_no_row_of_crashes(
        self, tmp_path: Path, pretender: Emulator
    ) -> None:
        (tmp_path / "site" / "numpy.py").write_text("raise SystemExit('no numpy here')")
        write_cases([empty_case("a", b"good")], tmp_path / "cases")
        with pytest.raises(EmulationError) as caught:
            run_cases(
                pretender, qemu.PROFILES[0], site=(tmp_path / "site",), cases=tmp_path / "cases",
                journal=tmp_path / "j.jsonl", label="fake", say=print,
            )  # fmt: skip
        assert "before its first case" in caught.value.problem
        assert "no numpy here" in caught.value.context["it said"]

    def test_the_journal_tells_where_a_run_is(self, tmp_path: Path) -> None:
        journal = tmp_path / "j.jsonl"
        journal.write_text('{"begin": 4}\n{"id": "x", "runs": {}}\n{"begin": 5}\n{"id": "y", "ru')
        assert journal_position(journal) == 5
        record_crash(journal, empty_case("y", b""), "SIGILL", [CONFIGURATION])
        rows = [json.loads(line) for line in journal.read_text().splitlines()]
        assert rows[-1]["runs"][CONFIGURATION]["verdict"] == "crash"
        assert rows[-2] == {"begin": 5}


class TestAnswers:
    def job(self, tmp_path: Path, states: list[np.ndarray]) -> tuple[Job, Path]:
        """Two texts of one and two tokens alone, then both together with one padded place."""
        ids = [np.array([[1]]), np.array([[1, 2]]), np.array([[1, 0], [1, 2]])]
        mask = [np.array([[1]]), np.array([[1, 1]]), np.array([[1, 0], [1, 1]])]
        np.savez(
            tmp_path / "job.npz",
            **{f"ids_{n}": row for n, row in enumerate(ids)},
            **{f"mask_{n}": row for n, row in enumerate(mask)},
        )
        np.savez(tmp_path / "out.npz", **{f"states_{n}": row for n, row in enumerate(states)})
        expected = np.array([[1, 0], [0, 1]], dtype=np.float32)
        job = Job(
            path=tmp_path / "job.npz", graph=tmp_path / "g", alone={0: 0, 1: 1}, together=(0, 1),
            names=("first", "second"), expected=expected,
        )  # fmt: skip
        return job, tmp_path / "out.npz"

    def test_right_answers_have_cosine_one(self, tmp_path: Path) -> None:
        one, two = [[2.0, 0.0]], [[0.0, 1.0], [0.0, 3.0]]
        states = [np.array([one], np.float32), np.array([two], np.float32)]
        # The padded place holds what must not count.
        states.append(np.array([[[2.0, 0.0], [9.0, 9.0]], two], np.float32))
        found = read_answers(*self.job(tmp_path, states))
        assert [item.way for item in found] == ["one by one", "short ones together, padded"]
        assert [item.cosine for item in found] == [1.0, 1.0]

    def test_a_wrong_answer_names_its_text(self, tmp_path: Path) -> None:
        one, two = [[2.0, 0.0]], [[0.1, 1.0], [0.0, 3.0]]
        states = [np.array([one], np.float32), np.array([two], np.float32)]
        states.append(np.array([[[2.0, 0.0], [9.0, 9.0]], two], np.float32))
        found = read_answers(*self.job(tmp_path, states))
        assert found[0].cosine < 0.9999
        assert found[0].worst_text == "second"


class TestCommand:
    def test_without_a_wheel_the_one_that_was_built_is_taken(self, tmp_path: Path) -> None:
        with pytest.raises(EmulationError, match="holds 0 for linux-aarch64") as lacking:
            run.built_wheel(tmp_path)
        assert "nox -s build -- --platform linux-aarch64" in lacking.value.hint
        wheel = tmp_path / "onnxruntime-1.21.0-cp311-cp311-manylinux_2_28_aarch64.whl"
        for name in (wheel.name, wheel.name.replace("aarch64", "x86_64")):
            (tmp_path / name).touch()
        assert run.built_wheel(tmp_path) == wheel
        (tmp_path / wheel.name.replace("1.21.0", "1.21.1")).touch()
        with pytest.raises(EmulationError, match="holds 2"):
            run.built_wheel(tmp_path)

    def test_a_wheel_for_this_machine_could_not_run(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "onnxruntime-1.21.0-cp311-cp311-manylinux_2_28_x86_64.whl"
        path.touch()
        assert run.main([str(path), "--work", str(tmp_path)]) == 3
        said = capsys.readouterr().err
        assert "not for linux-aarch64" in said
        assert "Traceback" not in said

    def test_another_host_is_told_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(run.platform, "machine", lambda: "aarch64")
        with pytest.raises(EmulationError) as caught:
            run.refuse_other_hosts()
        assert "verify run" in caught.value.hint

    def test_help_is_quick_and_names_the_exit_codes(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "tests.emulation.run", "--help"],
            capture_output=True, text=True, check=True, cwd=qemu.REPOSITORY,
        )  # fmt: skip
        assert "3 it could not run" in done.stdout

    def test_signals_have_names(self) -> None:
        assert qemu.how_it_ended(-signal.SIGILL) == "an illegal instruction"
        assert qemu.how_it_ended(-signal.SIGKILL) == "signal 9"
