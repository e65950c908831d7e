"""Comparing two runs: what is real, what is noise, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.report_example import example, example_document
from verify.errors import VerifyError
from verify.report.document import Document, parse
from verify.report.two_runs import Comparison, compare

NAME = "candidate/cpu/fp32/mix"


WHOLE = example_document(calls=1)


def run(values: Any, *, process: Any = None, tokens: Any = None, **host: str) -> Document:
    """Make a document with one series; values in milliseconds."""
    values = [float(v) for v in values]
    entry = {
        "series": NAME, "role": "candidate", "provider": "cpu", "precision": "fp32",
        "workload": "mix", "unit": "ms", "values": values, "warmup": [], "stages": {},
        "process": [int(p) for p in process] if process is not None else [0] * len(values),
        "tokens": [int(t) for t in tokens] if tokens is not None else [16] * len(values),
    }  # fmt: skip
    return parse({**WHOLE, "host": {**WHOLE["host"], **host}, "samples": {"latency": [entry]}})


def noisy(seed: int, *, n: int = 300, correlation: float = 0.5, spread: float = 0.06) -> Any:
    """Autocorrelated log-normal latencies around 10 ms."""
    source = np.random.default_rng(seed)
    shocks = source.normal(0, 1, n + 50)
    level = np.zeros(n + 50)
    for index in range(1, n + 50):
        level[index] = correlation * level[index - 1] + shocks[index]
    return 10 * np.exp(spread * np.sqrt(1 - correlation**2) * level[50:])


def outcomes(found: Comparison) -> dict[str, str]:
    return {one.statistic: one.outcome for one in found.latency}


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 0.8), st.integers(1, 4))
def test_a_run_does_not_differ_from_itself(seed: int, correlation: float, parts: int) -> None:
    values = noisy(seed, correlation=correlation)
    one = run(values, process=np.arange(values.size) // 10 % parts)
    found = compare(one, one.model_copy(deep=True))
    assert not found.real
    assert set(outcomes(found).values()) == {"no real difference"}
    for difference in found.latency:
        assert difference.ratio == 1
        assert difference.low is not None
        assert difference.high is not None
        assert difference.low <= 1 <= difference.high


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 0.7), st.integers(1, 4), st.booleans())
def test_a_third_slower_is_real_both_ways(
    seed: int, correlation: float, parts: int, same_samples: bool
) -> None:
    values = noisy(seed, correlation=correlation)
    again = values if same_samples else noisy(seed + 1, correlation=correlation)
    process = np.arange(values.size) // 10 % parts
    before, after = run(values, process=process), run(1.3 * again, process=process)
    assert set(outcomes(compare(before, after)).values()) == {"slower"}
    assert set(outcomes(compare(after, before)).values()) == {"faster"}
    assert "slower" in compare(before, after).headline


def test_independent_runs_of_one_thing_rarely_differ() -> None:
    process = np.arange(300) // 20 % 3
    differ = 0
    for seed in range(40):
        a = run(noisy(2 * seed, correlation=0.7), process=process)
        b = run(noisy(2 * seed + 1, correlation=0.7), process=process)
        differ += compare(a, b).real
    # 5 % is promised for both intervals together; 40 runs give at most 6 with 99 % probability.
    assert differ <= 6


def test_text_lengths_do_not_hide_a_change() -> None:
    tokens = np.tile([6, 12, 24, 48, 96], 60)
    a = run(noisy(1) * tokens, tokens=tokens)
    b = run(1.12 * noisy(2) * tokens, tokens=tokens)
    assert set(outcomes(compare(a, b)).values()) == {"slower"}


def test_other_texts_widen_the_interval() -> None:
    source = np.random.default_rng(5)
    tokens = source.permutation(np.tile([6, 12, 24, 48, 96], 60))
    others = source.permutation(np.tile([6, 12, 24, 24, 96], 60))
    a = run(noisy(1) * tokens, tokens=tokens)
    same = compare(a, run(noisy(2) * tokens, tokens=tokens)).latency[0]
    different = compare(a, run(noisy(2) * others, tokens=others)).latency[0]
    assert same.low is not None
    assert same.high is not None
    assert different.low is not None
    assert different.high is not None
    assert np.log(different.high / different.low) > 1.5 * np.log(same.high / same.low)


def test_processes_that_differ_widen_the_interval() -> None:
    process = np.arange(300) // 10 % 3
    shift = np.array([0.85, 1.0, 1.18])[process]
    steady, uneven = run(noisy(1), process=process), run(noisy(2) * shift, process=process)
    calm = compare(steady, run(noisy(2), process=process)).latency[0]
    wide = compare(steady, uneven).latency[0]
    assert calm.low is not None
    assert calm.high is not None
    assert wide.low is not None
    assert wide.high is not None
    assert np.log(wide.high / wide.low) > 2 * np.log(calm.high / calm.low)


def test_a_difference_under_two_percent_is_never_called_real() -> None:
    values = noisy(1, spread=0.001, correlation=0)
    found = compare(run(values), run(1.015 * values))
    assert not found.real
    assert found.latency[0].low is not None
    assert found.latency[0].low > 1


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (29, {"median": "too few samples", "P95": "too few samples"}),
        (60, {"median": "slower", "P95": "too few samples"}),
        (100, {"median": "slower", "P95": "slower"}),
    ],
)
def test_too_few_samples_are_no_answer(n: int, expected: dict[str, str]) -> None:
    found = compare(run(noisy(1, n=n, correlation=0)), run(2 * noisy(2, n=n, correlation=0)))
    assert outcomes(found) == expected


def test_zero_durations_are_no_answer() -> None:
    found = compare(run([0.0] * 200), run([1.0] * 200))
    assert set(outcomes(found).values()) == {"too few samples"}
    assert not found.real


def test_constant_samples_are_compared() -> None:
    assert not compare(run([3.0] * 200), run([3.0] * 200)).real
    assert compare(run([3.0] * 200), run([3.3] * 200)).real


def test_another_host_is_refused_unless_allowed() -> None:
    a, b = run(noisy(1)), run(noisy(2), fingerprint="b" * 64, cpu="another")
    with pytest.raises(VerifyError, match="different hosts") as caught:
        compare(a, b)
    assert "--other-host" in caught.value.hint
    assert "another" in caught.value.context["second host"]
    found = compare(a, b, allow_other_host=True)
    assert not found.same_host
    assert "different hosts" in found.headline


def test_statuses_series_wheels_and_embeddings_are_told() -> None:
    a, b = example_document(), example_document()
    b["checks"][1]["status"] = "failed"
    b["checks"].pop()
    reference = next(c for c in b["checks"] if c["id"] == "embedding.reference")
    reference["measured"] = 0.9999
    reference["evidence"]["max_abs"] = 3e-4
    b["samples"]["latency"].pop()
    b["wheel"]["sha256"] = "0" * 64
    found = compare(parse(a), parse(b))
    assert [(c.id, c.before, c.after) for c in found.statuses] == [
        ("provider.registered", "passed", "failed"),
        ("robustness.inputs", "passed", None),
    ]
    moved = {one.quantity: one for one in found.drift}
    assert set(moved) == {"measured", "max_abs"}
    assert moved["measured"].change == pytest.approx(-9.9999e-5)
    assert moved["measured"].unit == "cosine"
    assert found.only_before == ("official/cpu/fp32/paired",)
    assert found.only_after == ()
    assert not found.same_wheel
    assert found.same_host
    assert found.decisions == ("GO-WITH-FALLBACK", "GO-WITH-FALLBACK")


def test_the_same_documents_give_the_same_answer() -> None:
    a, b = example(seed=1), example(seed=2)
    assert compare(a, b) == compare(a, b)
