"""A work directory is one verification's at a time."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Thread

from verify.environment.venv import locked


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
        assert waits.wait(30)
        assert not entered.is_set()
    thread.join(30)
    assert entered.is_set()
    assert said == [f"waiting for another verification in {tmp_path / 'work'} to end"]
