"""The engine skips what is unchanged, runs what is not, and forgets what can no longer be right."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from build.stage import Engine, Stage, inputs_digest
from build.system.console import Reporter


class Bench:
    def __init__(self, records: Path) -> None:
        self.records = records
        self.said = io.StringIO()
        self.ran: list[str] = []

    def engine(self) -> Engine:
        reporter = Reporter(env={}, stream=self.said)
        return Engine(self.records, ["source", "configure", "compile"], reporter)

    def stage(self, name: str, key: str = "k", *, exists: bool = True) -> Stage[Mapping[str, Any]]:
        def work() -> Mapping[str, Any]:
            self.ran.append(name)
            return {"made": name}

        return Stage(
            name=name,
            title="title",
            key=key,
            outputs_exist=lambda: exists,
            work=work,
            summary=lambda made: f"summary of {made['made']}",
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "records")


def all_three(bench: Bench, **keys: str) -> Engine:
    engine = bench.engine()
    for name in ("source", "configure", "compile"):
        engine.run(bench.stage(name, keys.get(name, "k")))
    return engine


def test_a_stage_runs_once_and_its_outputs_come_back(bench: Bench) -> None:
    assert bench.engine().run(bench.stage("source")) == {"made": "source"}
    assert "✓ source    summary of source" in bench.said.getvalue()
    again = bench.engine()
    assert again.run(bench.stage("source")) == {"made": "source"}
    assert bench.ran == ["source"]
    assert "= source    summary of source (unchanged)" in bench.said.getvalue()
    assert [(each.name, each.seconds, each.skipped) for each in again.timings] == [
        ("source", 0.0, True)
    ]


def test_another_key_and_missing_outputs_run_it_again(bench: Bench) -> None:
    for stage in (
        bench.stage("source"),
        bench.stage("source", "other"),
        bench.stage("source", "other", exists=False),
    ):
        bench.engine().run(stage)
    assert bench.ran == ["source"] * 3


def test_what_runs_anew_takes_the_records_of_the_later_stages_along(bench: Bench) -> None:
    all_three(bench)
    all_three(bench)
    assert bench.ran == ["source", "configure", "compile"]
    # The keys of the later ones are the same, what they were made from is not.
    timings = all_three(bench, configure="other").timings
    assert bench.ran[3:] == ["configure", "compile"]
    assert [each.skipped for each in timings] == [True, False, False]


def test_a_failure_leaves_no_record_of_it_and_of_what_follows(bench: Bench) -> None:
    all_three(bench)

    def fail() -> Mapping[str, Any]:
        raise OSError("the disk is full")

    stage = Stage(name="configure", title="", key="new", work=fail, summary=str)
    with pytest.raises(OSError, match="full"):
        bench.engine().run(stage)
    assert [file.name for file in bench.records.iterdir()] == ["source.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"stage": "source", "inputs": "k"}'])
def test_a_record_that_cannot_be_read_is_none(bench: Bench, text: str) -> None:
    bench.engine().run(bench.stage("source"))
    (bench.records / "source.json").write_text(text)
    bench.engine().run(bench.stage("source"))
    assert bench.ran == ["source", "source"]
    assert json.loads((bench.records / "source.json").read_text())["inputs"] == "k"


def test_a_stage_without_a_key_always_runs_and_leaves_nothing(bench: Bench) -> None:
    for _ in range(2):
        bench.engine().run(bench.stage("fetch", key=""))
    assert bench.ran == ["fetch", "fetch"]
    assert not bench.records.exists()


def test_the_digest_counts_values_and_not_their_order() -> None:
    assert inputs_digest(a=1, b=[2]) == inputs_digest(b=[2], a=1)
    assert inputs_digest(a=1) != inputs_digest(a=2)


class Terminal(io.StringIO):
    """A terminal, by its own word."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_that_moves_no_cursor_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    said = Terminal()
    with Reporter(env={}, stream=said).stage("compile", "title"):
        assert "compile title" in said.getvalue()
