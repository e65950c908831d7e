"""The command line: exit codes, messages, and nothing but JSON on standard output."""

from __future__ import annotations

import difflib
import errno
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.tags import Tag

from tests.kit.verify_examples import TAG, manifest, wheel
from verify import cli
from verify.checks.table import CHECKS
from verify.cli import main
from verify.commands import checks
from verify.encoder.model_recipe import file_sha256
from verify.environment import wheel_file
from verify.environment.wheel_file import inspect_wheel, refuse_foreign_tags
from verify.errors import WheelNotUsable

ROOT = Path(__file__).resolve().parents[2]
MINE = [Tag("cp311", "cp311", "linux_x86_64"), Tag("py3", "none", "any")]


@pytest.fixture(autouse=True)
def _this_interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(wheel_file, "sys_tags", lambda: iter(MINE))
    monkeypatch.chdir(tmp_path)


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(list(argv))
    found = capsys.readouterr()
    return code, found.out, " ".join(found.err.split())


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("frobnicate",),
        ("run", "--no-such-option"),
        ("run", "--adaptive", "soon"),
        ("run", "--budget-ms", "0"),
        ("run", "--skip", "memory.growth"),
        ("run", "--only", "latncy.p95"),
        ("run", "-k", "nothing-is-called-so"),
        ("run", "--policy", "linus"),
        ("judge", "none.json", "--policy", "linux"),
        ("compare", "a.json", "b.json"),
        ("report", "none.json"),
    ],
)
def test_wrong_usage_exits_3_with_a_hint_and_no_traceback(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...]
) -> None:
    code, out, err = run(capsys, *argv)
    assert code == 3
    assert out == ""
    assert "hint:" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--max-length", "-5"),
        ("frontier", "--rounds", "0"),
        ("frontier", "--tokens", "0"),
        ("beside", "--batch", "0"),
        ("conversion", "--cases", "0"),
        ("model", "--layers", "0"),
    ],
)
def test_a_number_that_counts_nothing_is_refused_before_anything_is_made(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, said = run(capsys, *words)
    assert code == 3
    assert f"Argument {words[1]}: {words[2]} is below 1." in said


def test_help_teaches_examples_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (("--help",), ("run", "--help")):
        code, out, _ = run(capsys, *argv)
        assert code == 0
        assert "examples:" in out
        assert "inconclusive" in out


def test_no_wheel(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "run")
    assert code == 3
    assert "nox -s build" in err


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "run", "--debug")
    assert code == 3
    assert "Traceback" in err


def test_a_wheel_that_is_not_the_manifests(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = wheel(tmp_path)
    manifest(tmp_path)
    code, _, err = run(capsys, "run", str(path))
    assert code == 3
    assert "is not the wheel that" in err


def test_no_model_says_how_to_fetch_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = run(capsys, "run", str(wheel(tmp_path)))
    assert code == 3
    assert "python -m build fetch-model all-minilm-l6-v2" in err


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["model"], [("all-minilm-l6-v2", Path(".work"))]),
        (["model", "--work", "w", "--model", "gte-small"], [("gte-small", Path("w"))]),
        (["model", "--models", "folder"], []),
        (["run", "WHEEL"], [("all-minilm-l6-v2", Path(".work"))]),
        (["run", "WHEEL", "--models", "folder"], []),
        # Without a wheel nothing is fetched for it.
        (["run"], []),
    ],
)
def test_who_calls_may_bring_the_model(
    tmp_path: Path, words: list[str], asked: list[tuple[str, Path]]
) -> None:
    found: list[tuple[str, Path]] = []
    path = str(wheel(tmp_path))
    given = [path if word == "WHEEL" else word for word in words]
    # It brings nothing here, so the files are still missing.
    assert main(given, bring=lambda model, work: found.append((model, work))) == 3
    assert found == asked


def test_a_manifest_without_its_parts(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    manifest(tmp_path / "wheels", commit="", recipe={})
    code, _, err = run(capsys, "run")
    assert code == 3
    assert "lacks commit, recipe.digest" in err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("onnxruntime-1.21.0-cp312-cp312-linux_x86_64.whl", "a wheel for CPython 3.12"),
        ("onnxruntime-1.21.0-cp311-cp311-macosx_13_0_arm64.whl", "another platform (macosx_13"),
        ("onnxruntime-1.21.0-cp312-cp312-macosx_13_0_arm64.whl", "a wheel for CPython 3.12"),
        ("numpy-2.0.0-cp311-cp311-linux_x86_64.whl", "a wheel of numpy"),
        ("onnxruntime.whl", "not the name of a wheel"),
    ],
)
def test_wheels_for_others_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, said: str
) -> None:
    code, _, err = run(capsys, "run", str(wheel(tmp_path, name)), "--policy", "linux")
    assert code == 3
    assert said in err


def test_a_wheel_of_another_version_than_the_manifest(tmp_path: Path) -> None:
    path = wheel(tmp_path, f"onnxruntime-1.22.0-{TAG}.whl")
    with pytest.raises(
        WheelNotUsable, match=r"1\.22\.0, but the manifest beside it describes 1\.21\.0"
    ):
        inspect_wheel(path, {"version": "1.21.0"})


def test_a_damaged_wheel(tmp_path: Path) -> None:
    path = wheel(tmp_path)
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    for damaged in (bytes(content), bytes(content[:100]), b""):
        path.write_bytes(damaged)
        with pytest.raises(WheelNotUsable, match="damaged"):
            inspect_wheel(path, None)


def test_a_good_wheel_is_described(tmp_path: Path) -> None:
    path = wheel(tmp_path)
    digest = file_sha256(path)
    found = inspect_wheel(path, {"version": "1.21.0", "wheel": {"sha256": digest}})
    assert (found.version, found.sha256) == ("1.21.0", digest)


def test_another_wheel_than_the_manifest_describes(tmp_path: Path) -> None:
    path = wheel(tmp_path)
    with pytest.raises(WheelNotUsable, match="not the wheel that the manifest beside it") as found:
        inspect_wheel(path, {"version": "1.21.0", "wheel": {"sha256": "0" * 64}})
    assert found.value.context == {"manifest": "0" * 64, "found": file_sha256(path)}


def test_a_wheel_of_any_matching_tag_is_taken() -> None:
    refuse_foreign_tags("x.whl", {MINE[0], Tag("cp312", "cp312", "win_amd64")}, MINE)


def test_checks_lists_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "checks", "--json")
    assert code == 0
    assert [entry["id"] for entry in json.loads(out)["checks"]] == [check.id for check in CHECKS]
    code, out, _ = run(capsys, "checks")
    assert all(check.id in out for check in CHECKS)


def test_the_module_runs_and_returns_the_code(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "verify", "run", "--work", str(tmp_path / "w")],
        capture_output=True,
        text=True,
        cwd=ROOT / "docs",
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        check=False,
    )
    assert done.returncode == 3
    assert done.stdout == ""


def test_locks_pin_hashes_and_name_no_host() -> None:
    for name in ("target", "official"):
        text = (ROOT / "verify" / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
        pins = [line for line in text.splitlines() if "==" in line and not line.startswith(" ")]
        assert pins
        assert all(line.endswith("\\") for line in pins)
        assert "://" not in text
        assert "index-url" not in text
        assert ("onnxruntime" in text) == (name == "official")


@pytest.mark.parametrize("words", [["checks"], ["checks", "--json"]])
def test_output_that_nobody_reads_ends_quietly(words: list[str]) -> None:
    """``… | head -1``: no fault of ours, and no 0 for a verdict that was not written."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "verify", *words],
        cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_full_disk_is_the_machines_and_no_fault_of_ours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/somewhere/x.onnx")

    monkeypatch.setattr(cli, "command", lambda _: replace(checks.COMMAND, run=full))
    code, _, err = run(capsys, "checks")
    assert code == 3
    assert err == (
        "disk: No space left on device: /somewhere/x.onnx. hint: free some space; --work DIR "
        "names another work directory"
    )


@pytest.mark.parametrize(
    ("argv", "meant", "where"),
    [
        (("run", "--quik"), "--quick", "run"),
        (("run", "--qui"), "--quick", "run"),
        (("conversion", "--minimum"), "--minimum-os", "conversion"),
        (("conversion", "--minimum_os=13.3"), "--minimum-os", "conversion"),
    ],
)
def test_a_misspelt_option_is_told_what_was_meant_by_its_own_command(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], meant: str, where: str
) -> None:
    code, _, err = run(capsys, *argv)
    assert code == 3
    assert f'Unrecognized arguments: {argv[1]} (did you mean "{meant}"?)' in err
    assert f"`python -m verify {where} --help`" in err


def test_a_variable_that_held_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "run", "X.whl", "")
    assert code == 3
    assert 'Unrecognized arguments: "".' in err


@pytest.mark.parametrize("word", ["--wheel", "--hep", "--halp", "--limit", "--from", "--zzz"])
@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_what_is_only_vaguely_alike_is_not_named_and_never_the_help(
    capsys: pytest.CaptureFixture[str], command: str, word: str
) -> None:
    code, _, err = run(capsys, command, word, "x")
    assert code == 3
    assert 'did you mean "--help"' not in err
    for meant in re.findall('did you mean "--(.*?)"', err):
        assert difflib.SequenceMatcher(None, word.strip("-"), meant).ratio() >= 0.7


@pytest.mark.parametrize("command", ["run", "conversion", "tune"])
def test_a_wheel_given_as_an_option_is_told_how(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    code, _, err = run(capsys, command, "--wheel", "x.whl")
    assert code == 3
    assert "--wheel (give the wheel as a word by itself, without --wheel)." in err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("run", "onnxruntime=1.21.0"), "onnxruntime=1.21.0 is no name and version"),
        (("run", "onnxruntime"), "onnxruntime does not name one version"),
        (("run", "dir/onnxruntime-1.21.0-cp311-cp311-any.whl"), "There is no wheel at dir/onnx"),
        (("coverage", "--model", "minilm"), 'There is no model recipe called "minilm".'),
    ],
)
def test_what_is_not_there_is_the_first_thing_told(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], said: str
) -> None:
    code, _, err = run(capsys, *argv)
    assert code == 3
    assert said in err
    assert err.index(said) < 20
    if "recipe" in said:
        assert "all-minilm-l6-v2" in err
