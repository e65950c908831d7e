"""The queue: one answer for each job, none starved, one that fails fails alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from verify.bridge.counters import Counters
from verify.bridge.engine import (
    GROUP,
    Engine,
    Job,
    Limits,
    Refusal,
    Vectors,
)
from verify.errors import VerifyError

# Seconds against a hang: what takes longer is no slow machine.
PATIENCE = 100.0


class Numbers:
    """A model whose vector is the text's length and first letter; some texts make it fail."""

    dimensions = 2
    batches = True

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.held = threading.Event()
        self.held.set()

    def embed(self, texts: Sequence[str], kind: str | None) -> tuple[Any, list[int]]:
        self.groups.append(list(texts))
        assert self.held.wait(PATIENCE)
        if "bad" in texts:
            raise VerifyError("It is bad.", hint="Be good.")
        if "worse" in texts:
            raise ValueError("worse")
        rows = [[len(text), ord(text[0]) if text else 1] for text in texts]
        pairs = zip(rows, texts, strict=True)
        found = [[np.nan] * 2 if text == "nan" else row for row, text in pairs]
        return np.array(found, np.float32), [len(text) for text in texts]

    def called(self) -> None:
        while not self.groups:
            time.sleep(0.001)


@contextmanager
def running(model: Any, **limits: int) -> Iterator[Engine]:
    def load() -> Any:
        if isinstance(model, Exception):
            raise model
        return model

    engine = Engine(load, Limits(**limits), Counters())
    engine.start()
    loaded = threading.Event()
    engine.when_loaded(lambda found: loaded.set())
    assert loaded.wait(PATIENCE)
    yield engine
    assert engine.close(PATIENCE)


class Answers:
    """Collects what jobs are answered, and that each is answered once."""

    def __init__(self) -> None:
        self.found: dict[int, Vectors | Refusal] = {}

    def job(self, number: int, texts: Sequence[str]) -> Job:
        def done(outcome: Vectors | Refusal) -> None:
            assert number not in self.found
            self.found[number] = outcome

        return Job(texts=texts, done=done)

    def code(self, number: int) -> str:
        found = self.found[number]
        return found.code if isinstance(found, Refusal) else ""


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.lists(
            st.text(max_size=60) | st.sampled_from(["bad", "worse", "nan"]), min_size=1, max_size=50
        ),
        max_size=30,
    )
)
def test_each_job_gets_its_own_answer(jobs: list[list[str]]) -> None:
    answers, model = Answers(), Numbers()
    with running(model) as engine:
        for number, texts in enumerate(jobs):
            assert engine.submit(answers.job(number, texts))
        assert engine.drained(PATIENCE)
        assert engine.pending_bytes == 0
    for number, texts in enumerate(jobs):
        found = answers.found[number]
        if {"bad", "worse", "nan"} & {*texts}:
            assert answers.code(number) in {"invalid_text", "internal", "not_finite"}
        else:
            assert isinstance(found, Vectors)
            assert found.tokens == sum(map(len, texts))
            assert found.rows.tolist() == [
                [len(each), ord(each[0]) if each else 1] for each in texts
            ]
    for group in model.groups:
        longest = min(max(map(len, group)) // 4 + 2, GROUP.tokens)
        assert len(group) <= GROUP.texts
        assert len(group) == 1 or len(group) * longest <= GROUP.tokens


def test_a_long_request_takes_turns_with_a_short_one() -> None:
    answers, model = Answers(), Numbers()
    with running(model) as engine:
        model.held.clear()
        engine.submit(answers.job(0, ["a" * 400] * 40))
        engine.submit(answers.job(1, ["b"]))
        model.held.set()
        assert engine.drained(PATIENCE)
    assert ["b"] in model.groups[:3]
    assert list(answers.found) == [1, 0]


def test_what_is_cancelled_is_answered_once_and_frees_its_room() -> None:
    answers, model = Answers(), Numbers()
    with running(model) as engine:
        model.held.clear()
        jobs = [answers.job(number, ["x" * 2000]) for number in range(3)]
        for job in jobs:
            engine.submit(job)
        assert engine.cancel(jobs[2])
        assert not engine.cancel(jobs[2])
        model.called()
        assert engine.cancel(jobs[0])  # it is being run
        assert engine.pending == 1
        model.held.set()
        assert engine.drained(PATIENCE)
        assert not engine.cancel(jobs[1])
    assert [answers.code(number) for number in range(3)] == ["cancelled", "", "cancelled"]
    assert len(model.groups) == 2


def test_a_full_queue_takes_nothing_more_until_there_is_room() -> None:
    answers, model = Answers(), Numbers()
    with running(model, pending=2) as engine:
        model.held.clear()
        assert engine.submit(answers.job(0, ["a"]))
        assert engine.submit(answers.job(1, ["b"]))
        late = answers.job(2, ["c"])
        assert not engine.submit(late)
        model.held.set()
        while not engine.submit(late):
            engine.wait_for_room(1)
        assert engine.drained(PATIENCE)
    assert sorted(answers.found) == [0, 1, 2]


def test_bytes_count_and_the_first_job_is_always_taken() -> None:
    answers, model = Answers(), Numbers()
    with running(model, pending_bytes=10_000) as engine:
        model.held.clear()
        assert engine.submit(answers.job(0, ["a" * 20_000]))
        assert not engine.submit(answers.job(1, ["b"]))
        model.held.set()
        assert engine.drained(PATIENCE)


def test_what_waits_for_a_slow_reader_counts_as_pending() -> None:
    model = Numbers()
    reading = threading.Event()
    with running(model, pending=1) as engine:
        engine.submit(Job(texts=["a"], done=lambda outcome: assert_true(reading.wait(PATIENCE))))
        assert not engine.drained(0.2)
        reading.set()
        assert engine.drained(PATIENCE)


def assert_true(value: bool) -> None:
    assert value


def test_a_model_that_does_not_load_answers_everything() -> None:
    answers = Answers()
    with running(VerifyError("No file.", hint="Fetch it.")) as engine:
        engine.submit(answers.job(0, ["a"]))
        assert engine.state == "failed"
        assert engine.drained(PATIENCE)
        assert engine.failure == Refusal(code="model", message="No file.", hint="Fetch it.")
    assert answers.code(0) == "model"


def test_a_thread_that_fails_does_not_look_well() -> None:
    """A callback that raises is a fault of ours; nobody waits for ever because of it."""
    answers, model = Answers(), Numbers()

    def raises(outcome: Vectors | Refusal) -> None:
        raise ZeroDivisionError

    with running(model) as engine:
        model.held.clear()
        engine.submit(Job(texts=["a"], done=raises))
        engine.submit(answers.job(1, ["b" * 900]))
        model.held.set()
        assert engine.drained(PATIENCE)
        engine.submit(answers.job(2, ["c"]))
        assert engine.state == "failed"
    assert answers.code(2) == "internal"
    assert answers.code(1) in {"", "internal"}


def test_the_end_refuses_what_is_pending() -> None:
    answers, model = Answers(), Numbers()
    with running(model) as engine:
        model.held.clear()
        engine.submit(answers.job(0, ["a"]))
        model.called()
        assert not engine.close(0.1)
        engine.submit(answers.job(1, ["b"]))
        model.held.set()
    assert [answers.code(number) for number in (0, 1)] == ["shutting_down"] * 2


def test_queries_and_passages_do_not_meet() -> None:
    answers, model = Answers(), Numbers()
    with running(model) as engine:
        model.held.clear()
        for number, kind in enumerate(("query", "passage") * 3):
            job = answers.job(number, ["a", "b"])
            job.kind = kind
            engine.submit(job)
        model.held.set()
        assert engine.drained(PATIENCE)
    assert len(model.groups) in {2, 3}  # the first may have begun before its fellows came
    assert len(answers.found) == 6


def test_what_takes_one_text_at_a_time_gets_one() -> None:
    answers, model = Answers(), Numbers()
    model.batches = False
    with running(model) as engine:
        engine.submit(answers.job(0, ["a", "b", "c"]))
        engine.submit(answers.job(1, ["d"]))
        assert engine.drained(PATIENCE)
    assert all(len(group) == 1 for group in model.groups)
    assert len(answers.found) == 2
