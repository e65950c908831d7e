"""A wheel by name and version is fetched for this host; anything else is a file or refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from verify.cli import main
from verify.environment import named
from verify.environment.wheel_file import WheelFile
from verify.errors import WheelNotUsable


def quiet(line: str) -> None:
    pass


def test_one_version_is_fetched_for_this_host_and_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    def fetch(like: str, work: Path, **_: Any) -> WheelFile:
        asked.append(like)
        return WheelFile(path=work / like, version="1.32.0", sha256="0" * 64, size=1)

    monkeypatch.setattr(named, "fetch_official", fetch)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    path = named.fetch_named("onnxruntime == 1.32.0", tmp_path, say=quiet)
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert path.name == f"onnxruntime-1.32.0-{tag}-{tag}-manylinux_2_28_x86_64.whl"
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    named.fetch_named("onnxruntime==1.32.0", tmp_path, say=quiet)
    assert asked[-1].endswith("-macosx_14_0_arm64.whl")


@pytest.mark.parametrize(
    "text", ["onnxruntime>=1.20", "onnxruntime==1.*", "numpy==2.0", "onnxruntime==1.2 =="]
)
def test_what_names_no_single_version_is_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WheelNotUsable) as caught:
        named.fetch_named(text, tmp_path, say=quiet)
    assert "onnxruntime==1.32.0" in caught.value.hint
    assert main(["run", text, "--work", str(tmp_path)]) == 3
    assert "Traceback" not in capsys.readouterr().err


def test_a_file_stays_a_file(tmp_path: Path) -> None:
    assert named.named(None) is None
    assert named.named(tmp_path / "x.whl") is None
    odd = tmp_path / "a==b"
    odd.touch()
    assert named.named(odd) is None
