"""What a Mac's own tools say of the machine, and what is known where one of them is missing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from verify import hardware
from verify.latency import machine

Ask = Callable[[], str]


@pytest.fixture(autouse=True)
def on_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(hardware.platform, "machine", lambda: "arm64")


def answer(monkeypatch: pytest.MonkeyPatch, texts: dict[str, str]) -> None:
    def run(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        if words[-1] not in texts:
            raise FileNotFoundError(2, "No such file or directory", words[0])
        return subprocess.CompletedProcess(words, 0, texts[words[-1]], "")

    monkeypatch.setattr(subprocess, "run", run)


def test_the_processor_and_its_limits_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, {
        "machdep.cpu.brand_string": "Apple M1\n",
        "therm": "Note: no thermal warning\n  CPU_Speed_Limit \t= 70\n",
        "live": "System-wide power settings:\n lowpowermode         1\n",
    })  # fmt: skip
    assert hardware._cpu() == "Apple M1"
    assert machine._limits() == "CPU_Speed_Limit = 70, lowpowermode 1"


@pytest.mark.parametrize(("ask", "known"), [(hardware._cpu, "arm64"), (machine._limits, "")])
def test_a_tool_that_is_missing_ends_no_measurement(
    monkeypatch: pytest.MonkeyPatch, ask: Ask, known: str
) -> None:
    answer(monkeypatch, {})
    assert ask() == known
