"""Reading the provider's verbose log, judging coverage, counting kernels of a profile."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.verify_examples import TINY, policy, tiny_weights
from verify.checks.providers_inside import count_kernels
from verify.coverage.provider_inside import Coverage, judge, parse_log
from verify.encoder.weights import write_safetensors
from verify.environment.context import TargetContext

HEAD = "2026-11-22 16:00:00.000000000 [{level}:onnxruntime:, {where}] {text}"


def line(text: str, where: str = "helper.cc:114 GetSupportedNodes", level: str = "V") -> str:
    return HEAD.format(level=level, where=where, text=text)


def node(op: str, index: int, name: str, taken: int) -> str:
    text = f"Operator type: [{op}] index: [{index}] name: [{name}] supported: [{taken}]"
    return line(text)


def summary(partitions: int, total: int, taken: int) -> str:
    text = (
        f"CoreMLExecutionProvider::GetCapability, number of partitions supported by CoreML: "
        f"{partitions} number of nodes in the graph: {total} number of nodes supported by CoreML: "
        f"{taken}"
    )
    level = "W" if partitions > 1 else "I"
    return line(text, "coreml_execution_provider.cc:101 GetCapability", level)


LOG = "\n".join(
    [
        line("Adding default CPU execution provider.", "inference_session.cc:1 Init", "I"),
        line(
            "Operator [Gather] does not support MLProgram",
            "base_op_builder.cc:54 IsOpSupported",
        ),
        node("Gather", 0, "words", 0),
        node("Add", 1, "sum of [two]", 1),
        node("MatMul", 2, "", 1),
        summary(1, 3, 2),
    ]
)


def test_log_gives_counts_nodes_and_reasons() -> None:
    found = parse_log(LOG, "static [1,8] fp32")
    assert found is not None
    assert (found.partitions, found.nodes_total, found.nodes_taken) == (1, 3, 2)
    left, add, matmul = found.nodes
    assert left == {
        "name": "words",
        "op": "Gather",
        "provider": "cpu",
        "partition": None,
        "reason": "Operator [Gather] does not support MLProgram",
    }
    assert (add["name"], add["partition"], add["reason"]) == ("sum of [two]", 0, "")
    assert matmul["op"] == "MatMul"


def test_several_partitions_are_read_from_the_warning() -> None:
    found = parse_log(LOG.rsplit("\n", 1)[0] + "\n" + summary(49, 243, 120), "dynamic")
    assert found is not None
    assert (found.partitions, found.share) == (49, 120 / 243)
    assert all(entry["partition"] is None for entry in found.nodes)


def test_a_log_without_the_line_is_no_answer() -> None:
    assert parse_log("", "x") is None
    assert parse_log(node("Add", 1, "a", 1), "x") is None


@pytest.mark.parametrize(
    ("partitions", "taken", "statuses"),
    [
        (1, 99, ["passed", "passed"]),
        (2, 99, ["failed", "passed"]),
        (1, 97, ["passed", "failed"]),
        (0, 0, ["failed", "failed"]),
    ],
)
def test_the_worst_graph_decides(
    tmp_path: Path, partitions: int, taken: int, statuses: list[str]
) -> None:
    context = TargetContext(
        role="candidate", work=tmp_path, model_dir=tmp_path, encoder=TINY, policy=policy()
    )
    good = Coverage(graph="a", partitions=1, nodes_total=100, nodes_taken=100, nodes=())
    other = Coverage(graph="b", partitions=partitions, nodes_total=100, nodes_taken=taken, nodes=())
    found = judge(context, [good, other])
    assert [result.id for result in found] == ["coverage.partitions", "coverage.nodes"]
    assert [result.status for result in found] == statuses


def test_kernels_are_counted_by_provider() -> None:
    events = [
        {"cat": "Session", "name": "model_run"},
        {"cat": "Node", "name": "a_kernel_time", "args": {"provider": "CPUExecutionProvider"}},
        {"cat": "Node", "name": "a_fence_before", "args": {"provider": "CPUExecutionProvider"}},
        {"cat": "Node", "name": "b_kernel_time", "args": {"provider": "CoreMLExecutionProvider"}},
        {"cat": "Node", "name": "c_kernel_time", "args": {}},
    ]
    expected = {"CPUExecutionProvider": 1, "CoreMLExecutionProvider": 1, "unknown": 1}
    assert count_kernels(events) == expected


@pytest.mark.parametrize(
    ("quick", "wanted"),
    [
        (
            False,
            [
                "static [1,8] fp32",
                "static [1,16] fp32",
                "static [1,8] fp16",
                "static [1,16] fp16",
            ],
        ),
        (True, ["static [1,16] fp32"]),
    ],
)
def test_every_bucket_is_asked_about_in_both_precisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: bool, wanted: list[str]
) -> None:
    import onnxruntime

    from verify.coverage import provider_inside as coverage

    asked: list[tuple[str, str]] = []

    def measure(context: TargetContext, path: Path, label: str) -> Coverage:
        asked.append((label, path.name))
        return Coverage(graph=label, partitions=1, nodes_total=100, nodes_taken=99, nodes=())

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [coverage.COREML])
    monkeypatch.setattr(coverage, "measure", measure)
    write_safetensors(tmp_path / "model.safetensors", tiny_weights())
    context = TargetContext(
        role="candidate",
        work=tmp_path,
        model_dir=tmp_path,
        encoder=TINY,
        policy=policy(),
        quick=quick,
        listener=lambda check, text: None,
    )
    results = coverage.coverage(context)
    assert [label for label, _ in asked] == wanted
    for label, name in asked:  # "static [1,8] fp16" is asked about static-1x8-fp16.onnx
        shape, precision = label.removeprefix("static [").split("] ")
        assert name == f"static-{shape.replace(',', 'x')}-{precision}.onnx"
    assert [result.status for result in results] == ["passed", "passed"]
    assert len(context.coverage) == len(wanted)
