"""What is typed after `nox -s SESSION --` wrongly ends in one sentence, before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import references
from tests.bench import gate_error, patches
from tests.bridge import __main__ as bridge
from tests.rehearsal import run as rehearsal
from tests.rehearsal_mac import run as rehearsal_mac

PYTHONS = ("--build-python", "none", "--verify-python", "none")
REFUSED = [
    (bridge, ("soak", "--requests", "0"), "--requests is a number from 1 on"),
    (bridge, ("soak", "--kills", "-1"), "--kills is a number from 0 on"),
    (bridge, ("latency", "--rounds", "0"), "--rounds is a number from 1 on"),
    (bridge, ("latency", "--pause", "nan"), "--pause is a number from 0 on"),
    (bridge, ("load", "--calls", "-3"), "--calls is a number from 1 on"),
    (
        patches,
        ("cost", "--rounds", "0", *PYTHONS[:2]),
        "--rounds and --drawn are numbers from 1 on",
    ),
    (gate_error, ("--runs", "0"), "--runs, --sizes, --looks and --workers are numbers from 1 on"),
    (gate_error, ("--looks", "0"), "--runs, --sizes, --looks and --workers are numbers from 1 on"),
    (gate_error, ("--only", "no such case"), "--only 'no such case' leaves none of the cases"),
    (references, ("--lengths", "0"), "--lengths are numbers from 1 on"),
    (rehearsal, (*PYTHONS, "--against", "none"), "--against: there is no folder none"),
]


@pytest.mark.parametrize(("command", "words", "sentence"), REFUSED)
def test_words_that_show_nothing_are_refused(
    command: object, words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(list(words))  # type: ignore[attr-defined]
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("usage: nox -s ")
    assert f"error: {sentence}" in said


def test_the_bridge_names_the_build_where_there_is_no_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bridge, "ROOT", tmp_path)
    assert bridge.main(["soak"]) == bridge.NOT_RUN
    assert capsys.readouterr().err == (
        f"the bridge could not be tried: there is no wheel in {tmp_path / 'wheels'}; "
        "run `nox -s build`\n"
    )


def test_a_model_that_nobody_has_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--home", str(tmp_path), "--model", "minilm", "--models", str(tmp_path), "soak"]
    assert bridge.main(words) == bridge.NOT_RUN
    assert references.main(["--model", "minilm"]) == bridge.NOT_RUN
    assert capsys.readouterr().err.count('There is no model recipe called "minilm"') == 2


def test_a_macs_wheel_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = tmp_path / "onnxruntime-none.whl"
    assert rehearsal_mac.main([*PYTHONS, "--wheel", str(wheel)]) == 1
    assert f"there is no wheel {wheel}" in capsys.readouterr().out
