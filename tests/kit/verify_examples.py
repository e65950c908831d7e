"""Builders of small, valid inputs for the tests of the verification."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.kit.float64_encoder import Float64Encoder
from verify.checks.table import CHECKS
from verify.encoder.model_recipe import EncoderSpec
from verify.encoder.tensors import expected_shapes
from verify.policy.limits import Limits, Policy
from verify.policy.result import CheckResult, Status

TINY = EncoderSpec(
    name="tiny",
    architecture="bert",
    layers=2,
    hidden=16,
    heads=2,
    intermediate=32,
    vocab=40,
    positions=24,
    max_length=16,
    buckets=(8, 16),
)

Array = np.ndarray[Any, Any]

TAG = "cp311-cp311-linux_x86_64"


def tiny_weights(seed: int = 7, encoder: EncoderSpec = TINY) -> dict[str, Array]:
    """Random weights of a tiny encoder; layer norms near 1 so that numbers stay tame."""
    random = np.random.default_rng(seed)
    tensors = {}
    for name, shape in expected_shapes(encoder).items():
        value = random.normal(scale=0.2, size=shape).astype(np.float32)
        if name.endswith("LayerNorm.weight"):
            value += 1
        tensors[name] = value
    return tensors


def numpy_states(tensors: dict[str, Array], ids: Array, mask: Array, types: Array) -> Array:
    """The tiny encoder's token vectors in numpy float64."""
    return Float64Encoder(tensors, TINY).states(ids, mask, types)


def policy(required: Mapping[str, bool] | None = None, **limits: Any) -> Policy:
    """A policy that requires every check but execution, unless told otherwise."""
    wanted = {check.id: check.id != "provider.executes" for check in CHECKS}
    return Policy(
        schema=1,
        name="test",
        summary="for tests",
        hosts=("linux-x86_64",),
        gate_provider="cpu",
        required=wanted if required is None else required,
        limits=Limits(**limits),
    )


def results(status: Status = "passed", **changed: Status) -> list[CheckResult]:
    """One result per check; ``latency_p95="failed"`` changes one."""
    return [
        CheckResult(
            id=check.id,
            status=changed.get(check.id.replace(".", "_"), status),
            summary=f"summary of {check.id}",
            hint=f"hint of {check.id}",
        )
        for check in CHECKS
    ]


def wheel(folder: Path, name: str = f"onnxruntime-1.21.0-{TAG}.whl") -> Path:
    """A zip file with a wheel's name."""
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("onnxruntime/__init__.py", "__version__ = '1.21.0'\n" * 200)
    return path


def manifest(folder: Path, **changes: Any) -> Path:
    """A manifest of schema 1 that describes ``wheel(folder)``."""
    content = {
        "schema": 1,
        "name": "onnxruntime",
        "version": "1.21.0",
        "upstream_version": "1.21.0",
        "commit": "e0b66cad282043d4377cea5269083f17771b6dfc",
        "recipe": {"file": "recipes/x.toml", "digest": "0" * 64},
        "wheel": {
            "file": f"onnxruntime-1.21.0-{TAG}.whl",
            "sha256": "0" * 64,
            "files": {"onnxruntime/__init__.py": "0" * 64},
        },
        **changes,
    }
    path = folder / "manifest.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
