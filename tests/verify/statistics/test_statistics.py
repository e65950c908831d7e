"""Laws of the latency gate's statistics, and its error rates on a small scale."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.bench.gate_error import CASES, simulate
from verify.errors import VerifyError
from verify.statistics.effective import autocorrelation_times, effective_size
from verify.statistics.gate import judge_p95, weigh
from verify.statistics.quantile import lower_rank, smallest_sample, upper_rank
from verify.statistics.ratio import ratio_interval
from verify.statistics.stability import find_instability

MS = 1e6
BADNESS = {"passed": 0, "inconclusive": 1, "failed": 2}

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 400)
budgets = st.floats(0.01, 100.0)
quick = settings(max_examples=60, deadline=None)


def latencies(seed: int, n: int) -> np.ndarray:
    """Draw `n` independent latencies around 5 ms, in ns."""
    return 5.0 * MS * np.random.default_rng(seed).lognormal(sigma=0.5, size=n)


# Bounds -------------------------------------------------------------------------------------


def test_p95_at_95_percent_needs_59_samples() -> None:
    assert smallest_sample(quantile=0.95, confidence=0.95) == 59
    assert upper_rank(58) is None
    assert upper_rank(59) == 59


@pytest.mark.parametrize("n", [59, 93, 300, 1000, 4321])
@pytest.mark.parametrize("quantile", [0.5, 0.95, 0.99])
def test_ranks_are_the_sharpest_that_the_binomial_allows(n: int, quantile: float) -> None:
    upper, lower = upper_rank(n, quantile=quantile), lower_rank(n, quantile=quantile)
    if upper is None:
        assert quantile**n > 0.05
    else:
        assert stats.binom.sf(upper - 1, n, quantile) <= 0.05
        assert stats.binom.sf(upper - 2, n, quantile) > 0.05
    assert lower is not None
    assert stats.binom.cdf(lower - 1, n, quantile) <= 0.05
    assert stats.binom.cdf(lower, n, quantile) > 0.05


def test_upper_bound_is_that_of_scipy() -> None:
    values = np.sort(latencies(3, 300))
    found = stats.quantile_test(values, p=0.95, alternative="less").confidence_interval(0.95)
    rank = upper_rank(300)
    assert rank is not None
    assert values[rank - 1] == found.high


@quick
@given(n=st.integers(59, 3000), share=st.floats(0.05, 1.0))
def test_fewer_effective_samples_never_narrow_the_bounds(n: int, share: float) -> None:
    upper, lower = upper_rank(n, effective=share * n), lower_rank(n, effective=share * n)
    full_upper, full_lower = upper_rank(n), lower_rank(n)
    assert full_upper is not None
    assert full_lower is not None
    assert upper is None or upper >= full_upper
    assert lower is None or lower <= full_lower
    assert (upper is None) == (share * n < 59)


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_levels_outside_of_0_and_1_are_refused(bad: float) -> None:
    with pytest.raises(VerifyError, match="between 0 and 1"):
        upper_rank(100, confidence=bad)
    with pytest.raises(VerifyError, match="between 0 and 1"):
        judge_p95([1.0], budget_ms=1.0, min_samples=1, quantile=bad)


# Effective size -----------------------------------------------------------------------------


def test_effective_size_of_independent_samples_stays_near_their_number() -> None:
    found = [effective_size(latencies(seed, 1000)) for seed in range(40)]
    assert 550 < np.mean(found) <= 1000


def test_effective_size_sees_runs_in_the_tail() -> None:
    values = latencies(1, 1000)
    values[np.arange(1000) % 200 >= 190] += 100 * MS  # five slow spells of ten calls
    assert effective_size(values) < 150


@quick
@given(seed=seeds, n=sizes)
def test_effective_size_lies_between_1_and_n_and_looks_at_ranks_alone(seed: int, n: int) -> None:
    values = latencies(seed, n)
    found = effective_size(values)
    assert 1.0 <= found <= n
    assert effective_size(np.exp(values / (5 * MS))) == pytest.approx(found)


def test_autocorrelation_time_of_ar1_is_the_known_one_with_a_margin() -> None:
    rng = np.random.default_rng(5)
    noise = rng.standard_normal(200_000)
    series = np.empty_like(noise)
    level = 0.0
    for index, shock in enumerate(noise):
        level = 0.8 * level + shock
        series[index] = level
    assert autocorrelation_times(series[None])[0] == pytest.approx(9.0, rel=0.15)


@pytest.mark.parametrize("n", [0, 1, 7, 8, 500])
def test_constant_series_are_no_error(n: int) -> None:
    assert effective_size(np.full(n, 3.0)) == n


# Judgement ----------------------------------------------------------------------------------


def test_fast_passes_slow_fails_and_close_is_inconclusive() -> None:
    values = latencies(1, 600)
    p95 = float(np.quantile(values, 0.95)) / MS
    fast = judge_p95(values, budget_ms=2 * p95, min_samples=300)
    slow = judge_p95(values, budget_ms=p95 / 2, min_samples=300)
    close = judge_p95(values, budget_ms=p95, min_samples=300)
    assert (fast.status, slow.status, close.status) == ("passed", "failed", "inconclusive")
    assert fast.more_samples is None
    assert "within" in fast.reason
    assert "beyond" in slow.reason


@quick
@given(seed=seeds, n=sizes, low=budgets, high=budgets)
def test_a_larger_budget_never_judges_worse(seed: int, n: int, low: float, high: float) -> None:
    low, high = sorted((low, high))
    evidence = weigh(latencies(seed, n), min_samples=60)
    assert BADNESS[evidence.judge(high).status] <= BADNESS[evidence.judge(low).status]


@quick
@given(seed=seeds, n=sizes, budget=budgets, factor=st.sampled_from([2.0**-6, 0.5, 2.0, 2.0**7]))
def test_judgement_does_not_depend_on_the_unit(
    seed: int, n: int, budget: float, factor: float
) -> None:
    values = latencies(seed, n)
    one = judge_p95(values, budget_ms=budget, min_samples=60)
    other = judge_p95(values * factor, budget_ms=budget * factor, min_samples=60)
    assert (one.status, one.more_samples) == (other.status, other.more_samples)
    assert one.upper_bound is None or other.upper_bound == pytest.approx(one.upper_bound * factor)


@quick
@given(seed=seeds, n=sizes, budget=budgets)
def test_bounds_enclose_the_p95_and_decide(seed: int, n: int, budget: float) -> None:
    found = judge_p95(latencies(seed, n), budget_ms=budget, min_samples=1)
    assert found.p50 is not None
    assert found.p95 is not None
    assert found.p99 is not None
    assert found.p50 <= found.p95 <= found.p99
    if not found.instability:
        assert found.upper_bound is None or found.upper_bound >= found.p95
        assert found.lower_bound is None or found.lower_bound <= found.p95
    if found.status == "passed":
        assert found.upper_bound is not None
        assert found.upper_bound <= budget
    if found.status == "failed":
        assert found.lower_bound is not None
        assert found.lower_bound > budget


@quick
@given(seed=seeds, n=st.integers(0, 58), budget=budgets)
def test_below_59_samples_nothing_is_decided(seed: int, n: int, budget: float) -> None:
    found = judge_p95(latencies(seed, n), budget_ms=budget, min_samples=1)
    assert found.status == "inconclusive"
    assert found.n == n


@quick
@given(seed=seeds, at=st.integers(0, 299), bad=st.sampled_from([math.nan, math.inf, -1.0]))
def test_a_value_that_is_no_duration_never_passes(seed: int, at: int, bad: float) -> None:
    values = latencies(seed, 300)
    values[at] = bad
    found = judge_p95(values, budget_ms=1e9, min_samples=1)
    assert found.status == "inconclusive"
    assert "no durations" in found.reason


@quick
@given(seed=seeds, budget=budgets)
def test_names_of_processes_do_not_matter(seed: int, budget: float) -> None:
    values = latencies(seed, 300)
    numbers = [index // 20 % 3 for index in range(300)]
    names = ["xyz"[number] for number in numbers]
    one = judge_p95(values, budget_ms=budget, min_samples=60, processes=numbers)
    other = judge_p95(values, budget_ms=budget, min_samples=60, processes=names)
    assert one.status == other.status
    assert one.upper_bound == other.upper_bound


@quick
@given(seed=seeds)
def test_sample_quantiles_do_not_depend_on_the_order(seed: int) -> None:
    values = latencies(seed, 200)
    one = judge_p95(values, budget_ms=20, min_samples=1)
    other = judge_p95(np.sort(values)[::-1], budget_ms=20, min_samples=1)
    assert (one.p50, one.p95, one.p99) == (other.p50, other.p95, other.p99)


def test_fewer_samples_than_the_policy_asks_for_are_inconclusive_and_told() -> None:
    found = judge_p95(latencies(1, 200), budget_ms=1000, min_samples=300)
    assert found.status == "inconclusive"
    assert found.more_samples == 100
    assert "200 of the 300" in found.reason


def test_missing_samples_are_about_as_many_as_said() -> None:
    """Sampling on as told settles it in most cases, and it is not grossly too many."""
    settled, told = 0, []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        values = rng.exponential(size=100_000) * MS
        budget = 3.6  # true P95 is 2.996 ms
        found = judge_p95(values[:150], budget_ms=budget, min_samples=60)
        if found.more_samples is None or found.status != "inconclusive":
            continue
        told.append(found.more_samples)
        n = 150 + found.more_samples
        again = judge_p95(values[:n], budget_ms=budget, min_samples=60)
        settled += again.status == "passed"
    assert len(told) >= 10
    assert settled / len(told) > 0.4
    assert np.median(told) < 3000


def test_more_samples_cannot_be_told_at_the_budget_itself() -> None:
    values = np.tile(np.arange(1.0, 101.0), 4) * MS
    np.random.default_rng(2).shuffle(values)
    found = judge_p95(values, budget_ms=95.0, min_samples=60)
    assert found.status == "inconclusive"
    assert found.more_samples is None
    assert "cannot be told" in found.reason


@pytest.mark.parametrize("budget", [0.0, -1.0, math.nan, math.inf])
def test_a_budget_that_is_none_is_refused(budget: float) -> None:
    with pytest.raises(VerifyError, match="budget"):
        judge_p95([1.0], budget_ms=budget, min_samples=1)


def test_labels_of_another_length_are_refused() -> None:
    with pytest.raises(VerifyError, match="3 process labels"):
        judge_p95([1.0, 2.0], budget_ms=1, min_samples=1, processes=[0, 0, 1])


# Stability ----------------------------------------------------------------------------------


def test_drift_across_the_budget_is_too_noisy_to_tell() -> None:
    values = latencies(4, 600)
    values[300:] *= 3
    found = judge_p95(values, budget_ms=20, min_samples=300)
    assert [split.kind for split in found.instability] == ["halves"]
    assert found.status == "inconclusive"
    assert "drifted" in found.reason


def test_one_slow_process_of_three_is_too_noisy_to_tell() -> None:
    values = latencies(4, 600)
    slots = np.arange(600) // 20 % 3
    values[slots == 1] *= 3
    found = judge_p95(values, budget_ms=20, min_samples=300, processes=slots.tolist())
    assert "processes" in [split.kind for split in found.instability]
    assert found.status == "inconclusive"


def test_drift_far_below_the_budget_still_passes() -> None:
    values = latencies(4, 600)
    values[300:] *= 1.6
    found = judge_p95(values, budget_ms=100, min_samples=300)
    assert found.instability
    assert found.status == "passed"


def test_stable_runs_are_seldom_called_unstable() -> None:
    rng = np.random.default_rng(9)
    slots = np.arange(400) // 20 % 3
    fired = sum(bool(find_instability(rng.random(400), processes=slots)) for _ in range(400))
    assert fired <= 16  # 4 % of 400; the tests aim at 1 %


# Sabotage: 25 ms in one call out of ten -----------------------------------------------------


def test_a_sleep_in_one_call_out_of_ten_fails_p95_and_not_p50() -> None:
    rng = np.random.default_rng(11)
    values = 5.0 * MS * rng.lognormal(sigma=0.1, size=600)
    asleep = values + 25 * MS * (rng.random(600) < 0.1)
    assert judge_p95(values, budget_ms=20, min_samples=300).status == "passed"
    assert judge_p95(asleep, budget_ms=20, min_samples=300).status == "failed"
    median = judge_p95(asleep, budget_ms=20, min_samples=300, quantile=0.5)
    assert median.status == "passed"
    assert np.mean(asleep) < 20 * MS  # a gate on the mean would have passed


# Error rates --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.spells * 300 >= 4.74], ids=lambda case: case.name
)
def test_one_sided_errors_stay_near_5_percent(case: object) -> None:
    """A small run of the benchmark; the tolerance is that of a binomial with 5 % at 99.9 %."""
    runs = 60
    row = simulate(case, 300, runs=runs)
    allowed = stats.binom.ppf(0.999, runs, 0.05) / runs
    assert row.false_pass <= allowed
    assert row.false_fail <= allowed


# Ratios -------------------------------------------------------------------------------------


def blocks(seed: int, *, scale: float, count: int = 12, size: int = 40) -> list[list[float]]:
    """Draw blocks whose level wanders, alike for all series of one seed parity."""
    rng = np.random.default_rng(seed)
    wander = np.exp(0.2 * np.random.default_rng(seed // 2).standard_normal(count))
    return [list(scale * level * rng.lognormal(sigma=0.4, size=size)) for level in wander]


def test_ratio_interval_covers_the_true_ratio_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(0, 160, 2):
        found = ratio_interval(blocks(seed, scale=3.0), blocks(seed + 1, scale=2.0), resamples=300)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 1.5 <= found.high
    assert covered >= stats.binom.ppf(0.001, 80, 0.95)


def test_ratio_of_a_series_with_itself_is_one() -> None:
    same = blocks(3, scale=1.0)
    found = ratio_interval(same, same, quantile=0.95)
    assert (found.ratio, found.low, found.high) == (1.0, 1.0, 1.0)


@quick
@given(seed=st.integers(0, 1000), factor=st.sampled_from([0.25, 2.0, 64.0]))
def test_ratio_does_not_depend_on_the_unit(seed: int, factor: float) -> None:
    slow, fast = (
        blocks(seed, scale=3.0, count=6, size=9),
        blocks(seed + 1, scale=2.0, count=6, size=9),
    )
    one = ratio_interval(slow, fast, resamples=50)
    other = ratio_interval(
        [[factor * x for x in block] for block in slow],
        [[factor * x for x in block] for block in fast],
        resamples=50,
    )
    assert one.low == pytest.approx(other.low)
    assert one.high == pytest.approx(other.high)
    assert one.low is not None
    assert one.ratio is not None
    assert one.high is not None
    assert one.low <= one.ratio <= one.high


def test_too_few_blocks_give_a_ratio_without_an_interval() -> None:
    found = ratio_interval(blocks(1, scale=1.0, count=5), blocks(2, scale=1.0, count=5))
    assert found.ratio is not None
    assert found.low is None
    assert found.high is None
    assert "too few" in found.reason


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
def test_values_that_are_no_durations_give_no_ratio(bad: float) -> None:
    slow = blocks(1, scale=1.0)
    slow[3][2] = bad
    found = ratio_interval(slow, blocks(2, scale=1.0))
    assert found.ratio is None
    assert found.low is None
    assert "no durations" in found.reason


def test_blocks_that_are_no_pairs_are_refused() -> None:
    with pytest.raises(VerifyError, match="pairs"):
        ratio_interval([[1.0]], [[1.0], [2.0]])
