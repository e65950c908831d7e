"""The page of an examination in a browser: nothing is wider than it, nothing is asked for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.verify.report.test_browser import browser, without_browser
from verify.checks.policies import find_policy
from verify.coverage.partitions import Answer, Left, Limits, Question
from verify.coverage.provider_inside import Coverage
from verify.environment.wheel_file import WheelFile
from verify.latency.series import SeriesSamples, SeriesSpec
from verify.own_model.examine import Asked, Examined
from verify.own_model.one_page import render
from verify.own_model.summary import document
from verify.own_model.timing import Timing
from verify.policy.result import CheckResult

__all__ = ["browser", "without_browser"]
LONG = "a/very/long/name" * 12


def examined() -> tuple[Asked, Examined]:
    """An examination with long words in every place."""
    found = Coverage(
        graph="fixed", partitions=2, nodes_total=3, nodes_taken=2,
        nodes=tuple({"name": f"{LONG}{n}", "op": "Conv", "provider": "coreml" if n else "cpu",
                     "partition": n - 1 if n else None, "reason": LONG} for n in range(3)),
    )  # fmt: skip
    left = Left(op="Conv", shapes=((1, LONG),), reason=LONG, advice=f"`{LONG}`", names=(LONG,))
    question = Question(path=Path("net.onnx"), label="fixed")
    answer = Answer(
        question=question, coverage=found, dynamic_axes=(), left=(left,), judged=True,
        warnings=(LONG,),
    )  # fmt: skip
    random = np.random.default_rng(1)
    series = SeriesSamples(
        spec=SeriesSpec(target="candidate", workload="fixed"),
        values=[int(value) for value in 1e6 + 1e5 * random.standard_normal(400)],
        process=[place % 3 for place in range(400)],
        tokens=[0] * 400,
    )
    timing = Timing(series=(series,))
    limits = find_policy("linux").limits
    half = {"cosines": {LONG: [0.9999, 0.99999, 1.0]}, "packages": {}, "accumulate": {}}
    checks = [
        CheckResult(id="model.fixed", status="passed", summary=LONG, evidence={"file": LONG}),
        CheckResult(id="coverage.model", status="failed", summary=LONG, hint=f"`{LONG}`",
                    evidence={"party": "the provider", "problems": [LONG]}),
        CheckResult(id="conversion.half", status="passed", summary="", limit=0.9995,
                    evidence=half),
        timing.result("latency.cpu", limits, None),
    ]  # fmt: skip
    asked = Asked(
        source=Path(f"{LONG}.onnx"), target=Path("f.onnx"), model=None, refusal=None, fixes={},
        options=argparse.Namespace(budget_ms=2.0), limits=Limits(partitions=1, nodes=0.98),
        wheel=WheelFile(path=Path("w.whl"), version="1.21.0", sha256="0" * 64, size=1),
        device=False,
    )  # fmt: skip
    code = {"python": f"x = {LONG!r}\n", "cargo": LONG, "rust": LONG}
    return asked, Examined(checks=checks, answers=[answer, answer], timing=timing, code=code)


def test_the_page_is_the_same_twice_and_escapes() -> None:
    asked, found = examined()
    kept = document(asked, found, 1.0)
    kept["verdict"]["headline"] = "<script>alert(1)</script>"
    page = render(kept, asked, found)
    assert page == render(kept, asked, found)
    assert "<script" not in page
    assert "NOT READY" in page


@pytest.mark.browser
@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_is_wider_than_the_page(browser: Any, tmp_path: Path, width: int) -> None:
    asked, found = examined()
    path = tmp_path / "page.html"
    path.write_text(render(document(asked, found, 1.0), asked, found), "utf-8")
    browser.get_log("browser")
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.get(path.as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.querySelectorAll('figure').length") > 3
