"""What the bench makes of its samples, and its worker on a tiny encoder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import around, around_inside
from tests.kit import tiny_model
from tests.kit.verify_examples import TINY


def test_shares_are_those_of_each_call() -> None:
    parts = {"tokenise": [10, 20, 30], "inference": [90, 160, 270], "total": [100, 200, 300]}
    found = around.share_rows(parts)
    assert found["tokenise"] == pytest.approx(0.1)
    assert found["around"] == pytest.approx(0.1)


def test_a_way_that_takes_half_as_long_is_twice_as_fast() -> None:
    blocks = [1_000_000_000 + step for step in range(8)]
    found = {
        "times": {"naive": blocks, "64 tokens": [time // 2 for time in blocks]},
        "padded": {"naive": 300, "64 tokens": 120},
        "tokens": 100,
        "apart": {"naive": 0.0, "64 tokens": 1e-7},
    }
    naive, cut = around.batch_rows(found, texts=50)
    assert (naive["texts_per_second"], naive["padded"]) == (pytest.approx(50), 3.0)
    assert cut["ratio"]["ratio"] == pytest.approx(2)
    assert cut["ratio"]["low"] > 1.9


def test_the_worker_times_every_part_and_every_way(tmp_path: Path) -> None:
    payload = {
        "models": str(tiny_model.write(tmp_path)),
        "encoder": TINY.to_json(),
        "graphs": str(tmp_path / "graphs"),
        "tokens": TINY.max_length,
        "precisions": ["fp32"],
        "precision": "fp32",
        "calls": 5,
        "texts": 70,
        "blocks": 2,
        "budgets": [32, 64],
    }
    parts = around_inside.shares(payload)["fp32"]
    assert {len(times) for times in parts.values()} == {5}
    assert all(time > 0 for time in parts["total"])
    found = around_inside.batches(payload)
    assert set(found["times"]) == {"naive", "32 tokens", "64 tokens"}
    assert max(found["apart"].values()) < 1e-6
    assert found["tokens"] <= found["padded"]["32 tokens"] <= found["padded"]["naive"]


def test_no_environment_is_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert around.main(["--work", str(tmp_path)]) == 3
    assert "no environment" in capsys.readouterr().err
