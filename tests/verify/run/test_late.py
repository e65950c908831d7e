"""A check that does not end in its time: whose fault that is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.kit.verify_examples import TINY, policy
from verify.checks.table import find_check
from verify.environment.channel import Answer
from verify.environment.context import TargetContext
from verify.run import carry_out


@pytest.mark.parametrize(("starved", "status"), [(False, "failed"), (True, "inconclusive")])
def test_only_a_process_that_had_a_processor_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, starved: bool, status: str
) -> None:
    late = Answer(failure="was ended after 900 s", starved=starved)
    monkeypatch.setattr(TargetContext, "worker", lambda *_, **__: None)
    monkeypatch.setattr(carry_out, "call", lambda *_: late)
    context = TargetContext(
        role="candidate",
        work=tmp_path,
        model_dir=tmp_path,
        encoder=TINY,
        policy=policy(),
        targets={"candidate": Path(sys.executable)},
    )
    (found,) = carry_out.run_checks(
        context, [find_check("memory.growth")], logs=tmp_path, say=lambda *_: None
    )["results"]
    assert found["status"] == status
    assert "was ended after 900 s" in found["summary"]
    assert ("stop what else computes" in found["hint"]) is starved
