"""The measuring checks without a real model: fake embedders, fake processes, virtual time."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.kit import worker_functions
from tests.kit.latencies import QuietMeter
from tests.kit.verify_examples import TINY, policy
from verify.checks import robustness_inside as robustness
from verify.checks.latency_p95 import latency_p95, p95_result
from verify.checks.latency_speedup import latency_speedup, speedup_result
from verify.checks.load_inside import concurrency_result, memory_result, run_load
from verify.encoder.embedder import StageTimes
from verify.environment.channel import Answer
from verify.environment.context import TargetContext
from verify.errors import CannotWrite, VerifyError
from verify.latency import series as measuring
from verify.latency.machine import Machine, read_counters
from verify.latency.queries import QUERIES, workload
from verify.latency.sampler_inside import STAGES, sample
from verify.latency.series import Plan, SeriesSamples, SeriesSpec, WorkerFailed, measure
from verify.policy.limits import Limits
from verify.policy.result import CheckResult
from verify.statistics.trend import trend

MS = 1_000_000


class VirtualEmbedder:
    """Answers with made-up times: 5 ms give or take, and `extra` in every tenth call."""

    def __init__(self, *, extra_ms: float = 0.0, seed: int = 1) -> None:
        self.random = np.random.default_rng(seed)
        self.extra = int(extra_ms * MS)
        self.calls = 0

    def embed_timed(self, text: str) -> tuple[np.ndarray, StageTimes]:
        self.calls += 1
        inference = int(5 * MS * self.random.lognormal(sigma=0.1))
        if self.random.random() < 0.1:
            inference += self.extra
        vector = np.full(4, len(text), dtype=np.float32)
        return vector, StageTimes(
            tokenise=10, tensors=20, inference=inference, pool=30, normalise=40,
            total=inference + 100,
        )  # fmt: skip


@pytest.fixture
def context(tmp_path: Path) -> TargetContext:
    return TargetContext(
        role="candidate",
        work=tmp_path,
        model_dir=tmp_path,
        encoder=TINY,
        policy=policy(),
        targets={"candidate": Path(sys.executable)},
        host="linux-x86_64",
    )


def series(embedder: VirtualEmbedder, *, blocks: int = 9, workload: str = "mix") -> SeriesSamples:
    """Sample a virtual embedder as three processes in turns would."""
    found = SeriesSamples(spec=SeriesSpec(target="candidate", workload=workload))
    for block in range(blocks):
        order = np.random.default_rng(block).permutation(len(QUERIES)).tolist()
        answer = sample(embedder.embed_timed, QUERIES, order, meter=QuietMeter(), settle=2)
        answer["tokens"] = [9] * len(order)
        found.add(answer, slot=block % 3, block=block, meanwhile={"loop": 10})
    return found


# Workloads and sampling ---------------------------------------------------------------------


def test_the_mix_has_the_lengths_that_it_claims() -> None:
    words = sorted(len(text.split()) for text in QUERIES)
    assert len(set(QUERIES)) == len(QUERIES) == 60
    assert (words[0], words[-1]) == (3, 37)
    assert np.median(words) <= 11
    assert words[len(words) * 9 // 10] >= 26


@pytest.mark.parametrize("limit", [16, 128, 256, 512])
def test_the_worst_text_has_a_word_for_every_token(limit: int) -> None:
    assert len(workload("worst", max_length=limit)[0].split()) == limit


def test_an_unknown_workload_is_refused() -> None:
    with pytest.raises(ValueError, match="no workload"):
        workload("best", max_length=8)


def test_every_call_is_kept_and_warm_ups_are_apart() -> None:
    embedder = VirtualEmbedder()
    found = sample(embedder.embed_timed, QUERIES, [4, 1, 1, 0], meter=QuietMeter(), settle=3)
    assert embedder.calls == 7
    assert len(found["warmup"]) == 3
    assert len(found["values"]) == 4
    assert {name: len(times) for name, times in found["stages"].items()} == dict.fromkeys(STAGES, 4)
    assert found["texts"] == [4, 1, 1, 0]


def test_the_time_of_a_nan_is_no_sample() -> None:
    def embed_timed(text: str) -> tuple[np.ndarray, StageTimes]:
        vector, times = VirtualEmbedder().embed_timed(text)
        return vector * math.nan, times

    with pytest.raises(VerifyError, match="not finite"):
        sample(embed_timed, QUERIES, [0], meter=QuietMeter())


# Processes that take turns ------------------------------------------------------------------


def two_series() -> Plan:
    return Plan(
        series=(SeriesSpec(target="candidate"), SeriesSpec(target="official")),
        processes=2,
        rounds=3,
        settle=1,
        seconds=60,
    )


def with_sampler(context: TargetContext, patch: pytest.MonkeyPatch, name: str) -> TargetContext:
    """Return the context with two environments, whose samplers are stand-ins."""
    patch.setattr(measuring, "SAMPLER", f"tests.kit.worker_functions:{name}")
    here = Path(sys.executable)
    return replace(context, targets={"candidate": here, "official": here})


def test_blocks_of_two_environments_pair_up(
    context: TargetContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = measure(with_sampler(context, monkeypatch, "sampler"), two_series())
    assert len(one.values) == len(two.values) == 3 * 2 * 4
    assert one.process == two.process
    assert one.block == two.block
    assert one.values == two.values  # the same texts in the same order
    assert one.process[:4] == [0] * 4
    assert one.process[4:8] == [1] * 4
    assert one.process[8:12] == [1] * 4  # the second round begins with the other process
    assert len(one.blocks()) == 6
    assert len(one.warmup) == 2 * 4 + 6  # a pass in each process, and one call in each block
    entry = one.to_json()
    assert len({len(entry[key]) for key in ("values", "process", "tokens")}) == 1
    assert len(entry["conditions"]["loop"]) == len(one.values)
    assert all(time > 1_000_000 for time in entry["conditions"]["loop"])
    assert one.machine is not None
    assert entry["conditions"]["alone"] == one.machine.alone


def test_series_take_turns_in_an_order_of_chance_and_back(context: TargetContext) -> None:
    asked: list[str] = []

    class Stub:
        def ask(self, message: dict[str, Any], seconds: float) -> Answer:
            asked.append(message["workload"])
            empty: dict[str, Any] = {"conditions": {}, "stages": {}}
            return Answer(value={**empty, "values": [1], "warmup": [], "tokens": [1]})

        def time(self) -> dict[str, int]:
            return {}

    specs = tuple(SeriesSpec(target="candidate", workload=name) for name in "abcde")
    turns = measuring._Turns(
        plan=Plan(series=specs, processes=1),
        workers={(specs[0].embedder, 0): Stub()},
        samples=tuple(SeriesSamples(spec=spec) for spec in specs),
        generator=np.random.default_rng(3),
        calibration=Stub(),
        begun=read_counters(),
        sizes=dict.fromkeys("abcde", 1),
    )
    for number in range(8):
        turns.one_round(number)
    rounds = ["".join(asked[first : first + 5]) for first in range(0, 40, 5)]
    assert {"".join(sorted(each)) for each in rounds} == {"abcde"}
    assert [each[::-1] for each in rounds[::2]] == rounds[1::2]
    assert len(set(rounds)) > 4


def test_sampling_goes_on_until_it_is_enough(
    context: TargetContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = with_sampler(context, monkeypatch, "sampler")
    plan = replace(two_series(), series=(SeriesSpec(target="candidate"),))
    seen: list[int] = []

    def enough(samples: Any) -> bool:
        seen.append(len(samples[0].values))
        return seen[-1] >= 60

    (short,) = measure(context, plan, enough=enough, more_seconds=1e-9)
    assert len(short.values) == 32  # one round more than planned
    assert seen == [24]
    seen.clear()
    # As long again as planned, where nothing else is said.
    (long,) = measure(context, plan, enough=enough)
    # Not after every round: a bound that is looked at until it lies well is wrong too often.
    assert seen == [24, 40, 64]
    assert len(long.values) == 64


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("sampler_without_provider", "no such provider"),
        ("sampler_that_ends", "exit code 7"),
        ("sampler_that_crashes", "killed by SIGKILL"),
    ],
)
def test_a_process_that_fails_is_reported(
    context: TargetContext, monkeypatch: pytest.MonkeyPatch, name: str, says: str
) -> None:
    plan = replace(two_series(), series=(SeriesSpec(target="candidate"),))
    with pytest.raises(WorkerFailed, match=says) as caught:
        measure(with_sampler(context, monkeypatch, name), plan)
    if name == "sampler_without_provider":
        assert caught.value.hint == "Another one."
    else:
        assert "last words" in caught.value.context["last lines"]
        log = context.work / "logs" / "sampler-candidate-cpu-fp32-0.log"
        assert "last words" in log.read_text(encoding="utf-8")


def test_an_encoder_that_is_not_there_is_reported(context: TargetContext) -> None:
    plan = replace(two_series(), series=(SeriesSpec(target="candidate"),), processes=1)
    with pytest.raises(WorkerFailed, match="no tokenizer"):
        measure(context, plan)


# latency.p95 --------------------------------------------------------------------------------


def test_a_fast_series_passes_with_its_evidence(context: TargetContext) -> None:
    mix = series(VirtualEmbedder())
    found = p95_result(context, mix, series(VirtualEmbedder(), workload="worst"))
    assert found.status == "passed"
    assert found.measured <= found.limit == 20.0
    assert found.evidence["n"] == 540
    assert found.evidence["processes"] == 3
    assert found.evidence["series"] == "candidate/cpu/fp32/mix"
    assert found.evidence["stages_ms"]["inference"]["p95"] == pytest.approx(5.9, abs=0.3)
    json.dumps(found.evidence)


def test_25_ms_of_sleep_in_one_call_out_of_ten_fails(context: TargetContext) -> None:
    mix = series(VirtualEmbedder(extra_ms=25))
    found = p95_result(context, mix, mix)
    assert found.status == "failed"
    assert found.evidence["p50"] < 7
    assert np.mean(mix.values) < 20 * MS
    assert "inference" in found.hint


def test_a_slow_run_on_a_busy_machine_is_inconclusive_and_says_what_to_stop(
    context: TargetContext,
) -> None:
    mix = series(VirtualEmbedder(extra_ms=30))
    mix.recorded["stops"] = [1] * len(mix.values)
    mix.machine = Machine(
        seconds=9.0, others=1.7, stolen=0.0, pressure=0.6, throttled=None, load=3.6,
        frequency_mhz=None, busiest=("compiler (1.70 cores)",), limits="",
    )  # fmt: skip
    found = p95_result(context, mix, series(VirtualEmbedder(), workload="worst"))
    assert found.status == "inconclusive"
    assert found.evidence["party"] == "machine"
    assert found.evidence["machine"]["load"] == 3.6
    assert "100% was stopped" in found.summary
    assert found.hint.startswith("Stop what else computes (compiler (1.70 cores))")
    mix.recorded["stops"] = [0] * len(mix.values)
    found = p95_result(context, mix, series(VirtualEmbedder(), workload="worst"))
    assert (found.status, found.evidence["party"]) == ("failed", "wheel")


def tail(slow: int, *, calls: int = 540) -> SeriesSamples:
    """Sample calls of 5 ms of which so many, anywhere, take 25."""
    found = SeriesSamples(spec=SeriesSpec(target="candidate"))
    values = np.full(calls, 5 * MS)
    values[np.random.default_rng(4).choice(calls, slow, replace=False)] = 25 * MS
    found.values, found.tokens = values.tolist(), [9] * calls
    found.process = [place // 60 % 3 for place in range(calls)]
    return found


@pytest.mark.parametrize("check", [latency_p95, latency_speedup])
@pytest.mark.parametrize("adaptive", [None, 60.0])
def test_what_is_open_is_measured_longer(
    context: TargetContext,
    monkeypatch: pytest.MonkeyPatch,
    check: Callable[[TargetContext], CheckResult],
    adaptive: float | None,
) -> None:
    """As long again as planned, without being asked; CI once ended for 900 calls worth 26."""
    asked: list[bool] = []

    def measured(_: object, plan: Plan, **how: Any) -> list[SeriesSamples]:
        assert how["more_seconds"] == adaptive
        if check is latency_p95:
            short, enough = ([series(VirtualEmbedder(), blocks=each)] * 2 for each in (3, 9))
            # A bound within the budget that is too near to it to end by.
            near = next(
                samples
                for samples in ([tail(slow)] * 2 for slow in range(30, 0, -1))
                if p95_result(context, *samples).status == "passed"
            )
        else:
            short, enough = (
                [paired("candidate", scale, 1), paired("official", 5.0, 2)] for scale in (6.25, 5.0)
            )
            near, passes, open_at = enough, 5.0, 6.25
            while open_at - passes > 0.01:
                middle = [paired("candidate", (passes + open_at) / 2, 1), short[1]]
                if speedup_result(context, middle, {}).status == "passed":
                    near, passes = middle, (passes + open_at) / 2
                else:
                    open_at = (passes + open_at) / 2
        asked.extend(how["enough"](samples) for samples in (short, near, enough))
        return enough

    monkeypatch.setattr(sys.modules[check.__module__], "measure", measured)
    targets = {role: Path(sys.executable) for role in ("candidate", "official")}
    found = check(replace(context, targets=targets, adaptive_seconds=adaptive))
    assert asked == [False, False, True]
    assert found.status == "passed"


def test_too_few_samples_are_inconclusive(context: TargetContext) -> None:
    mix = series(VirtualEmbedder(), blocks=3)
    found = p95_result(context, mix, mix)
    assert found.status == "inconclusive"
    assert found.evidence["more_samples"] == 120
    assert "--adaptive" in found.hint


def test_a_gate_on_coreml_is_not_run_where_coreml_cannot_execute(context: TargetContext) -> None:
    mix = series(VirtualEmbedder())
    found = p95_result(context, mix, mix, missing="linux-x86_64 has no CoreML runtime")
    assert found.status == "not-run"
    assert found.evidence["fallback"]["provider"] == "cpu"
    assert found.evidence["fallback"]["status"] == "passed"
    assert found.measured is None


# latency.speedup ----------------------------------------------------------------------------


def paired(target: str, scale: float, seed: int, *, provider: str = "cpu") -> SeriesSamples:
    found = SeriesSamples(spec=SeriesSpec(target=target, provider=provider))
    random = np.random.default_rng(seed)
    for block in range(12):
        values = (scale * MS * random.lognormal(sigma=0.2, size=60)).astype(int).tolist()
        found.add(
            {"values": values, "warmup": [], "tokens": [9] * 60, "stages": {}, "conditions": {}},
            slot=block % 2,
            block=block,
            meanwhile={},
        )
    return found


@pytest.mark.parametrize(
    ("scale", "status"), [(5.0, "passed"), (8.0, "failed"), (6.25, "inconclusive")]
)
def test_speed_against_the_official_wheel(
    context: TargetContext, scale: float, status: str
) -> None:
    found = speedup_result(context, [paired("candidate", scale, 1), paired("official", 5.0, 2)], {})
    assert found.status == status
    assert found.measured == pytest.approx(5.0 / scale, rel=0.1)
    json.dumps(found.evidence)


def test_a_slower_coreml_fails(context: TargetContext) -> None:
    samples = [paired("candidate", 9.0, 1, provider="coreml"), paired("candidate", 5.0, 2)]
    found = speedup_result(context, samples, {"candidate over official": "not there"})
    assert found.status == "failed"
    assert "Not measured: candidate over official" in found.summary


# concurrency --------------------------------------------------------------------------------


def test_equal_vectors_from_many_threads_pass() -> None:
    embedder = VirtualEmbedder()
    single = run_load(embedder.embed_timed, QUERIES, threads=1)
    many = run_load(embedder.embed_timed, QUERIES, threads=4, rounds=2)
    found = concurrency_result(single, many, threads=4)
    assert found.status == "passed"
    assert found.evidence["calls"] == found.evidence["bitwise_equal"] == 4 * 2 * 60


@pytest.mark.parametrize("spoilt", [2e-6, 1.0, math.nan, math.inf])
def test_one_other_vector_fails(spoilt: float) -> None:
    embedder = VirtualEmbedder()
    single = run_load(embedder.embed_timed, QUERIES, threads=1)
    many = run_load(embedder.embed_timed, QUERIES, threads=2)
    vectors = [vector.astype(np.float64) for vector in many.vectors]
    vectors[37] = vectors[37] + spoilt
    found = concurrency_result(single, replace(many, vectors=tuple(vectors)), threads=2)
    assert found.status == "failed"


def test_an_exception_in_a_thread_fails_and_is_told() -> None:
    embedder = VirtualEmbedder()

    def sometimes(text: str) -> tuple[np.ndarray, StageTimes]:
        if embedder.calls == 30:
            embedder.calls += 1
            raise RuntimeError("the session is busy")
        return embedder.embed_timed(text)

    single = run_load(VirtualEmbedder().embed_timed, QUERIES, threads=1)
    found = concurrency_result(single, run_load(sometimes, QUERIES, threads=3), threads=3)
    assert found.status == "failed"
    assert "the session is busy" in found.summary


def test_a_full_disk_ends_the_load_and_is_not_met_at_every_call() -> None:
    """Each call builds the graph anew where it could not be kept: 480 times half a second."""
    met = []

    def full(text: str) -> tuple[np.ndarray, StageTimes]:
        met.append(text)
        raise CannotWrite("graph.onnx cannot be written: No space left on device.")

    with pytest.raises(CannotWrite, match="No space left"):
        run_load(full, QUERIES, threads=4, rounds=2)
    assert len(met) <= 4


# memory -------------------------------------------------------------------------------------


def memory(slope_per_run: float, *, noise: float = 0.0, step_at: int | None = None) -> Any:
    """Points of 5,000 runs: 300 MiB, a rise at the start, a slope, noise, and perhaps a step."""
    random = np.random.default_rng(3)
    points = []
    for runs in range(50, 5001, 50):
        rss = 300 + min(runs, 500) * 0.05 + slope_per_run * runs + noise * random.standard_normal()
        if step_at is not None and runs >= step_at:
            rss += 8
        points.append((runs, rss))
    return memory_result(points, runs=5000, limits=Limits())


def test_a_leak_fails_and_noise_does_not() -> None:
    assert memory(0.01).status == "failed"  # 50 MiB over the runs
    assert memory(0.0).status == "passed"
    assert memory(0.0, noise=2.0).status == "passed"
    assert memory(0.01, noise=2.0).status == "failed"


def test_a_single_step_is_no_leak() -> None:
    assert memory(0.0, noise=0.1, step_at=1500).status == "passed"
    assert memory(0.0, noise=0.1, step_at=4500).status == "passed"


def test_a_slow_leak_is_told_even_when_it_passes() -> None:
    found = memory(0.001)
    assert found.status == "passed"
    assert found.measured == pytest.approx(5.0, rel=0.05)
    assert "grows steadily" in found.summary


def test_fewer_runs_say_so_and_are_scaled() -> None:
    points = [(runs, 300 + 0.01 * runs) for runs in range(10, 1001, 10)]
    found = memory_result(points, runs=1000, limits=Limits())
    assert found.status == "failed"
    assert found.measured == pytest.approx(50.0)
    assert "Only 1000 of 5000" in found.summary


def test_a_few_points_tell_nothing() -> None:
    found = memory_result([(1, 300.0), (2, 300.0)], runs=2, limits=Limits())
    assert found.status == "inconclusive"


def test_the_trend_interval_covers_the_slope_and_scales() -> None:
    random = np.random.default_rng(8)
    x = list(range(80))
    covered = 0
    for _ in range(100):
        y = [0.3 * step + float(random.standard_normal()) for step in x]
        found = trend(x, y)
        doubled = trend(x, [2 * value for value in y])
        assert found is not None
        assert doubled is not None
        assert found.low <= found.slope <= found.high
        assert doubled.slope == pytest.approx(2 * found.slope)
        covered += found.low <= 0.3 <= found.high
    assert covered >= 88


# robustness ---------------------------------------------------------------------------------


class FakeSession:
    """An embedder that gives the same vector every time, unless a case breaks it."""

    def __init__(self) -> None:
        self.broken = ""
        self.drift = 0.0

    def embed(self, texts: list[str], *, kind: str = "plain") -> np.ndarray:
        if self.broken:
            raise RuntimeError(self.broken)
        return np.full((len(texts), 4), 1.0 + self.drift, dtype=np.float32)


def attempt(case: robustness.Case) -> str:
    session: Any = FakeSession()
    return robustness.outcome(case, session, session.embed([robustness.REFERENCE]))


def breaks(session: Any) -> None:
    session.broken = "out of order"
    raise ValueError("refused")


def drifts(session: Any) -> None:
    session.drift = 1e-6
    raise ValueError("refused")


def raises(error: Exception) -> Any:
    def run(session: Any) -> None:
        raise error

    return run


@pytest.mark.parametrize(
    ("run", "right", "says"),
    [
        (raises(ValueError("wrong rank")), None, "ok: ValueError: wrong rank"),
        (raises(ValueError("")), None, "without a message"),
        (lambda session: 3, None, "no exception"),
        (lambda session: 3, lambda session, result: result == 3, "ok: the right result"),
        (lambda session: 3, lambda session, result: result == 4, "a wrong result"),
        (breaks, None, "does not work afterwards"),
        (drifts, None, "another vector afterwards"),
    ],
)
def test_what_comes_of_a_bad_input(run: Any, right: Any, says: str) -> None:
    found = attempt(robustness.Case(name="x", attempt=run, right=right))
    assert says in found
    assert found.startswith("ok") == says.startswith("ok")


@pytest.mark.parametrize(
    ("function", "says"),
    [("signal_at_one_case", "signal 11"), ("exit_at_one_case", "exit code 3")],
)
def test_a_crash_is_known_by_the_name_of_its_input(
    context: TargetContext, monkeypatch: pytest.MonkeyPatch, function: str, says: str
) -> None:
    monkeypatch.setattr(robustness, "PROBE", f"tests.kit.worker_functions:{function}")
    found = robustness.robustness_inputs(context)
    assert found.status == "failed"
    assert found.measured == 1
    assert worker_functions.BAD in found.summary
    assert says in found.summary
    # The inputs after the crash are tried in another process.
    assert (context.work / "started").read_text("ascii") == "xx"
    outcomes = found.evidence["outcomes"]
    assert set(outcomes) == {case.name for case in robustness.CASES}
    assert sum(text == "ok: refused" for text in outcomes.values()) == len(outcomes) - 1


def test_a_process_that_does_not_start_is_an_error(
    context: TargetContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(robustness, "PROBE", "tests.kit.worker_functions:does_not_start")
    with pytest.raises(VerifyError, match=r"did not start.*No module named onnxruntime"):
        robustness.robustness_inputs(context)
