"""Shapes are inferred in a process of its own, whose end is nobody else's."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from tests.kit.odd_models import constant, model, node, value
from verify.coverage import inference
from verify.coverage.inference import inferred


def sliced(batch: Any) -> Any:
    """Rows cut off an axis: of size -1, ONNX's own inference ends the process."""
    bounds = [constant(np.int64([n]), name) for name, n in zip("fga", (0, 1, 0), strict=True)]
    weight = constant(np.zeros((4, 600), np.float32), "w")
    nodes = [node("Slice", ["x", "f", "g", "a"], ["s"]), node("MatMul", ["s", "w"], ["y"])]
    inputs, outputs = [value("x", [batch, 4])], [value("y", None)]
    return model(nodes, inputs, outputs, [*bounds, weight])


def axes(found: Any) -> list[int]:
    return [dim.dim_value for dim in found.graph.output[0].type.tensor_type.shape.dim]


@pytest.mark.parametrize("batch", [3, -1, 0])
def test_shapes_follow_and_large_constants_stay_behind(batch: int) -> None:
    given = sliced(batch)
    content = given.SerializeToString()
    found = inferred(given)
    assert axes(found)[1] == 600
    assert axes(found)[0] == (1 if batch == 3 else 0)
    assert len(found.SerializeToString()) < 1000 < len(content)
    assert given.SerializeToString() == content


def dies(payload: Any) -> None:
    os.abort()


def test_the_end_of_its_process_leaves_what_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "INFER", f"{__name__}:dies")
    given = sliced(3)
    found = inferred(given)
    assert [item.name for item in found.graph.input] == ["x"]
    assert axes(found) == []
    assert [each.op_type for each in found.graph.node] == ["Slice", "MatMul"]
