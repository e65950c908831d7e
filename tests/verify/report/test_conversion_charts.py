"""The report's picture of half precision: what it reads, what it says, what it leaves out."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tests.kit.report_example import example, example_document
from verify.report import view
from verify.report.charts import conversion_charts as conversion
from verify.report.document import parse
from verify.report.html import render


def half(document: dict[str, Any]) -> dict[str, Any]:
    return next(check for check in document["checks"] if check["id"] == "conversion.half")


def test_the_page_shows_every_package_with_its_worst_text() -> None:
    document = example_document()
    page = render(parse(document))
    section = page[page.index('id="half"') : page.index('id="facts"')]
    for name, values in half(document)["evidence"]["cosines"].items():
        assert name in section
        assert f"worst {min(values):.9f}".rstrip("0") in section
    assert "full-stop" in section
    assert "limit 0.9995" in section
    assert section.count('role="img"') == 2  # wide and narrow


def test_every_case_is_a_point_at_its_distance_from_one_and_the_worst_has_a_ring() -> None:
    cosines = 1 - np.array([1e-6, 1e-4, 1e-5, 1e-5])
    package = conversion.Package(name="a", cosines=cosines, worst_case="w", accumulate=None)
    drawn = str(conversion.distribution([package], limit=None, key="k"))
    wide = drawn[: drawn.index('class="narrow"')]
    marks = [float(x) for x in re.findall(r'<use [^>]*?x="([\d.]+)"', wide)]
    near, far, middle, same, ring = marks[-5:]  # the ticks come first
    assert middle == same == pytest.approx((near + far) / 2, abs=0.02)
    assert near < middle < far == ring


def test_the_lists_are_not_repeated_in_the_evidence() -> None:
    check = example().check("conversion.half")
    assert check is not None
    names = [item.name for item in view.evidence_view(check, drawn=conversion.drawn(check))]
    assert names == ["packages", "accumulate"]


@pytest.mark.parametrize(
    "cosines",
    [None, [], {"a": None}, {"a": []}, {"a": ["nan"]}, {"a": [True]}, "text", {"a": {"b": 1}}],
)
def test_a_document_without_cosines_has_no_section(cosines: Any) -> None:
    document = example_document()
    half(document)["evidence"]["cosines"] = cosines
    assert conversion.section(parse(document)) is None
    assert 'id="half"' not in render(parse(document))


def test_a_document_without_the_check_has_no_section() -> None:
    document = example_document()
    document["checks"] = []
    assert conversion.section(parse(document)) is None


@pytest.mark.parametrize("values", [[1.0, 1.0], [-1.0, 1.0], [0.5], [1.0 + 1e-9, 0.9999]])
@pytest.mark.parametrize("limit", [0.9995, None, 1.0, -1.0])
def test_any_cosines_can_be_drawn(values: list[float], limit: float | None) -> None:
    document = example_document()
    check = half(document)
    check["limit"] = limit
    check["evidence"]["cosines"] = {"<b>$x$</b>": values}
    shown = conversion.section(parse(document))
    assert shown is not None
    assert "<b>" not in shown["chart"]
    assert shown["packages"][0].cosines.size == len(values)


def test_a_cosine_next_to_one_never_reads_as_one() -> None:
    document = example_document()
    half(document)["evidence"]["cosines"] = {"a": [0.9999998, 1.0]}
    assert "<strong>0.9999998</strong>" in render(parse(document))
