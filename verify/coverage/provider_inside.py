"""coverage.*: how much of the encoder the CoreML provider takes, in its own words.

A session is made in a process of its own with verbose logging. The provider's GetCapability says
on one line how many partitions and nodes it takes, and on one line per node whether it takes it;
the lines before a refused node say why (builders/helper.cc and base_op_builder.cc of 1.21.0).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..encoder.prepared.choice import Precision
from ..encoder.sessions import COREML, COREML_OPTIONS
from ..environment.context import TargetContext
from ..policy.judgement import violations
from ..policy.result import CheckResult

PARTITIONS = "coverage.partitions"
NODES = "coverage.nodes"

_SUMMARY = re.compile(
    r"GetCapability, number of partitions supported by CoreML: (\d+) "
    r"number of nodes in the graph: (\d+) number of nodes supported by CoreML: (\d+)"
)
_NODE = re.compile(
    r"Operator type: \[(\S*)\] index: \[(\d+)\] name: \[(.*?)\] supported: \[([01])\]"
)
_NODE_NAME = re.compile(r"Operator type: \[\S*\] index: \[\d+\] name: \[(.*?)\] supported:")
_LINE = re.compile(r"\[[VIWEF]:[^\]]*\.(?:cc|h|mm):\d+ ([^\]]*)\] (.*)$")
_ADDED = re.compile(r"Operator name: \[(.*?)\] type: \[\S*\] was added")
_SAVED = re.compile(r" SaveModel\] Writing CoreML Model")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """What the provider said about one graph.

    ``failure`` says why no session was made, in the runtime's own words. Without nodes the
    provider was not even asked, or never answered; ``asked`` names the nodes that it got to.
    """

    graph: str
    partitions: int
    nodes_total: int
    nodes_taken: int
    nodes: tuple[Mapping[str, Any], ...]
    format: str = "MLProgram"
    failure: str = ""
    asked: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Nodes taken, as a share of the graph's nodes."""
        return self.nodes_taken / self.nodes_total if self.nodes_total else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the entry for verify.json."""
        return {
            "graph": self.graph,
            "format": self.format,
            "partitions": self.partitions,
            "nodes_total": self.nodes_total,
            "nodes_taken": self.nodes_taken,
            "nodes": [dict(node) for node in self.nodes],
            **({"failure": self.failure} if self.failure else {}),
        }


def coverage(context: TargetContext) -> list[CheckResult]:
    """Measure every bucket in both precisions and judge partitions and nodes.

    With ``--quick`` it is the longest bucket in single precision.
    """
    import onnxruntime

    if COREML not in onnxruntime.get_available_providers():
        reason = f"{COREML} is not listed, so there is no one to ask"
        return [_result(name, "not-run", reason, {}, "") for name in (PARTITIONS, NODES)]
    widths = context.encoder.buckets
    precisions: tuple[Precision, ...] = ("fp32",) if context.quick else ("fp32", "fp16")
    graphs = [(width, name) for name in precisions for width in widths]
    if context.quick:
        graphs = graphs[-1:]
    found = []
    for width, precision in graphs:
        label = f"static [1,{width}] {precision}{context.encoder.form}"
        context.say(f"coverage of {label}")
        path = context.graph(static=(1, width), precision=precision)
        measured = measure(context, path, label)
        if measured.failure:
            # What the provider claims of a graph that no session can be made of is worth nothing.
            status = "failed" if measured.nodes_total else "inconclusive"
            evidence = {"failure": measured.failure}
            return [
                _result(name, status, f"{label}: {measured.failure}", evidence, "See the evidence.")
                for name in (PARTITIONS, NODES)
            ]
        context.add_coverage(measured.to_json())
        found.append(measured)
    return judge(context, found)


def judge(context: TargetContext, found: list[Coverage]) -> list[CheckResult]:
    """Compare the worst of the measured graphs with the policy."""
    limits = context.policy.limits
    # No partition at all is the worst of all: nothing would run on CoreML.
    worst = max(found, key=lambda entry: (entry.partitions == 0, entry.partitions))
    fewest = min(found, key=lambda entry: entry.share)
    table = {
        entry.graph: f"{entry.partitions} partitions, {entry.nodes_taken} of {entry.nodes_total}"
        for entry in found
    }
    judged = {"coverage_partitions_max": worst.partitions}
    bad = violations(judged, limits) or (["nothing is taken"] if not worst.partitions else [])
    left = sorted({f"{node['op']}: {node['reason']}" for node in fewest.nodes if node["reason"]})
    partitions = CheckResult(
        id=PARTITIONS,
        status="failed" if bad else "passed",
        summary=f"partitions: at most {worst.partitions} in each of {len(found)} static graphs",
        measured=worst.partitions,
        limit=limits.coverage_partitions_max,
        unit="partitions",
        evidence={"judged": judged if worst.partitions else {}, "graphs": table},
        hint="Use static shapes and ModelFormat=MLProgram; see coverage.nodes." if bad else "",
    )
    shares = {"coverage_nodes_min": fewest.share}
    few = violations(shares, limits)
    nodes = CheckResult(
        id=NODES,
        status="failed" if few else "passed",
        summary=f"{fewest.nodes_taken} of {fewest.nodes_total} nodes ({fewest.graph})",
        measured=round(fewest.share, 6),
        limit=limits.coverage_nodes_min,
        unit="share of nodes",
        evidence={"judged": shares, "graphs": table, "left_behind": left},
        hint="The evidence names each operator left behind with the reason." if few else "",
    )
    return [partitions, nodes]


def measure(
    context: TargetContext,
    path: Path,
    label: str,
    *,
    options: Mapping[str, str] = COREML_OPTIONS,
) -> Coverage:
    """Ask the provider about one graph.

    With ``ModelFormat=NeuralNetwork`` the provider of 1.21.0 leaves its models in the process's
    current directory, which is the context's ``work``, and takes up those that lie there.
    """
    scratch = context.work / "coverage"
    scratch.mkdir(exist_ok=True)
    try:
        call = context.call(
            ".coverage.provider_inside:make_logged_session",
            {"path": str(path), "scratch": str(scratch), "options": dict(options)},
            role=context.role,
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    model_format = options.get("ModelFormat", "NeuralNetwork")
    answer = parse_log(call.stderr, label, model_format) or Coverage(
        graph=label,
        partitions=0,
        nodes_total=0,
        nodes_taken=0,
        nodes=(),
        format=model_format,
        failure="" if call.failure else "the provider logged no GetCapability line",
    )
    if call.failure:
        named = _ADDED if answer.nodes_total else _NODE_NAME
        asked = tuple(found.group(1) for found in named.finditer(call.stderr))
        answer = replace(answer, failure=call.sentence, asked=asked)
    return answer


def make_logged_session(context: TargetContext, payload: Mapping[str, Any]) -> bool:
    """Make a session with CoreML and verbose logging on standard error."""
    import os

    import onnxruntime

    os.environ["TMPDIR"] = payload["scratch"]
    onnxruntime.set_default_logger_severity(0)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 0
    onnxruntime.InferenceSession(
        payload["path"], sess_options=options, providers=[(COREML, dict(payload["options"]))]
    )
    return True


def listed_providers(context: TargetContext, payload: Mapping[str, Any]) -> list[str]:
    """Return the providers that the wheel lists."""
    import onnxruntime

    return list(onnxruntime.get_available_providers())


def parse_log(text: str, label: str, model_format: str = "MLProgram") -> Coverage | None:
    """Read the GetCapability that took most of a verbose log; ``None`` when there is none.

    The runtime asks again for what is left after the first answer: then whole partitions count
    as one node, and the runtime's own casts as nodes. Of two equal answers the first counts.
    The log names the nodes of a partition while that is written, one partition after another.
    """
    nodes: list[dict[str, Any]] = []
    reasons: list[str] = []
    most: Coverage | None = None
    written: list[list[str]] = [[]]
    for line in _COLOUR.sub("", text).splitlines():
        node = _NODE.search(line)
        if node:
            taken = node.group(4) == "1"
            nodes.append(
                {
                    "name": node.group(3),
                    "op": node.group(1),
                    "provider": "coreml" if taken else "cpu",
                    "partition": None,
                    "reason": "" if taken else "; ".join(reasons),
                }
            )
            reasons = []
            continue
        added = _ADDED.search(line)
        if added:
            written[-1].append(added.group(1))
            continue
        if _SAVED.search(line):
            written.append([])
            continue
        summary = _SUMMARY.search(line)
        if summary:
            partitions, total, count = (int(part) for part in summary.groups())
            most = most and _placed(most, written)
            written = [[]]
            found = Coverage(
                graph=label,
                partitions=partitions,
                nodes_total=total,
                nodes_taken=count,
                nodes=tuple(nodes),
                format=model_format,
            )
            if most is None or found.nodes_taken > most.nodes_taken:
                most = found
            nodes, reasons = [], []
            continue
        said = _LINE.search(line)
        # Most reasons come from the builders; helper.cc's IsInputSupported has some of its own.
        if said and ("builder" in line or "Support" in said.group(1)):
            reasons.append(said.group(2).strip())
    return most and _placed(most, written)


def _placed(found: Coverage, written: list[list[str]]) -> Coverage:
    """Set each node's partition, where the log names all of them; the answer is placed once.

    Nodes without a name cannot be found again, unless there is but one partition.
    """
    if any(node["partition"] is not None for node in found.nodes):
        return found
    places: dict[str, int] = {}
    if len([names for names in written if names]) == found.partitions:
        for number, names in enumerate(written):
            places.update((name, number) for name in names if name)
    only = 0 if found.partitions == 1 else None
    nodes = tuple(
        {**node, "partition": places.get(node["name"], only)}
        if node["provider"] == "coreml"
        else node
        for node in found.nodes
    )
    return replace(found, nodes=nodes)


def _result(name: str, status: Any, summary: str, evidence: Any, hint: str) -> CheckResult:
    return CheckResult(id=name, status=status, summary=summary, evidence=evidence, hint=hint)
