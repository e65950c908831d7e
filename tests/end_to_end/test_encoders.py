"""Encoders beyond BERT with a mean, with the built wheel: taken whole, and converted rightly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.end_to_end.test_conversion import make_context, python
from tests.kit.verify_examples import TINY, tiny_weights
from tests.verify.encoder.test_architectures import MPNET, XLM_R
from tests.verify.encoder.test_onnx_encoder import SPEC as ONNX
from tests.verify.encoder.test_onnx_encoder import exported
from verify.conversion import proof
from verify.conversion.outcome import judge
from verify.coverage.provider_inside import measure
from verify.encoder.graph import ensure_graph
from verify.encoder.model_recipe import EncoderSpec
from verify.encoder.weights import write_safetensors
from verify.environment.context import TargetContext

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

__all__ = ["python"]  # the fixture with the built wheel
SHORT: dict[str, Any] = {"max_length": 16, "buckets": (8, 16)}
# The tokenizer of these contexts is BERT's, with its padding at 0.
SPECS = {
    "bert, cls": replace(TINY, name="tiny-cls", pooling="cls"),
    "mpnet": replace(MPNET, pad_token_id=0, **SHORT),
    "xlm-r": replace(XLM_R, pad_token_id=0, **SHORT),
    "onnx": ONNX,
}


def context_of(folder: Path, interpreter: Path, spec: EncoderSpec) -> TargetContext:
    context = replace(make_context(folder, interpreter), encoder=spec)
    (context.model_dir / "model.safetensors").unlink()
    if spec.architecture == "onnx":
        onnx.save(exported(), str(context.model_dir / "model.onnx"))
    else:
        weights = tiny_weights(encoder=spec)
        write_safetensors(context.model_dir / "model.safetensors", weights)
    return context


@pytest.mark.parametrize("name", SPECS)
def test_the_provider_takes_it_whole_and_converts_it_rightly(
    tmp_path: Path, python: Path, name: str
) -> None:
    spec = SPECS[name]
    context = context_of(tmp_path, python, spec)
    for precision in ("fp32", "fp16"):
        found = measure(context, context.graph(static=(1, 16), precision=precision), name)
        assert not found.failure
        assert found.partitions == 1, found.to_json()
        left = {node["op"] for node in found.nodes if node["reason"]}
        assert left <= {"Gather", "Unsqueeze"}
    measured = proof.prove(
        context,
        buckets=(16,),
        precisions=("fp32", "fp16"),
        setting=proof.Setting(minimum_os="13.3"),
        texts=8,
        say=lambda _: None,
    )
    results = judge(measured, exact=0.9999999, half=0.999)
    assert {result.id: result.status for result in results} == {
        "conversion.package": "passed",
        "conversion.exact": "passed",
        "conversion.half": "passed",
    }, results


@pytest.mark.parametrize("name", ["bert, cls", "mpnet"])
def test_pooling_inside_the_graph_costs_no_partition(
    tmp_path: Path, python: Path, name: str
) -> None:
    context = context_of(tmp_path, python, SPECS[name])
    path = ensure_graph(
        context.model_dir,
        context.encoder,
        context.graphs_dir,
        static=(1, 16),
        output="sentence_embedding",
    )
    found = measure(context, path, name)
    assert found.partitions == 1, found.to_json()
