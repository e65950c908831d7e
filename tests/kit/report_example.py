"""A realistic ``verify.json`` for the tests of the report, the schema and the comparison.

``python -m tests.kit.report_example`` writes ``tests/data/verify-example.json``; a test keeps it
fresh. Samples come from ``random.Random``, whose stream is the same in every Python.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from verify.report.document import Document, parse
from verify.statistics.gate import judge_p95

EXAMPLE = Path(__file__).parents[1] / "data" / "verify-example.json"
STAGES = ("tokenise", "tensors", "inference", "pool", "normalise")
_TOKENS = (6, 9, 12, 14, 16, 19, 23, 28, 34, 47, 64, 96)
_LAYER = (  # noqa: SIM905 - a table of forty words
    "MatMul Add Reshape Transpose MatMul Add Reshape Transpose MatMul Add Reshape Transpose "
    "MatMul Div Add Softmax MatMul Transpose Reshape MatMul Add Add LayerNormalization MatMul Add "
    "Div Erf Add Mul Mul MatMul Add Add LayerNormalization Mul Add"
).split()


def latency_series(
    name: str,
    *,
    calls: int,
    base_ms: float,
    per_token_ms: float,
    seed: int,
    scale: float = 1.0,
) -> dict[str, Any]:
    """Make one series: cost grows with tokens, calls that follow each other are alike."""
    source = random.Random(seed)
    role, provider, precision, workload = name.split("/")
    drift, values, tokens, process = 0.0, [], [], []
    stages: dict[str, list[int]] = {stage: [] for stage in STAGES}

    def one(count: int) -> dict[str, int]:
        noise = math.exp(0.035 * source.gauss(0, 1) + drift)
        slow = 1.0 + (0.5 * source.random() if source.random() < 0.012 else 0.0)
        inference = (base_ms + per_token_ms * count) * noise * slow
        parts = (0.03 + 0.0011 * count, 0.016, inference, 0.021 + 0.0004 * count, 0.007)
        jitter = [1.0 + 0.05 * source.random() for _ in parts]
        return {
            stage: round(1e6 * scale * part * (1.0 if stage == "inference" else j))
            for stage, part, j in zip(STAGES, parts, jitter, strict=True)
        }

    def length(call: int) -> int:
        return 256 if workload == "worst" else _TOKENS[call * 5 % len(_TOKENS)]

    warmup = [round(sum(one(length(k)).values()) * (1 + 1.6 * math.exp(-k / 3))) for k in range(15)]
    for call in range(calls):
        drift = 0.7 * drift + 0.012 * source.gauss(0, 1)
        count = length(call)
        parts = one(count)
        for stage, nanoseconds in parts.items():
            stages[stage].append(nanoseconds)
        values.append(sum(parts.values()) + round(2000 * scale * (1 + source.random())))
        tokens.append(count)
        process.append(call // 20 % 3)
    judged = judge_p95(values, budget_ms=20.0, min_samples=1, processes=process)
    return {
        "series": name, "role": role, "provider": provider, "precision": precision,
        "workload": workload, "unit": "ns", "process": process, "tokens": tokens,
        "warmup": warmup, "values": values, "p95_upper_ms": judged.upper_bound, "stages": stages,
    }  # fmt: skip


def coverage(graph: str, *, gaps: int = 0) -> dict[str, Any]:
    """Make one graph's coverage: an encoder of six layers, cut in ``gaps`` places."""
    on_cpu = "Gather is a look-up, which the model's COREML_LOOK_UP leaves to the CPU"
    nodes: list[dict[str, Any]] = [
        {"name": f"/embeddings/{table}/Gather", "op": "Gather", "provider": "cpu",
         "partition": None, "reason": on_cpu}
        for table in ("word", "position", "token_type")
    ]  # fmt: skip
    ops = [("embeddings", op) for op in ("Add", "Add", "LayerNormalization", "Cast", "Sub", "Mul")]
    ops += [(f"layer.{layer}", op) for layer in range(6) for op in _LAYER]
    cuts = {round((k + 1) * len(ops) / (gaps + 1)) for k in range(gaps)}
    partition = 0
    for index, (where, op) in enumerate(ops):
        name = f"/{where}/{op}_{index}"
        if index in cuts:
            partition += 1
            reason = f"dynamic axis sequence_length in input 0 of {op}"
            nodes.append({"name": name, "op": op, "provider": "cpu", "partition": None,
                          "reason": reason})  # fmt: skip
        else:
            nodes.append({"name": name, "op": op, "provider": "coreml", "partition": partition,
                          "reason": None})  # fmt: skip
    taken = sum(node["provider"] == "coreml" for node in nodes)
    return {
        "graph": graph, "format": "MLProgram", "partitions": partition + 1,
        "nodes_total": len(nodes), "nodes_taken": taken, "nodes": nodes,
    }  # fmt: skip


def example_document(
    *,
    seed: int = 1,
    scale: float = 1.0,
    calls: int = 300,
    created: str = "2025-03-04T09:30:12Z",
) -> dict[str, Any]:
    """Build the whole document; ``scale`` multiplies every latency."""
    series = [
        ("candidate/cpu/fp32/mix", 1.15, 0.112),
        ("candidate/cpu/fp32/worst", 1.9, 0.057),
        ("candidate/cpu/fp32/paired", 1.15, 0.112),
        ("official/cpu/fp32/paired", 1.2, 0.115),
    ]
    return {
        "schema": 1,
        "ortmill": "0.1.0",
        "created": created,
        "seconds": 93.1,
        "host": {
            "fingerprint": "5e2c" + "81b07a94d3f6" * 5,
            "kind": "linux-x86_64",
            "cpu": "AMD EPYC 7B13",
            "cores": 2,
            "memory_bytes": 8_331_100_160,
            "governor": None,
            "load": [0.42, 0.61, 0.55],
            "os": "Debian GNU/Linux 12 (bookworm), Linux 6.1",
            "python": "3.11.2",
            "packages": {"numpy": "2.2.6", "onnx": "1.17.0", "tokenizers": "0.21.1"},
        },
        "wheel": {
            "file": "onnxruntime-1.21.0+ortmill.7c1f02ab-cp311-cp311-manylinux_2_34_x86_64.whl",
            "sha256": "9b4e" + "1c70d2a58f36" * 5,
            "size": 17_204_118,
            "version": "1.21.0+ortmill.7c1f02ab",
            "manifest_sha256": "03aa" + "e94b61c7d285" * 5,
        },
        "policy": {
            "name": "linux",
            "limits": {
                "latency_p95_ms": 20.0, "latency_confidence": 0.95, "latency_min_samples": 300,
                "min_cosine": 0.99999, "max_abs": 1e-5, "agreement_min_cosine": 0.999,
                "coverage_partitions_max": 1, "coverage_nodes_min": 0.98,
                "memory_growth_mb_max": 20.0, "concurrency_threads": 4,
            },
            "required": {check["id"]: check["required"] for check in _checks(scale)},
        },
        "selection": {
            "quick": False, "only": [],
            "skip": {"latency.cold": "the cache directory of this runner is shared"},
        },
        "verdict": {
            "decision": "GO-WITH-FALLBACK",
            "exit_code": 0,
            "headline": "Good on the CPU provider within 20 ms; CoreML converts but was not "
            "executed on this host.",
            "paragraph": "The wheel is the one its manifest describes, answers as torch does to "
            "1.8e-7, and serves a query on the CPU provider well within the budget. The CoreML "
            "provider is registered, takes the encoder as one partition and converts it, but "
            "this host cannot execute CoreML, so nothing is known of its speed or its answers "
            "there.",
            "proven": [
                "Every file of the wheel equals the manifest.",
                "Embeddings equal torch float64 for 64 texts, worst cosine 0.999999999.",
                "P95 of a query on the CPU provider is within 20 ms at 95 % confidence.",
                "CoreML takes 222 of 225 nodes in one partition and converts them.",
            ],
            "not_proven": [
                "That CoreML executes: it is not supported on linux-x86_64.",
                "Cold start: latency.cold was left out on request.",
            ],
            "next": [
                "Run nox -s verify on Apple silicon with the macos-arm64 policy.",
                "Until then, use the CPU provider as the fallback.",
            ],
        },
        "checks": _checks(scale),
        "samples": {
            "latency": [
                latency_series(
                    name, calls=calls, base_ms=base, per_token_ms=per_token,
                    seed=seed * 100 + index, scale=scale,
                )
                for index, (name, base, per_token) in enumerate(series)
            ]
        },
        "coverage": [
            coverage("static [1,128] fp32"),
            coverage("dynamic, exported by torch", gaps=18),
        ],
    }  # fmt: skip


def example(**changes: Any) -> Document:
    """Build the document as the product reads it; see :func:`example_document`."""
    return parse(example_document(**changes))


def _checks(scale: float) -> list[dict[str, Any]]:
    def check(
        name: str, title: str, status: str, summary: str, seconds: float, **more: Any
    ) -> dict[str, Any]:
        return {
            "id": name, "title": title, "required": more.pop("required", True),
            "status": status, "summary": summary, "measured": None, "limit": None, "unit": "",
            "evidence": {}, "hint": "", "seconds": seconds, **more,
        }  # fmt: skip

    bound = 12.4 * scale
    return [
        check("wheel.identity", "The wheel is what its manifest says", "passed",
              "Version, recipe digest, commit and 312 file hashes equal the manifest.", 0.8,
              measured=312, limit=312, unit="files",
              evidence={"commit": "e0b66cad282043d4377cea5269083f17771b6dfc",
                        "recipe_digest": "7c1f02ab", "different_files": []}),
        check("provider.registered", "The CoreML provider is listed", "passed",
              "CoreMLExecutionProvider is listed and a session with it is created.", 1.9,
              evidence={"available": ["CoreMLExecutionProvider", "CPUExecutionProvider"]}),
        check("provider.executes", "The CoreML provider executes", "not-run",
              "Registered, converts, cannot execute on this host.", 2.4, required=False,
              evidence={"message": "[ONNXRuntimeError] : 1 : FAIL : Executing a CoreML model is "
                        "not supported on this platform"},
              hint="Run the verification on Apple silicon."),
        check("coverage.partitions", "CoreML takes the encoder in one piece", "passed",
              "One partition for each static graph in MLProgram format.", 6.3,
              measured=1, limit=1, unit="partitions",
              evidence={"graphs": [
                  {"graph": f"static [1,{n}]", "partitions": 1, "taken": 222, "nodes": 225}
                  for n in (32, 64, 128, 256)]}),
        check("coverage.nodes", "CoreML takes nearly every node", "passed",
              "222 of 225 nodes taken (98.7 %); the three look-ups stay on the CPU.", 0.0,
              measured=0.9867, limit=0.98, unit="",
              evidence={"left_behind": [{"op": "Gather", "count": 3,
                        "reason": "left to the CPU by COREML_LOOK_UP"}]}),
        check("conversion.half", "Half precision holds", "passed",
              "Worst cosine 0.999997530 over 2 packages, 16 texts each (full-stop, static [1,128] "
              "fp32).", 9.8, measured=0.99999753, limit=0.9995, unit="cosine",
              evidence={"packages": {name: {"worst_cosine": min(values),
                                            "worst_name": "full-stop"}
                                     for name, values in _half_cosines().items()},
                        "cosines": _half_cosines(),
                        "accumulate": {"static [1,128] fp32": 0.999993726,
                                       "static [1,128] fp16": 0.999994565}}),
        check("embedding.reference", "Embeddings equal the reference", "passed",
              "64 texts in batches of 1, 2, 7 and 32: worst cosine 0.999999999, largest error "
              "1.8e-7.", 14.2, measured=0.999999999, limit=0.99999, unit="cosine",
              evidence={"texts": 64, "min_cosine": 0.999999999, "max_abs": 1.8e-7,
                        "norm_min": 0.99999994, "norm_max": 1.0000001,
                        "worst": [{"text": "emoji \U0001f600 and Ελληνικά", "batch": 7,
                                   "cosine": 0.999999999, "max_abs": 1.8e-7},
                                  {"text": "(empty)", "batch": 1, "cosine": 0.9999999993,
                                   "max_abs": 9.1e-8}]}),
        check("latency.p95", "A query is answered in time", "passed",
              f"P95 is at most {bound:.1f} ms at 95 % confidence, on the CPU provider.", 38.4,
              measured=round(bound, 2), limit=20.0, unit="ms",
              evidence={"series": "candidate/cpu/fp32/mix", "samples": 300,
                        "effective_samples": 241.7, "processes": 3,
                        "stages_ms": {"tokenise": {"p50": 0.054, "p95": 0.137},
                                      "inference": {"p50": 3.47, "p95": 11.8}}}),
        check("latency.cold", "The first answer comes in time", "not-run",
              "Left out on request: the cache directory of this runner is shared.", 0.0,
              required=False),
        check("latency.speedup", "The wheel is not slower than the official one", "inconclusive",
              "1.03 times as fast as the official wheel, interval 0.98 to 1.08.", 9.6,
              required=False, measured=1.03, limit=1.0, unit="ratio",
              evidence={"low": 0.98, "high": 1.08, "blocks": 12},
              hint="Measure longer with --adaptive on a quiet machine."),
        check("memory.growth", "Memory does not grow", "passed",
              "1.2 MB more after 5,000 runs; peak resident set 312 MB.", 11.7,
              measured=1.2, limit=20.0, unit="MB",
              evidence={"resident_mb": [298.1, 299.0, 299.2, 299.3]}),
        check("robustness.inputs", "Wrong inputs end in clean errors", "passed",
              "5 of 5 wrong inputs raise, and the session still answers.", 3.1,
              measured=5, limit=5, unit="inputs",
              evidence={"wrong rank": "INVALID_ARGUMENT : Invalid rank for input: input_ids"}),
    ]  # fmt: skip


def _half_cosines() -> dict[str, list[float]]:
    """Make the cosines of two packages in half precision, spread as real ones are."""
    source = random.Random(5)
    return {
        f"static [1,128] {name}": [
            round(1 - drift * math.exp(0.45 * source.gauss(0, 1)), 9) for _ in range(16)
        ]
        for name, drift in (("fp32", 1.2e-6), ("fp16", 8.2e-7))
    }


def text(document: dict[str, Any]) -> str:
    """Write a document as compact JSON, one line per top-level part."""
    parts: Sequence[str] = [
        f"{json.dumps(key)}:{json.dumps(value, separators=(',', ':'), ensure_ascii=False)}"
        for key, value in document.items()
    ]
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    EXAMPLE.write_text(text(example_document()), encoding="utf-8")
