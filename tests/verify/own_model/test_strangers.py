"""Models of further kinds: whose each verdict is, and what is said to do next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.kit.commands import Run, python, run
from tests.kit.stranger_models import write
from tests.verify.own_model.test_command import examined, party, statuses

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

__all__ = ["examined", "python", "run"]  # the fixtures with the built wheel


@pytest.mark.parametrize(
    ("name", "code", "wanted"),
    [
        # Nobody but the runtime refuses it: no answer of the provider's.
        ("no_kernel", 3, {"model.fixed": ("failed", "the model"),
                          "coverage.model": ("not-run", ""),
                          "conversion.exact": ("not-run", "")}),
        ("names_alike", 0, {"coverage.model": ("passed", ""),
                            "conversion.package": ("passed", ""),
                            "conversion.exact": ("passed", "")}),
        ("never_runs", 2, {"coverage.model": ("passed", ""),
                           "conversion.exact": ("not-run", "onnxruntime"),
                           "latency.cpu": ("not-run", "onnxruntime")}),
        ("float8", 1, {"coverage.model": ("failed", "the provider"),
                       "conversion.exact": ("not-run", "the inputs"),
                       "latency.cpu": ("not-run", "the inputs"),
                       "model.code": ("not-run", "the inputs")}),
        ("bfloat16", 1, {"conversion.exact": ("not-run", "the inputs")}),
        ("no_input", 3, {"model.fixed": ("failed", "the model"),
                         "conversion.package": ("not-run", "")}),
        ("wrong_reshape", 1, {"coverage.model": ("failed", "the model"),
                              "conversion.package": ("failed", "the model"),
                              "latency.cpu": ("failed", "the model")}),
        ("noise", 1, {"model.spelt": ("passed", ""), "conversion.exact": ("passed", "")}),
    ],
)  # fmt: skip
def test_each_part_names_its_own_party(
    examined: Any, tmp_path: Path, name: str, code: int, wanted: dict[str, tuple[str, str]]
) -> None:
    ended, found, _, said = examined(write(name, tmp_path))
    seen = {check: (status, party(found, check)) for check, status in statuses(found).items()}
    assert ended == code, said
    assert {check: seen[check] for check in wanted} == wanted
    assert "fault of ortmill" not in said


def test_coverage_is_asked_with_the_options_of_the_code(examined: Any, tmp_path: Path) -> None:
    _, found, _, _ = examined(write("found", tmp_path))
    before, after = found["coverage"][1], found["coverage"][3]
    assert (before["nodes_taken"], after["nodes_taken"]) == (3, 1)
    proven = next(each for each in found["checks"] if each["id"] == "conversion.nodes")
    assert proven["summary"].startswith("1 of 4 nodes")
    assert "'RequireStaticInputShapes': '1'" in found["code"]["python"]
    told = [left["advice"] for left in after["left_behind"]]
    assert any("depends on the data" in advice for advice in told)


@pytest.mark.parametrize(
    ("words", "name", "code", "wanted"),
    [
        (["conversion", "--model"], "beyond_ascii", 0, "conversion.exact: passed"),
        (["conversion", "--model"], "bfloat16", 3, "The input x is of type bfloat16"),
        (["conversion", "--model"], "float8", 3, "Export the model with inputs of float32"),
        (["conversion", "--model"], "nan_weight", 2, "No inputs help: its weight w holds NaN"),
        (["conversion", "--model"], "noise", 0, "conversion.exact: passed"),
        (["conversion", "--model"], "no_output", 3, "its graph has no output"),
        (["coverage"], "no_output", 3, "its graph has no output"),
        (["coverage"], "one_name_for_all", 3, "Several nodes are called n: give each a name of"),
        (["coverage"], "no_input", 3, "every node is folded before a provider is asked"),
        (["coverage"], "negative_weight", 3, "its weight w has an axis of size -8"),
        (["coverage"], "wrong_axis", 3, "A node does not fit the shapes of its inputs"),
        (["conversion", "--model"], "no_type", 0, "conversion.exact: passed"),
        (["coverage"], "loop", 1, "export the model with the loop unrolled"),
        (["coverage"], "loop", 1, "put a Reshape to constant sizes before it"),
        (["model", "--rewrite", "--from-onnx"], "noise", 1,
         "1 x Neg as Mul by -1: left out, the model's own outputs differ from run to run"),
        (["model", "--fix", "past_length=0", "--from-onnx"], "past", 3, "Give the size of a later"),
        (["model", "--fix", "past_length=3", "--from-onnx"], "past", 0, "within limits"),
    ],
)  # fmt: skip
def test_what_is_said_of_it(
    run: Run, tmp_path: Path, words: list[str], name: str, code: int, wanted: str
) -> None:
    found = run(*words, write(name, tmp_path))
    assert found.code == code, found.text
    assert wanted in found.text
