"""Tuning: what is kept and what is given up, what the command writes, and real processes."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tests.kit import tiny_model
from tests.kit.verify_examples import TINY, policy
from verify import Embedder
from verify.cli import main
from verify.encoder.settings import Tuning, profile_path, read_profile
from verify.environment.context import TargetContext
from verify.latency import machine
from verify.latency.series import Plan, SeriesSamples
from verify.statistics.ratio import ratio_interval
from verify.tune import search as searching
from verify.tune import tune_command
from verify.tune.search import Bench, Compared, Tuned, reason_against, search, steps, winner

Speed = Callable[[Tuning | None, str], float]


def measured(speed: Speed, plan: Plan) -> tuple[SeriesSamples, ...]:
    """Give samples of 5 ms, so many times as fast, with a little noise that all series share."""
    random = np.random.default_rng(3)
    blocks = plan.rounds * plan.processes
    noise = random.lognormal(sigma=0.02, size=(blocks, 10))
    found = []
    for spec in plan.series:
        one = SeriesSamples(spec=spec)
        one.machine = machine.between(COUNTERS, COUNTERS)
        own = random.lognormal(sigma=0.01, size=noise.shape)
        values = 5e6 * noise * own / speed(spec.tuning, spec.workload)
        one.values = [int(value) for value in values.ravel()]
        one.block = [block for block in range(blocks) for _ in range(10)]
        found.append(one)
    return tuple(found)


COUNTERS = machine.read_counters()


@contextmanager
def speeds(
    patch: pytest.MonkeyPatch, speed: Speed, vectors: Sequence[Sequence[float]] = ((1.0, 0.0),)
) -> Iterator[list[Plan]]:
    plans: list[Plan] = []

    def measure(context: TargetContext, plan: Plan, *, say: Callable[[str], None]) -> Any:
        plans.append(plan)
        say("round 1")
        return measured(speed, plan)

    def embedded(bench: Bench, tuning: Tuning) -> dict[str, Any]:
        other = [[1.0, 0.0]] if tuning == Tuning() else vectors
        return {"vectors": other, "onnxruntime": "1.21.0"}

    patch.setattr(searching, "measure", measure)
    patch.setattr(Bench, "vectors", embedded)
    yield plans


@pytest.fixture
def context(tmp_path: Path) -> TargetContext:
    model = tmp_path / "model"
    model.mkdir()
    return TargetContext(
        role="candidate",
        work=tmp_path,
        model_dir=tiny_model.write(model),
        encoder=TINY,
        policy=policy(),
        targets={"candidate": Path(sys.executable)},
        host="linux-x86_64",
    )


def found(context: TargetContext, said: list[str] | None = None, cores: int = 2) -> Tuned:
    say = (said if said is not None else []).append
    bench = Bench(context=context, precision="fp32", say=say, rounds=6, queries=10)
    return search(bench, workload="mix", cores=cores)


def test_what_is_faster_is_kept_and_built_upon(
    context: TargetContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def speed(tuning: Tuning | None, workload: str) -> float:
        tuning = tuning or Tuning()
        return (1.5 if tuning.threads == 1 else 1) * (1.2 if tuning.arena is False else 1)

    said: list[str] = []
    with speeds(monkeypatch, speed) as plans:
        answer = found(context, said)
    assert answer.tuning == Tuning(threads=1, arena=False)
    assert [each.name for each in answer.trials if each.kept] == ["threads 1", "arena False"]
    assert answer.why == ""
    assert answer.chosen[0].p50.ratio == pytest.approx(1.8, rel=0.05)
    assert not answer.at_fault
    assert not answer.noisy
    # The default is a candidate from the first, and what stands is beside each further setting.
    assert plans[0].series[0].tuning is None
    assert {spec.tuning for spec in plans[3].series} == {
        Tuning(threads=1), Tuning(threads=1, arena=False)
    }  # fmt: skip
    assert [spec.tuning for spec in plans[-1].series[:2]] == [None, Tuning()]
    assert "7 of 7" in said[-1]
    json.dumps(answer.to_json(), allow_nan=False)


def test_where_nothing_is_faster_the_default_stays(
    context: TargetContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with speeds(monkeypatch, lambda tuning, workload: 1.0 if not tuning else 0.99):
        answer = found(context)
    assert answer.tuning == Tuning()
    assert answer.chosen == ()
    assert not any(each.kept for each in answer.trials)


@pytest.mark.parametrize(
    ("speed", "vectors", "why"),
    [
        (lambda t, workload: 1.3 if t and t.threads == 1 and workload == "mix" else 1.0, (),
         ""),
        (lambda t, workload: 1 if not t or t.threads != 1 else 1.3 if workload == "mix" else 0.8,
         (), "slower on tokens-128"),
        (lambda t, workload: 1.3 if t and t.threads == 1 else 1.0, ((0.6, 0.8),),
         "change the vectors"),
    ],
)  # fmt: skip
def test_what_was_kept_is_given_up_where_it_does_harm(
    context: TargetContext, monkeypatch: pytest.MonkeyPatch, speed: Speed, vectors: Any, why: str
) -> None:
    with speeds(monkeypatch, speed, vectors or ((1.0, 0.0),)):
        answer = found(context)
    assert why in answer.why
    assert bool(answer.why) == bool(why)
    assert answer.tuning == (Tuning() if why else Tuning(threads=1))
    assert answer.chosen, "what was given up is shown"


def test_what_chance_kept_is_not_confirmed(
    context: TargetContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = iter(range(100))

    def speed(tuning: Tuning | None, workload: str) -> float:
        return 1.3 if tuning and tuning.spinning is False and next(rounds) == 0 else 1.0

    with speeds(monkeypatch, speed):
        answer = found(context)
    assert [each.name for each in answer.trials if each.kept] == ["spinning False"]
    assert "not faster" in answer.why
    assert answer.tuning == Tuning()


def test_a_default_slower_than_onnxruntimes_own_is_a_fault(
    context: TargetContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with speeds(monkeypatch, lambda tuning, workload: 0.9 if tuning is None else 1.0):
        assert found(context).at_fault
    with speeds(monkeypatch, lambda tuning, workload: 0.995 if tuning is None else 1.0):
        assert not found(context).at_fault


def test_beside_other_programs_nothing_is_chosen(
    context: TargetContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with speeds(monkeypatch, faster_alone):
        answer = found(context)
    assert not answer.noisy
    assert replace(answer, machine={"others": 1.2}).noisy


def compared(p50: float, p95: float, *, noise: float = 0.01) -> Compared:
    random = np.random.default_rng(5)

    def ratio(times: float, quantile: float) -> Any:
        base = random.lognormal(sigma=noise, size=(20, 10))
        return ratio_interval((base * times).tolist(), base.tolist(), quantile=quantile)

    return Compared(
        name="x", workload="mix", p50_ms=1, p95_ms=1, p50=ratio(p50, 0.5), p95=ratio(p95, 0.95)
    )


def test_the_fastest_wins_and_one_whose_tail_is_slower_does_not() -> None:
    assert winner([compared(1.1, 1.0), compared(1.3, 1.0), compared(1.5, 0.7)]) == 1
    assert winner([compared(1.0, 1.0)]) is None
    assert winner([]) is None


def test_a_cosine_that_is_no_number_is_a_reason() -> None:
    assert "vectors" in reason_against([compared(1.2, 1.0)], float("nan"))


@pytest.mark.parametrize("cores", [1, 2, 3, 4, 8, 10, 64])
def test_thread_counts_fit_the_machine(cores: int) -> None:
    values = dict(steps(cores))["threads"]
    assert values[0] == 1
    assert values[-1] == cores
    assert len(values) <= 5


# The command --------------------------------------------------------------------------------


@pytest.fixture
def opened(context: TargetContext, monkeypatch: pytest.MonkeyPatch) -> TargetContext:
    @contextmanager
    def opened_context(options: Any, *, say: Any) -> Iterator[Any]:
        say("opening")
        yield context, None

    monkeypatch.setattr(tune_command, "opened_context", opened_context)
    monkeypatch.setenv("ORTMILL_CACHE", str(context.work / "cache"))
    return context


def faster_alone(tuning: Tuning | None, workload: str) -> float:
    return 1.4 if tuning and tuning.threads == 1 else 1.0


def test_the_command_writes_a_profile_that_the_embedder_reads(
    opened: TargetContext, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import onnxruntime

    with speeds(monkeypatch, faster_alone):
        monkeypatch.setattr(
            Bench, "vectors",
            lambda *_: {"vectors": [[1.0]], "onnxruntime": onnxruntime.__version__},
        )  # fmt: skip
        assert main(["tune", "--quick", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    path = profile_path(TINY.name, "fp32")
    assert said["file"] == str(path)
    written = read_profile(path)
    assert written.tuning == Tuning(threads=1)
    assert written.measured["chosen"][0]["p50"]["low"] > 1
    with Embedder.from_recipe(opened.model_dir, TINY) as embedder:
        assert embedder.profile == written
        assert embedder.session().get_session_options().intra_op_num_threads == 1


def test_the_command_shows_what_it_did(
    opened: TargetContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with speeds(monkeypatch, faster_alone):
        assert main(["tune", "--output", str(tmp_path / "p.json")]) == 0
    said = capsys.readouterr()
    assert "settings: threads 1" in said.out
    assert "ortmill's default against onnxruntime's own settings, mix" in said.out
    assert "1 of 7, threads: round 1" in said.err
    assert str(tmp_path / "p.json") in said.err.replace("\n", "")


def test_a_fault_is_code_1_and_a_restless_machine_code_2(
    opened: TargetContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.json"
    with speeds(monkeypatch, lambda tuning, workload: 0.9 if tuning is None else 1.0):
        assert main(["tune", "--output", str(path)]) == 1
    path.unlink()
    with speeds(monkeypatch, lambda tuning, workload: 1.0):
        monkeypatch.setattr(searching, "WIDEST", 1.0)
        assert main(["tune", "--output", str(path)]) == 2
    assert not path.exists()


@pytest.mark.parametrize("words", [["--workload", "tokens-2"], ["--workload", "worst"]])
def test_an_unknown_workload_is_code_3(words: list[str]) -> None:
    assert main(["tune", *words]) == 3


def test_a_table_says_why_something_was_given_up(
    context: TargetContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with speeds(monkeypatch, faster_alone, ((0.0, 1.0),)):
        answer = found(context)
    console = Console(width=140, record=True, file=io.StringIO())
    tune_command.show(answer, console)
    text = console.export_text()
    assert "given up: they change the vectors" in text
    assert "settings: onnxruntime's own" in text


@pytest.mark.integration
def test_real_processes_measure_other_settings(context: TargetContext) -> None:
    bench = Bench(context=context, precision="fp32", say=lambda text: None, rounds=3, queries=4)
    samples = bench.in_turns("x", ["mix", "tokens-8"], [None, Tuning(threads=1, spinning=False)])
    assert [one.spec.workload for one in samples] == ["mix", "mix", "tokens-8", "tokens-8"]
    assert all(len(one.blocks()) == 6 for one in samples)
    logs = {path.name for path in (context.work / "logs").iterdir()}
    assert len(logs) == 4, "each process has a log of its own"
    plain = bench.vectors(Tuning())
    other = bench.vectors(Tuning(threads=1, graph="basic"))
    assert searching._worst_cosine(plain["vectors"], other["vectors"]) > 0.9999
