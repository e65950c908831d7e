"""The bench of two wheels: its arithmetic and its words; the measuring itself needs two wheels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.bench import compilers

NAMES = ("official.whl", "ours.whl")


def blocks(scale: dict[int, float], *, seed: int, count: int = 8) -> list[dict[int, list[float]]]:
    """Blocks of ten samples whose median is about ``scale`` milliseconds, by length."""
    random = np.random.default_rng(seed)
    return [
        {
            tokens: (ms * 1e6 * random.lognormal(0.0, 0.01, 10)).tolist()
            for tokens, ms in scale.items()
        }
        for _ in range(count)
    ]


def test_a_candidate_that_is_faster_at_one_length_shows_there_alone() -> None:
    rows = compilers.rows_of(blocks({16: 2.0, 64: 6.0}, seed=1), blocks({16: 1.0, 64: 6.0}, seed=2))
    assert [row.tokens for row in rows] == [16, 64]
    assert rows[0].baseline_ms == pytest.approx(2.0, rel=0.02)
    fast, even = rows[0].interval, rows[1].interval
    assert fast.ratio is not None
    assert fast.ratio == pytest.approx(2.0, rel=0.02)
    assert even.low is not None
    assert even.high is not None
    assert even.low < 1 < even.high
    mean = compilers.overall(rows)
    assert mean is not None
    assert mean == pytest.approx(math.sqrt(2.0), rel=0.02)
    told = compilers.table(rows, NAMES, 1, "wall")
    lines = [line for line in told.splitlines() if line.startswith("    ")]
    assert "faster by" in lines[0]
    assert "not shown to differ" in lines[1]


def test_a_candidate_that_is_slower_is_called_slower() -> None:
    rows = compilers.rows_of(blocks({16: 1.0}, seed=1), blocks({16: 2.0}, seed=2))
    assert "slower by" in compilers.table(rows, NAMES, None, "wall")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--blocks", "2"], "no interval"),
        (["--clock", "cpu"], "counts those that wait"),
        (["--lengths", "2"], "--lengths takes 3"),
        (["--models", "nowhere"], "missing"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    words: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compilers.main(["a.whl", "b.whl", *words]) == 3
    said = capsys.readouterr().err
    assert problem in said
    assert "Traceback" not in said
