"""A work directory is one verification's at a time."""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Event, Thread

import pytest

from verify.environment import venv
from verify.environment.venv import locked
from verify.errors import CannotWrite, EnvironmentFailed, VerifyError


def test_a_second_verification_says_that_it_waits(tmp_path: Path) -> None:
    said: list[str] = []
    waits, entered = Event(), Event()

    def say(text: str) -> None:
        said.append(text)
        waits.set()

    def second() -> None:
        with locked(tmp_path / "work", say=say):
            entered.set()

    thread = Thread(target=second)
    with locked(tmp_path / "work", say=said.append):
        thread.start()
        assert waits.wait(100)
        assert not entered.is_set()
    thread.join(100)
    assert entered.is_set()
    assert said == [f"waiting for another verification in {tmp_path / 'work'} to end"]


@pytest.mark.parametrize(
    ("said", "raised"),
    [
        (
            "print('ERROR: [Errno 28] No space left on device', file=sys.stderr); exit(1)",
            CannotWrite,
        ),
        ("print('ERROR: no such version', file=sys.stderr); exit(1)", EnvironmentFailed),
    ],
)
def test_dependencies_that_are_not_whole_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, raised: type[VerifyError]
) -> None:
    """A half installation is of no use, and it may be what has filled the disk."""
    program = tmp_path / "python"
    program.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\n"
        f"site = pathlib.Path(sys.argv[sys.argv.index('--target') + 1])\n"
        f"site.mkdir()\n(site / 'half').touch()\nsys.exit({said!r})\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(venv.sys, "executable", str(program))
    with pytest.raises(raised):
        venv.make_locked("target", tmp_path / "work", say=lambda text: None)
    assert not list((tmp_path / "work" / "venvs").glob("base-*"))
