"""The fuzz session itself: seeds repeat, breakage is broken, and a few graphs go the whole way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.__main__ import main
from tests.fuzz.graphs import make
from tests.kit.commands import WHEELS


def test_a_seed_is_a_model(tmp_path: Path) -> None:
    different = set()
    for seed in range(40):
        made = []
        for name in ("one", "two"):
            folder = tmp_path / f"{seed}-{name}"
            folder.mkdir()
            made.append(make(seed, folder))
        one, two = made
        assert one.path.read_bytes() == two.path.read_bytes()
        assert (one.fixes, one.broken, one.what) == (two.fixes, two.broken, two.what)
        different.add(one.path.read_bytes())
    assert len(different) > 35


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore")
def test_a_few_graphs_break_no_promise(capfd: pytest.CaptureFixture[str]) -> None:
    if not WHEELS:
        pytest.skip("NOT SHOWN: there is no wheel in wheels/ (`nox -s build` makes one)")
    words = ["--wheel", str(WHEELS[-1]), "--count", "20", "--seed", "1028"]
    assert main(words) == 0, capfd.readouterr().out
    assert "20 graphs, 0 findings" in capfd.readouterr().out
