"""Faults that the recommended settings walk into are said where these are shown."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from rich.console import Console

from tests.kit.verify_examples import TINY, tiny_weights
from tests.verify.coverage.test_command import answer
from verify.coverage.nodes import facts, load
from verify.coverage.partitions import Limits
from verify.coverage.show import render, show
from verify.encoder.graph import build_graph
from verify.report.document import Coverage
from verify.report.known_faults import (
    EXTERNAL_WEIGHTS,
    HALF_ON_MACOS_15,
    known_faults,
    of_graphs,
)

LIMITS = Limits(partitions=1, nodes=0.5)


@pytest.mark.parametrize(
    ("half", "fixed", "external", "model_format", "expected"),
    [
        (True, True, False, "MLProgram", [HALF_ON_MACOS_15]),
        (True, True, True, "MLProgram", [HALF_ON_MACOS_15, EXTERNAL_WEIGHTS]),
        (True, True, False, "NeuralNetwork", []),
        (True, False, False, "MLProgram", []),
        (False, True, False, "MLProgram", []),
        (False, False, True, "NeuralNetwork", [EXTERNAL_WEIGHTS]),
    ],
)
def test_each_fault_is_of_its_own_settings(
    half: bool, fixed: bool, external: bool, model_format: str, expected: Sequence[str]
) -> None:
    found = known_faults(
        half=half, fixed_shapes=fixed, external=external, model_format=model_format
    )
    assert list(found) == expected


def test_the_issues_are_named() -> None:
    assert "onnxruntime#32569" in HALF_ON_MACOS_15
    assert "macOS 15" in HALF_ON_MACOS_15
    assert "onnxruntime#28005" in EXTERNAL_WEIGHTS
    deployment = (Path(__file__).parents[3] / "docs" / "deployment.md").read_text("utf-8")
    for issue in ("onnxruntime#32569", "onnxruntime#28005", "onnxruntime#27487"):
        assert issue in deployment


def test_half_precision_and_external_weights_are_seen_in_the_file(tmp_path: Path) -> None:
    single = facts(build_graph(tiny_weights(), TINY, static=(1, 8)))
    half = facts(build_graph(tiny_weights(), TINY, static=(1, 8), precision="fp16"))
    assert (single.half, half.half) == (False, True)
    assert not single.external
    file = tmp_path / "outside.onnx"
    onnx.save(
        build_graph(tiny_weights(), TINY, static=(1, 8)),
        str(file),
        save_as_external_data=True,
        location="outside.data",
        size_threshold=16,
    )
    assert facts(load(file)).external


def test_the_warning_is_under_the_table_and_on_the_page() -> None:
    warned = replace(answer(), warnings=(HALF_ON_MACOS_15,))
    for answers, count in (([warned, warned], 1), ([answer()], 0)):
        stream = io.StringIO()
        show(answers, LIMITS, Console(file=stream, width=200))
        assert stream.getvalue().count(HALF_ON_MACOS_15) == count
    assert "onnxruntime#32569" in render([warned], LIMITS, wheel="w.whl")
    assert "Known fault" not in render([answer()], LIMITS, wheel="w.whl")
    assert warned.to_json(LIMITS)["warnings"] == [HALF_ON_MACOS_15]


def test_the_verifications_own_graphs_by_their_labels() -> None:
    def told(label: str, model_format: str = "MLProgram") -> tuple[str, ...]:
        graph = {"graph": label, "format": model_format, "partitions": 1, "nodes": []}
        graph |= {"nodes_total": 3, "nodes_taken": 3}
        return of_graphs([Coverage.model_validate(graph)] * 2)

    assert told("static [1,128] fp32") == told("dynamic fp16") == ()
    assert told("static [1,128] fp16") == (HALF_ON_MACOS_15,)
    assert told("static [1,128] fp16", "NeuralNetwork") == ()
