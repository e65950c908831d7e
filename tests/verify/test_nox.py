"""The sessions of the verification fetch the model that the command is about, to where it looks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from build import cli as build_cli
from tests.kit.nox_sessions import load, started
from verify.cli import parse


@pytest.mark.parametrize(
    ("words", "fetched"),
    [
        ([], []),
        (["--quick"], []),
        (["--model", "other"], ["other"]),
        (["--model=mine.toml", "--work", "there"], ["--work", "there", "mine.toml"]),
        (["FILE.whl", "--work=there", "-k", "latency"], ["--work", "there"]),
    ],
)
def test_the_model_asked_for_is_fetched(words: list[str], fetched: list[str]) -> None:
    first, then = started("verify", *words)
    assert first == ["build", "fetch-model", "--quiet", *fetched]
    assert then == ["verify", "run", *words]
    options = build_cli._parser().parse_args(first[1:])
    wanted = parse(then[1:])
    assert options.model == wanted.model
    assert (options.work or Path(".work")) == wanted.work


@pytest.mark.parametrize(
    ("session", "words"),
    [
        ("verify", ["--help"]),
        ("verify", ["--models", "folder"]),
        ("conversion", ["--model", "net.onnx", "--fix", "batch=1"]),
        ("verify", ["--model", "net.onnx"]),
        ("verify", ["--model", "NET.ONNX"]),
    ],
)
def test_nothing_is_fetched_for_help_or_for_files_of_the_user(
    session: str, words: list[str]
) -> None:
    command = "run" if session == "verify" else session
    assert started(session, *words) == [["verify", command, *words]]


def test_references_are_computed_of_the_model_asked_for() -> None:
    words = ["--model", "multilingual-e5-small", "--lengths", "64"]
    first, then = started("references", *words)
    assert first == ["build", "fetch-model", "--quiet", "multilingual-e5-small"]
    assert then == ["tests.references", *words]


def test_what_is_wrong_is_left_to_the_command() -> None:
    assert started("verify", "--work")[-1] == ["verify", "run", "--work"]


def test_another_python_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    with pytest.raises(SystemExit, match="ortmill needs Python 3"):
        load.__wrapped__()
