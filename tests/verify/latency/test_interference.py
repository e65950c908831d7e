"""A busy machine is never blamed on the wheel, and never excuses it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.latencies import BUDGET_MS, KINDS, disturbed, own_times, quiet
from verify.latency.interference import Blame, Conditions, judge_fairly
from verify.statistics.gate import judge_p95

# The table of docs/verification.md is made with 200 (`python -m tests.bench.interference`).
RUNS = 30
GOOD, BAD = 0.8 * BUDGET_MS, 1.2 * BUDGET_MS


def judged(conditions: Conditions) -> Blame:
    return judge_fairly(conditions, budget_ms=BUDGET_MS, min_samples=300)


def outcomes(kind: str, p95_ms: float) -> Counter[str]:
    generators = np.random.default_rng([KINDS.index(kind), int(p95_ms * 10)]).spawn(RUNS)
    return Counter(
        judged(disturbed(kind, rng, rounds=4, p95_ms=p95_ms)).judgement.status for rng in generators
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_wheel_is_never_failed(kind: str) -> None:
    assert outcomes(kind, GOOD)["failed"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_wheel_is_never_passed(kind: str) -> None:
    assert outcomes(kind, BAD)["passed"] == 0


def test_a_quiet_machine_settles_both() -> None:
    assert outcomes("quiet", GOOD)["passed"] >= 0.95 * RUNS
    assert outcomes("quiet", BAD)["failed"] >= 0.95 * RUNS


def test_a_bad_wheel_is_failed_where_enough_calls_were_left_alone() -> None:
    """A machine that stops some calls does not hide that the others are too slow."""
    assert outcomes("stops", BAD)["failed"] >= 0.9 * RUNS


@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(KINDS), p95=st.floats(5.0, 60.0))
@settings(max_examples=25, deadline=None)
def test_a_pass_is_never_eased(seed: int, kind: str, p95: float) -> None:
    rng = np.random.default_rng(seed)
    conditions = disturbed(kind, rng, rounds=3, p95_ms=p95)
    plain = judge_p95(
        conditions.wall,
        budget_ms=BUDGET_MS,
        min_samples=300,
        processes=[int(label) for label in conditions.process],
    )
    fair = judged(conditions)
    assert (fair.judgement.status == "passed") == (plain.status == "passed")
    assert fair.judgement.status != "failed" or plain.status == "failed"
    assert (fair.party == "machine") == (
        plain.status == "failed" and fair.judgement.status == "inconclusive"
    )


def test_the_sentence_has_the_figures() -> None:
    rng = np.random.default_rng(5)
    hogs = disturbed("hogs on all cores", rng, rounds=4, p95_ms=16.0)
    blame = judged(replace(hogs, others=np.where(np.arange(hogs.wall.size) % 2, 0.5, 0.0)))
    assert blame.party == "machine"
    assert "the machine could explain it" in blame.judgement.reason
    assert "shared the processors with other programs" in blame.judgement.reason
    assert 0 < blame.evidence["undisturbed_share"] < 1
    assert blame.evidence["undisturbed"]["p95"] < BUDGET_MS
    assert blame.evidence["causes"]["waited for a processor"] > 0.3
    assert blame.evidence["causes"]["shared the processors with other programs"] == 0.5


def test_waiting_for_its_own_threads_is_the_wheel_s_doing() -> None:
    """More threads than cores on a machine that does nothing else: nobody else is to blame."""
    rng = np.random.default_rng(6)
    base = quiet(own_times(rng, 4, 15.0), rng)
    slow = replace(base, wall=base.wall * 2, delay=base.wall)
    assert judged(slow).judgement.status == "inconclusive"
    blame = judged(replace(slow, alone=True))
    assert (blame.judgement.status, blame.party) == ("failed", "wheel")


def test_a_host_that_shows_no_run_queue_has_its_switches() -> None:
    rng = np.random.default_rng(7)
    base = quiet(own_times(rng, 4, 24.0), rng)
    unknown = replace(base, delay=np.full(base.wall.size, np.nan))
    assert judged(unknown).judgement.status == "failed"
    assert not unknown.disturbed().any()
    assert replace(unknown, switches=np.ones(base.wall.size)).disturbed().all()


def test_a_wheel_that_waits_of_its_own_accord_has_no_excuse() -> None:
    """It sleeps, or waits for a device: no queue, no stop, whatever the processor time says."""
    rng = np.random.default_rng(8)
    base = quiet(own_times(rng, 4, 24.0), rng)
    device = replace(base, processor=base.wall * rng.uniform(0.08, 0.12, base.wall.size))
    assert not device.disturbed().any()
    assert judged(device).judgement.status == "failed"


def test_what_a_report_holds_becomes_conditions() -> None:
    recorded = {
        "processor": [2, 4, 6], "delay": [0, None, 5], "switches": [0, 1, 0], "stops": [0, 0, 2],
        "loop": [12, None, 10], "stolen": [0.0, 0.0, None], "alone": True,
    }  # fmt: skip
    found = Conditions.of([1, 2, 3], [0, 0, 1], recorded)
    assert found.slowdown[0] == 1.2
    assert np.isnan(found.slowdown[1])
    assert found.slowdown[2] == 1.0
    assert np.isnan(found.delay[1])
    assert found.alone
    nothing = Conditions.of([1, 2, 3], [0, 0, 1], None)
    assert not nothing.disturbed().any()
    assert not nothing.alone


def test_a_neighbour_slows_calls_that_never_waited() -> None:
    """Its second thread, its caches: neither the queue nor the loop shows it."""
    rng = np.random.default_rng(10)
    base = quiet(own_times(rng, 4, 0.8 * BUDGET_MS), rng)
    crowded = replace(base, wall=base.wall * 1.75, others=np.full(base.wall.size, 0.5))
    blame = judged(crowded)
    assert (blame.judgement.status, blame.party) == ("inconclusive", "machine")
    assert blame.evidence["causes"] == {"shared the processors with other programs": 1.0}
    assert judged(replace(crowded, others=base.others)).judgement.status == "failed"


def test_no_neighbour_explains_a_wheel_that_is_far_too_slow() -> None:
    rng = np.random.default_rng(11)
    base = quiet(own_times(rng, 4, 3 * BUDGET_MS), rng)
    blame = judged(replace(base, others=np.full(base.wall.size, 0.5)))
    assert (blame.judgement.status, blame.party) == ("failed", "wheel")
    assert blame.evidence["shared"]["status"] == "failed"


def test_too_few_undisturbed_calls_tell_nothing() -> None:
    rng = np.random.default_rng(9)
    base = quiet(own_times(rng, 4, 40.0), rng)
    blame = judged(replace(base, stops=np.ones(base.wall.size)))
    assert blame.judgement.status == "inconclusive"
    assert "No call was left alone" in blame.judgement.reason
    assert blame.judgement.more_samples is None
