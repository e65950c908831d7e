"""What is said of a rewrite, and that one which is not equal is left out and still recorded."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.kit.odd_models import write
from verify.commands import equal_spelling
from verify.commands.equal_spelling import improve
from verify.coverage.provider_inside import Coverage


class _Context:
    """A CPU provider that is off in the rewritten model, or by more with each answer."""

    def __init__(self, work: Path, gap: float, wavers: float) -> None:
        self.work, self.gap, self.wavers, self.calls = work, gap, wavers, 0
        self.patches: frozenset[str] = frozenset()

    def call(self, function: str, payload: Any, **_: Any) -> Any:
        self.calls += 1
        graph = payload["graphs"][0]
        off = self.wavers * self.calls + self.gap * ("rewritten" in graph["graph"])
        np.savez(graph["file"], v0=np.float32([[1.0, 2.0 + off]]))
        return SimpleNamespace(value=True)


@pytest.mark.parametrize(
    ("gap", "wavers", "why"),
    [
        (0.0, 0.0, ""),
        (1e-3, 0.0, "left out, the outputs differ by 0.0005"),
        (0.0, 1e-3, "left out, the model's own outputs differ from run to run"),
    ],
)
def test_only_what_is_equal_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gap: float, wavers: float, why: str
) -> None:
    taken = not why
    path = write("detector", tmp_path)
    model = equal_spelling.onnx.load(str(path))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    path.write_bytes(model.SerializeToString())
    before = path.read_bytes()
    asked = iter(range(99))

    def ask(*_: Any) -> Coverage:
        count = next(asked)
        return Coverage(
            graph="x", partitions=1, nodes_total=99, nodes_taken=count, nodes=(), format="MLProgram"
        )

    monkeypatch.setattr(equal_spelling, "_ask", ask)
    steps = improve(_Context(tmp_path, gap, wavers), path, say=lambda text: None)
    assert steps
    assert {step.taken for step in steps} == {taken}
    assert (path.read_bytes() == before) == (not taken)
    assert json.loads(json.dumps([asdict(step) for step in steps]))
    said = steps[0].sentence()
    assert why in said
