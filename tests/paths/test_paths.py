"""The harness with paths of its own: programs in Python that answer as the worker does."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.paths.measure import Route, Samples, measure
from tests.paths.result import Row, advice, row, size
from tests.paths.run import NOT_RUN, main
from tests.paths.show import cells, markdown, write
from tests.paths.worker import PathFailed, Worker
from verify.policy.limits import Limits

FAKE = """
import json, sys
print("ready", flush=True)
for count, line in enumerate(sys.stdin):
    text = json.loads(line)
    if {dies} and count > 3:
        sys.exit("no more")
    vector = [0.0, 1.0] if {wrong} else [1.0, 0.0]
    print(json.dumps({{"ns": {ns}, "vector": vector}}), flush=True)
"""


def route(key: str, tmp_path: Path, *, ns: int = 2_000_000, **how: bool) -> Route:
    chosen = {"dies": False, "wrong": False, **how}
    return Route(
        key=key,
        name=f"path {key}",
        provider="CPU",
        claimed="10 to 15",
        argv=[sys.executable, "-c", FAKE.format(ns=ns, **chosen)],
        env={},
        deployed={"a file": tmp_path / "file"},
    )


def measured(tmp_path: Path, *routes: Route, samples: int = 12) -> dict[str, Samples]:
    (tmp_path / "file").write_bytes(bytes(1000))
    said: list[str] = []
    return measure(
        routes,
        texts=["a", "b"],
        references=[("right", np.array([1, 0], np.float32))],
        samples=samples,
        logs=tmp_path,
        say=said.append,
    )


LIMITS = Limits(latency_min_samples=59)


def test_every_path_gets_every_call_and_keeps_what_it_measured(tmp_path: Path) -> None:
    found = measured(tmp_path, route("A", tmp_path), route("C", tmp_path, ns=5_000_000))
    assert found["A"].times == [2_000_000] * 12
    assert found["C"].times == [5_000_000] * 12
    assert found["A"].cosines == [1.0]
    assert len(found["A"].starts) == 5
    assert min(found["A"].starts) > 0
    assert found["A"].peak_bytes > 1_000_000


def test_go_asks_for_the_bound_and_for_right_vectors(tmp_path: Path) -> None:
    fast, slow = route("A", tmp_path), route("B", tmp_path, ns=30_000_000)
    wrong = route("C", tmp_path, wrong=True)
    found = measured(tmp_path, fast, slow, wrong, samples=80)
    rows = {each.key: row(each, found[each.key], LIMITS, 20.0) for each in (fast, slow, wrong)}
    assert [rows[key].verdict for key in "ABC"] == ["GO", "NO-GO", "NO-GO"]
    assert rows["A"].bound_ms == 2.0
    assert rows["A"].deployed_bytes == 1000
    assert "cosine" in rows["C"].reason
    assert advice(list(rows.values()), 20.0).startswith("GO with A, path A: P95 is at most 2.00 ms")
    assert advice([rows["B"]], 20.0) == "No path is a GO against 20 ms on this host."


def test_too_few_samples_are_no_go_and_no_no_go(tmp_path: Path) -> None:
    only = route("A", tmp_path)
    judged = row(only, measured(tmp_path, only)["A"], LIMITS, 20.0)
    assert judged.verdict == "inconclusive"


def test_a_path_that_dies_is_not_run_and_the_others_go_on(tmp_path: Path) -> None:
    good, dies = route("A", tmp_path), route("B", tmp_path, dies=True)
    missing = Route(**{**vars(good), "key": "C", "argv": [sys.executable, "-c", "1/0"]})
    found = measured(tmp_path, good, dies, missing)
    assert len(found["A"].times) == 12
    for bad, words in ((dies, "no more"), (missing, "ZeroDivisionError")):
        judged = row(bad, found[bad.key], LIMITS, 20.0)
        assert judged.verdict == "not run"
        assert words in judged.reason
        assert "not run" in cells(judged)


def test_a_path_that_is_killed_is_not_run_and_nothing_else_is_said(tmp_path: Path) -> None:
    chosen = route("A", tmp_path)
    with Worker(chosen.argv, chosen.env, tmp_path / "log") as worker:
        worker.ready()
        worker._process.kill()
        worker._process.wait()
        with pytest.raises(PathFailed, match="ended with -9"):
            worker.ask("a")


def test_the_report_holds_every_sample_and_the_claims_as_claims(tmp_path: Path) -> None:
    good, dies = route("A", tmp_path), route("B", tmp_path, dies=True)
    found = measured(tmp_path, good, dies, samples=60)
    rows = [row(each, found[each.key], LIMITS, 20.0) for each in (good, dies)]
    out = tmp_path / "report"
    write(out, rows, found, budget_ms=20.0, about={"host": "<here>"}, advice="GO")
    document = json.loads((out / "paths.json").read_text())
    assert document["paths"][0]["times_ns"] == [2_000_000] * 60
    assert document["paths"][0]["verdict"] == "GO"
    assert document["paths"][1]["verdict"] == "not run"
    page = (out / "paths.html").read_text()
    assert "&lt;here&gt;" in page
    assert page.count("<svg") == 1
    assert not re.search(r'(src|href)="http', page)
    assert "10 to 15 (the plan's)" in (out / "paths.md").read_text()
    assert "claimed by the plan" in (out / "paths.svg").read_text()


def test_a_table_has_a_cell_for_each_column() -> None:
    bare = Row(key="A", name="a", provider="CPU", claimed="1", verdict="not run", reason="")
    lines = markdown([bare]).splitlines()
    assert len({line.count("|") for line in lines}) == 1


def test_a_folder_is_as_large_as_its_files_and_links_count_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(5))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_bytes(bytes(7))
    (tmp_path / "b" / "link").symlink_to(tmp_path / "a")
    assert size(tmp_path) == 12


@pytest.mark.parametrize(
    ("exact", "value", "verdict"),
    [
        (True, 0.99999, "GO"),
        (True, 0.9999899, "NO-GO"),
        (False, 0.999, "GO"),
        (False, 0.99899, "NO-GO"),
    ],
)
def test_the_policys_cosine_decides(
    exact: bool, value: float, verdict: str, tmp_path: Path
) -> None:
    only = replace(route("A", tmp_path), exact=exact)
    (tmp_path / "file").write_bytes(b"")
    samples = Samples(times=[1_000_000] * 80, cosines=[1.0, value], starts=[0.1])
    judged = row(only, samples, LIMITS, 20.0)
    assert judged.verdict == verdict


@pytest.mark.parametrize(
    "words",
    [("--samples", "0"), ("--threads", "-1"), ("--budget-ms", "0"), ("--budget-ms", "nan")],
)
def test_numbers_that_measure_nothing_are_refused_before_anything_is_made(
    words: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == NOT_RUN
    assert "numbers above 0" in capsys.readouterr().err
