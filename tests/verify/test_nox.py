"""The sessions of the verification fetch the model that the command is about, to where it looks."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from build import cli as build_cli
from verify.cli import parse

ROOT = Path(__file__).resolve().parents[2]


class Session:
    """Stands in for nox's, and keeps what it is asked to run."""

    def __init__(self, *words: str) -> None:
        self.posargs = list(words)
        self.ran: list[list[str]] = []

    def run(self, *argv: str, **options: object) -> None:
        self.ran.append(list(argv[2:]))


@pytest.fixture(scope="module")
def sessions() -> ModuleType:
    """Load the sessions; nox takes each name once in a process."""
    spec = importlib.util.spec_from_file_location("sessions", ROOT / "noxfile.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def ran(sessions: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[str]]]:
    monkeypatch.setattr(sessions, "environment", lambda session, name: "python")

    def run(name: str, *words: str) -> list[list[str]]:
        session = Session(*words)
        getattr(sessions, name).func(session)
        return session.ran

    return run


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
def test_the_model_asked_for_is_fetched(
    ran: Callable[..., list[list[str]]], words: list[str], fetched: list[str]
) -> None:
    first, then = ran("verify", *words)
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
    ],
)
def test_nothing_is_fetched_for_help_or_for_files_of_the_user(
    ran: Callable[..., list[list[str]]], session: str, words: list[str]
) -> None:
    command = "run" if session == "verify" else session
    assert ran(session, *words) == [["verify", command, *words]]


def test_references_are_computed_of_the_model_asked_for(
    ran: Callable[..., list[list[str]]],
) -> None:
    words = ["--model", "multilingual-e5-small", "--lengths", "64"]
    first, then = ran("references", *words)
    assert first == ["build", "fetch-model", "--quiet", "multilingual-e5-small"]
    assert then == ["tests.references", *words]


def test_what_is_wrong_is_left_to_the_command(ran: Callable[..., list[list[str]]]) -> None:
    assert ran("verify", "--work")[-1] == ["verify", "run", "--work"]
