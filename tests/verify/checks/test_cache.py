"""provider.cache: what is on disk says whether an exchanged model is taken for the one before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.kit.verify_examples import TINY, policy
from verify.checks import providers_inside
from verify.checks.providers_inside import provider_cache
from verify.environment.context import TargetContext


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TargetContext:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [providers_inside.COREML])
    return TargetContext(
        role="candidate", work=tmp_path, model_dir=tmp_path, encoder=TINY, policy=policy()
    )


def converter(key_of: object) -> object:
    """A converter whose cache finds an entry by this function of path, key and weight."""

    def cache(folder: Path, *, weight: float, key: str, into: str) -> None:
        name = key_of(key, weight)
        place = folder / into / name / "model" / "Data"
        if not place.exists():
            place.mkdir(parents=True)
            (place / "weight.bin").write_bytes(np.full(64, weight, dtype=np.float32).tobytes())

    return cache


@pytest.mark.parametrize(
    ("key_of", "status", "said"),
    [
        (lambda key, weight: "path", "failed", "without COREML_CACHE_KEY and with the same"),
        (lambda key, weight: key or str(weight), "failed", "one before, with the same COREML"),
        (lambda key, weight: str(weight) if key else "path", "failed", "one before, without"),
        (lambda key, weight: f"{key}{weight}", "passed", "gets its own package"),
    ],
)
def test_the_key_decides(
    context: TargetContext,
    monkeypatch: pytest.MonkeyPatch,
    key_of: object,
    status: str,
    said: str,
) -> None:
    monkeypatch.setattr(providers_inside, "_cache", converter(key_of))
    found = provider_cache(context)
    assert found.status == status
    assert said in found.summary
    assert ("27487" in found.hint) == (status == "failed")


def test_a_package_without_the_weights_tells_nothing(
    context: TargetContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providers_inside, "_cache", lambda *a, **k: None)
    assert provider_cache(context).status == "inconclusive"


def test_a_session_that_cannot_be_made_is_a_failure(
    context: TargetContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **named: object) -> None:
        raise RuntimeError("Failed to create model URL from path")

    monkeypatch.setattr(providers_inside, "_cache", fail)
    found = provider_cache(replace(context, quick=True))
    assert found.status == "failed"
    assert "Failed to create model URL" in found.summary


def test_a_wheel_without_coreml_keeps_no_cache(
    context: TargetContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert provider_cache(context).status == "not-run"
