"""The frontier: its retrieval set, what it compares, and how it shows it."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.kit.report_example import example
from tests.kit.verify_examples import policy
from verify.environment.context import TargetContext
from verify.frontier import frontier_page
from verify.frontier.measured_forms import kept_of
from verify.frontier.quality_inside import saturation
from verify.frontier.retrieval import retrieval_set
from verify.latency.queries import workload
from verify.report.document import Host
from verify.report.frontier import Frontier, FrontierRun, Kept, Point, Share
from verify.report.html import render
from verify.statistics.ratio import RatioInterval


def point(form: str, worst: float, p95: float) -> Point:
    kept = Kept(worst=worst, mean=worst, worst_text="dots", recall=0.97, answered=0.9)
    share = Share(share=p95 / 16, low=p95 / 17, high=p95 / 15)
    return Point(
        form=form,
        summary=f"the form {form}",
        kept=kept,
        size_mib=57.0,
        memory_mib=120.0,
        p50=p95 - 1,
        p95=p95,
        p50_share=share,
        p95_share=share,
    )


def frontier(**saturates: bool) -> Frontier:
    return Frontier(
        encoder="tiny",
        tokens=128,
        instructions=("avx512-vnni",),
        saturates=saturates,
        points=(
            point("fp32", 1.0, 16.0),
            point("careful", 0.9992, 8.0),
            point("middling", 0.992, 6.0),
            point("rough", 0.9, 5.0),
        ),
    )


def run_of(found: Frontier) -> FrontierRun:
    return FrontierRun(
        created="2026-03-04T05:06:07Z",
        command="measured by a command",
        wheel="a.whl",
        wheel_sha256="f" * 64,
        host=Host(fingerprint="f", kind="linux-x86_64", cpu="A processor", cores=2, os="Debian"),
        frontier=found,
    )


def test_the_retrieval_set_is_large_and_nothing_in_it_comes_twice() -> None:
    known = retrieval_set()
    assert len(known.queries) >= 200
    assert len(known.passages) >= 2000
    assert max(Counter(known.queries).values()) == max(Counter(known.passages).values()) == 1
    assert len(set(known.answers)) == len(known.queries) == len(known.answers)
    assert not any("{" in text for text in known.queries + known.passages)
    assert known == retrieval_set()
    subject = "the login page"
    asked = next(row for row, text in enumerate(known.queries) if subject in text)
    assert subject in known.passages[known.answers[asked]]


def test_equal_vectors_keep_everything_and_others_do_not() -> None:
    random = np.random.default_rng(5)
    known = retrieval_set()
    sizes = {"references": 3, "queries": len(known.queries), "passages": len(known.passages)}
    exact = {
        name: vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        for name, size in sizes.items()
        for vectors in [random.normal(size=(size, 24)).astype(np.float32)]
    }
    same = kept_of(exact, exact, ["one", "two", "three"])
    assert same.worst == pytest.approx(1, abs=1e-6)
    assert same.recall == 1
    other = {**exact, "references": exact["references"].copy(), "passages": exact["passages"][::-1]}
    other["references"][1] = exact["references"][0]
    found = kept_of(exact, other, ["one", "two", "three"])
    assert found.worst_text == "two"
    assert found.worst < 0.9
    assert found.recall is not None
    assert found.recall < 0.05


def test_the_fastest_is_that_of_those_good_enough() -> None:
    found = frontier()
    assert [found.fastest(worst).form for worst in (0.999, 0.99)] == ["careful", "middling"]
    assert found.fastest(1.1) is None
    assert run_of(found).to_json()["fastest"] == {"0.999": "careful", "0.99": "middling"}


def test_a_share_is_the_ratio_turned_round() -> None:
    ratio = RatioInterval(ratio=2.0, low=1.6, high=2.5, confidence=0.95, quantile=0.95, blocks=9)
    assert Share.of(ratio) == Share(share=0.5, low=0.4, high=0.625)


def test_table_and_page_show_every_form_and_name_saturation(tmp_path: Path) -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    frontier_page.show(frontier(u8s8=True, u8u8=False), console)
    text = console.export_text()
    assert "fastest with worst cosine >= 0.999: careful, P95 8.00 ms" in text
    assert "products of u8s8 saturate here" in text
    page = tmp_path / "page.html"
    frontier_page.write_page(run_of(frontier(u8s8=False)), page)
    assert "$" not in "".join(re.findall(r"<text.*?</text>", page.read_text(), re.DOTALL))
    written = page.read_text(encoding="utf-8")
    assert all(name in written for name in ("careful", "middling", "rough", "<svg"))
    assert "0.500 (0.471 to 0.533)" in written
    assert "no product of bytes saturates here" in written
    assert "2026-03-04 05:06 UTC" in written


def test_a_report_shows_the_frontier_of_its_own_wheel_and_model_alone(tmp_path: Path) -> None:
    document = example(calls=3).model_copy(update={"model": "tiny"})
    path = tmp_path / "frontier-tiny.json"
    own = replace(run_of(frontier(u8u8=False)), wheel_sha256=document.wheel.sha256)
    other = replace(own, frontier=replace(own.frontier, encoder="other"))

    def section(run: FrontierRun) -> str:
        path.write_text(json.dumps(run.to_json()))
        page = render(document, frontier=path)
        return page[page.index('id="frontier"') : page.index('id="facts"')]

    found = section(own)
    assert all(word in found for word in ("careful", "rough", "<svg", "0.500 (0.471 to 0.533)"))
    assert "measured by a command" in found
    assert "A processor" in found
    assert "fastest with worst cosine &gt;= 0.999: careful" in found
    assert "is of another model (other)" in section(other)
    assert "is of another wheel (a.whl)" in section(replace(own, wheel_sha256="0" * 64))
    path.write_text("{}")
    assert "cannot be read, so it is not shown" in render(document, frontier=path)
    assert 'id="frontier"' not in render(document, frontier=tmp_path / "none.json")


@pytest.mark.parametrize("width", [60, 80])
def test_in_a_narrow_window_a_form_has_a_line_of_its_own(width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO(), force_terminal=True)
    frontier_page.show(frontier(u8s8=True), console)
    text = " ".join(console.export_text().split())
    assert "…" not in text
    for name in ("careful: worst cosine 0.99", "rough: worst cosine", "P95 ms 8.00"):
        assert name in text


def test_products_of_unsigned_bytes_are_right_on_this_machine(tmp_path: Path) -> None:
    from tests.kit.verify_examples import TINY

    context = TargetContext(
        role="candidate", work=tmp_path, model_dir=tmp_path, encoder=TINY, policy=policy()
    )
    found = saturation(context, None)
    assert found is not None
    assert set(found) == {"u8s8", "u8u8"}
    assert not found["u8u8"]


def test_a_text_of_so_many_tokens_is_a_workload() -> None:
    (text,) = workload("tokens-64", max_length=256)
    assert len(text.split()) == 62


def test_a_policy_can_judge_the_cpu_in_another_form() -> None:
    assert policy().cpu_precision == "fp32"
    assert policy().with_precision(None).cpu_precision == "fp32"
    assert policy().with_precision("int8").cpu_precision == "int8"
