"""The runner with a real onnxruntime, with one that crashes, and with one that computes wrongly."""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from filelock import FileLock, Timeout
from onnx import helper
from rich.console import Console

from verify.cli import parse
from verify.commands import differential as cli
from verify.differential import drive
from verify.differential.compare import compare
from verify.differential.families import generated_cases
from verify.differential.families.models import graph_case, node, op_case
from verify.differential.store import Case, Results, read_results, write_cases
from verify.differential.values import Absent, Items, Tensor, from_array, numbers
from verify.environment.wheel_file import WheelFile
from verify.errors import VerifyError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def run_all(cases: Sequence[Case], folder: Path, name: str) -> Results:
    write_cases(cases, folder / f"{name}-cases")
    journal = folder / f"{name}.jsonl"
    assert drive.run_wheel(Path(sys.executable), folder / f"{name}-cases", journal) == 0
    results = read_results(journal)
    assert len(results.outcomes) == len(cases)
    return results


def chosen(prefix: str) -> list[Case]:
    return [case for case in generated_cases() if case.id.startswith(prefix)]


def judged(case: Case, *expected: object) -> Case:
    values = tuple(from_array(np.asarray(value)) for value in expected)
    return dataclasses.replace(case, group="node", expected=values)


def test_outcomes_of_a_handful(tmp_path: Path) -> None:
    x = np.array([-2.0, np.nan, -0.0], np.float32)
    bfloat16 = Tensor(element=16, shape=(2,), data=b"\x80\x3f\xc0\x7f")
    cases = [
        judged(op_case("good", "Abs", [x]), np.array([2.0, np.nan, 0.0], np.float32)),
        judged(op_case("wrong", "Abs", [x]), np.array([2.0, np.nan, 0.1], np.float32)),
        judged(op_case("unknown", "NoSuchOperator", [x]), x),
        op_case("bad-shape", "Add", [x, np.zeros(2, np.float32)]),
        op_case("narrow", "Cast", [x], to=16),
        op_case("widened", "Cast", [bfloat16], to=1),
        op_case("text", "Cast", [np.array([1.5], np.float32)], to=8),
        op_case("parsed", "Cast", [np.array(["1.5"], dtype=object)], to=1),
        op_case("empty", "Abs", [np.zeros((2, 0), np.float32)]),
        graph_case("sequence", [node("SequenceConstruct", ["x", "x"], ["y"])], {"x": x}, ["y"]),
    ]
    outcomes = run_all(cases, tmp_path, "real").outcomes
    default = {name: runs["default"] for name, runs in outcomes.items()}
    assert {name for name, run in default.items() if run.status == "ok"} == {
        "good", "wrong", "narrow", "widened", "text", "parsed", "empty", "sequence",
    }  # fmt: skip
    assert [default[name].verdict for name in ("good", "wrong", "unknown", "narrow")] == [
        "passed", "failed", "error", "",
    ]  # fmt: skip
    assert default["unknown"].kind.startswith("load:")
    assert default["bad-shape"].kind.startswith("run:")
    narrow = default["narrow"].outputs[0][1]
    assert isinstance(narrow, Tensor)
    assert (narrow.type.name, len(narrow.data)) == ("bfloat16", 6)
    widened = default["widened"].outputs[0][1]
    assert isinstance(widened, Tensor)
    np.testing.assert_array_equal(numbers(widened), np.array([1.0, np.nan], np.float32))
    assert default["text"].outputs[0][1] == Tensor(element=8, shape=(1,), strings=("1.5",))
    assert default["empty"].outputs[0][1] == Tensor(element=1, shape=(2, 0))
    sequence = default["sequence"].outputs[0][1]
    assert isinstance(sequence, Items)
    assert sequence.items == (from_array(x), from_array(x))
    assert outcomes["good"]["single"] == default["good"]


def test_an_absent_optional_survives(tmp_path: Path) -> None:
    kind = helper.make_tensor_type_proto(1, None)
    made = node("Optional", [], ["y"], type=kind)
    case = graph_case("absent", [made], {}, ["y"])
    outcome = run_all([case], tmp_path, "optional").outcomes["absent"]["default"]
    assert outcome.status == "ok", outcome.message
    assert outcome.outputs[0][1] == Absent()


def test_a_wheel_against_itself_has_no_difference(tmp_path: Path) -> None:
    cases = chosen("binary/Min/float32/17") + chosen("reduce/ReduceSum/float32/5x33")
    assert len(cases) > 8
    first, second = (run_all(cases, tmp_path, name) for name in ("first", "second"))
    result = compare(cases, first, second)
    assert result.differences == ()
    assert result.sides["generated"].identical == 2 * len(cases)


def test_a_min_that_drops_nan_is_reported_by_name(tmp_path: Path) -> None:
    cases = [
        case
        for case in chosen("binary/Min/float32/")
        if case.id.endswith(("17+scalar/nan-left", "17+scalar/nan-right", "8+8/zeros"))
    ]
    assert len(cases) == 3
    sound = run_all(cases, tmp_path, "sound")
    broken = run_all([_dropping_nan(case) for case in cases], tmp_path, "broken")
    result = compare(cases, sound, broken)
    named = {item.case for item in result.differences if "NaN at" in item.detail}
    # NaN on the left is dropped when min is written as "left < right ? left : right".
    assert named == {"binary/Min/float32/17+scalar/nan-left"}
    check = result.check_results()[1]
    assert check.status == "failed"
    assert "binary/Min/float32/17+scalar/nan-left" in check.summary


def _dropping_nan(case: Case) -> Case:
    model = onnx.load_model_from_string(case.model)
    (only,) = model.graph.node
    left, right = only.input
    (output,) = only.output
    del model.graph.node[:]
    model.graph.node.extend(
        [node("Less", [left, right], ["less"]), node("Where", ["less", left, right], [output])]
    )
    return dataclasses.replace(case, model=model.SerializeToString())


FAKE = """
import os, signal, time
__version__ = "0"
class GraphOptimizationLevel: ORT_ENABLE_ALL = 99
class SessionOptions:
    def add_session_config_entry(self, key, value): pass
class OrtValue: pass
def set_seed(seed): pass
def get_build_info(): return "fake"
class InferenceSession:
    def __init__(self, model, sess_options, providers):
        if b"crash" in model: os.kill(os.getpid(), signal.SIGSEGV)
        if b"leave" in model: os._exit(7)
        if b"hang" in model: time.sleep(60)
        raise ValueError("fake")
"""


def python_with(folder: Path, text: str) -> Path:
    """Return a Python whose onnxruntime is this module."""
    (folder / "onnxruntime.py").write_text(text, encoding="utf-8")
    script = folder / "python"
    script.write_text(
        f'#!/bin/sh\nPYTHONPATH="{folder}:$PYTHONPATH" exec "{sys.executable}" "$@"\n',
        encoding="utf-8",
    )
    script.chmod(0o755)
    return script


def test_a_crash_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    python = python_with(tmp_path, FAKE)
    models = ["fine-1", "crash", "fine-2", "leave", "hang", "fine-3", "crash-last"]
    cases = [Case(id=name, group="generated", model=name.encode(), inputs=()) for name in models]
    cases[1] = dataclasses.replace(cases[1], group="node", expected=())
    write_cases(cases, tmp_path / "cases")
    crashes = drive.run_wheel(python, tmp_path / "cases", tmp_path / "out.jsonl", seconds=5)
    outcomes = read_results(tmp_path / "out.jsonl").outcomes
    assert crashes == 4
    assert list(outcomes) == models
    seen = {name: (runs["single"].status, runs["single"].kind) for name, runs in outcomes.items()}
    assert seen == {
        "fine-1": ("error", "load:ValueError"),
        "crash": ("crash", "SIGSEGV"),
        "fine-2": ("error", "load:ValueError"),
        "leave": ("crash", "exit code 7"),
        "hang": ("crash", "timeout"),
        "fine-3": ("error", "load:ValueError"),
        "crash-last": ("crash", "SIGSEGV"),
    }
    assert outcomes["crash"]["default"].verdict == "crash"


def test_a_wheel_that_cannot_be_imported_is_an_error_and_not_a_crash_per_case(
    tmp_path: Path,
) -> None:
    python = python_with(tmp_path, "raise ImportError('broken wheel')")
    write_cases([Case(id="a", group="generated", model=b"", inputs=())], tmp_path / "cases")
    with pytest.raises(VerifyError, match=r"the candidate wheel; .*broken wheel"):
        drive.run_wheels({"candidate": python}, cases=tmp_path / "cases", work=tmp_path)


def test_a_wheel_that_fails_ends_the_other_run(tmp_path: Path) -> None:
    for name in ("broken", "slow", "work"):
        (tmp_path / name).mkdir()
    models = [b"hang" + str(number).encode() for number in range(50)]
    fake = FAKE.replace("time.sleep(60)", "time.sleep(0.5)")
    write_cases(
        [Case(id=str(n), group="generated", model=m, inputs=()) for n, m in enumerate(models)],
        tmp_path / "cases",
    )
    pythons = {
        "official": python_with(tmp_path / "slow", fake),
        "candidate": python_with(tmp_path / "broken", "raise ImportError('broken wheel')"),
    }
    with pytest.raises(VerifyError, match="the candidate wheel"):
        drive.run_wheels(pythons, cases=tmp_path / "cases", work=tmp_path / "work")
    with pytest.raises(VerifyError, match="did not finish"):
        read_results(tmp_path / "work" / "official.jsonl")


def test_a_wheel_that_always_crashes_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive, "_MAX_CRASHES", 2)
    cases = [Case(id=f"{n}", group="generated", model=b"leave", inputs=()) for n in range(4)]
    write_cases(cases, tmp_path / "cases")
    with pytest.raises(VerifyError, match="more than 2 differential cases"):
        drive.run_wheel(python_with(tmp_path, FAKE), tmp_path / "cases", tmp_path / "out.jsonl")


def test_a_run_that_was_cut_off_is_not_read_as_finished(tmp_path: Path) -> None:
    journal = tmp_path / "out.jsonl"
    journal.write_text('{"begin": 0}\n{"id": "a", "ru', encoding="utf-8")
    with pytest.raises(VerifyError, match="did not finish"):
        read_results(journal)


def test_the_module_runs_as_a_program(tmp_path: Path) -> None:
    write_cases(chosen("unary/Relu/float32/17"), tmp_path / "cases")
    command = [sys.executable, "-m", "verify.differential.cases_inside"]
    good, bad = (
        subprocess.run(
            [*command, str(tmp_path / name), "0", str(tmp_path / f"{name}.jsonl"), "single"],
            capture_output=True, text=True, check=False,
        )
        for name in ("cases", "none")
    )  # fmt: skip
    assert (good.returncode, bad.returncode) == (0, 3)
    assert read_results(tmp_path / "cases.jsonl").outcomes
    assert "holds no differential cases" in bad.stderr
    assert "Traceback" not in bad.stderr


def _arguments(*given: str) -> argparse.Namespace:
    return parse(["differential", *given])


def test_the_command_without_its_archive_says_what_to_do(tmp_path: Path) -> None:
    missing = tmp_path / "onnx.tar.gz"
    with pytest.raises(VerifyError, match=r"no onnx source archive") as caught:
        cli.run(
            _arguments("w.whl", "--onnx-archive", str(missing), "--work", str(tmp_path)), Console()
        )
    assert caught.value.exit_code == 3
    assert "--onnx-archive" in caught.value.hint


@pytest.mark.parametrize("broken", [False, True])
def test_the_command_ends_in_0_or_1(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    broken: bool,
) -> None:
    x = np.array([-1.0], np.float32)

    def few(archive: Path | None) -> Iterator[Case]:
        yield judged(op_case("node/test_abs", "Abs", [x]), np.array([1.0], np.float32))
        yield op_case("unary/Neg/float32/1", "Neg", [x])

    def inspect(path: Path, manifest: object) -> WheelFile:
        return WheelFile(path=path, version="1.21.0", sha256=path.name, size=1)

    def python(wheel: WheelFile, work: Path, *, say: object) -> Path:
        with pytest.raises(Timeout):  # nobody else may make environments here meanwhile
            FileLock(tmp_path / "work" / "verify.lock").acquire(timeout=0)
        return Path(sys.executable)

    monkeypatch.setattr("verify.differential.drive.all_cases", few)
    monkeypatch.setattr(cli, "inspect_wheel", inspect)
    monkeypatch.setattr(cli, "make_candidate", python)
    if broken:
        monkeypatch.setattr("verify.differential.drive.read_results", _first_emptied())
    archive = tmp_path / "onnx.tar.gz"
    ours, theirs = tmp_path / "ours.whl", tmp_path / "theirs.whl"
    for each in (archive, ours, theirs):
        each.touch()
    code = cli.run(
        _arguments(
            str(ours), "--official", str(theirs), "--onnx-archive", str(archive),
            "--work", str(tmp_path / "work"),
        ),
        Console(stderr=True),
    )  # fmt: skip
    assert code == (1 if broken else 0)
    assert ("node/test_abs" in capsys.readouterr().out) is broken
    assert (tmp_path / "work" / "differential.json").is_file()


def _first_emptied() -> Callable[[Path], Results]:
    """Lose the official run's outcomes, as a defect would."""
    calls: list[Path] = []

    def read(journal: Path) -> Results:
        calls.append(journal)
        found = read_results(journal)
        return found if len(calls) > 1 else dataclasses.replace(found, outcomes={})

    return read
