"""The one model of ``verify.json``, version 1: built typed, validated by that, and read typed.

``verify.schema.json`` beside this file and the field tables of ``docs/verification-report.md`` are
generated from the models (``nox -s gen``). The version changes when a field changes its meaning or
disappears, not when one is added: a reader passes over the fields of a newer document that it does
not know, while a document that is made here may have no others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)

from ..errors import VerifyError
from ..files import write_text
from ..policy.result import Status

VERSION: Literal[1] = 1
_MOST_SHOWN = 20

Text = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Natural = Annotated[int, Field(ge=0)]
Duration = Annotated[float, Field(ge=0, allow_inf_nan=False)]
# Whole nanoseconds stay whole: 3 is written as 3, not as 3.0.
Time = Annotated[Duration, AfterValidator(lambda value: int(value) if value % 1 == 0 else value)]
Decision = Literal["GO", "GO-WITH-FALLBACK", "NOT-EXECUTED", "NO-GO", "INCONCLUSIVE"]
ExitCode = Literal[0, 1, 2, 3]
Limit = bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Host(_Model):
    """The machine and the software that ran the checks."""

    # A host kind may know more about itself; every such field is shown in the report as it is.
    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    fingerprint: Text = Field(
        description="sha256 of the part that does not change between runs. Runs with different "
        "fingerprints are compared only with `--other-host`."
    )
    kind: Text = Field(description="Operating system and architecture, `linux-x86_64`.")
    cpu: str | None = Field(default=None, description="Processor's name as the system gives it.")
    cores: Natural | None = Field(default=None, description="Cores that the run may use.")
    memory_bytes: Natural | None = Field(default=None, description="Physical memory in bytes.")
    governor: str | None = Field(
        default=None, description="CPU frequency governor, null where there is none."
    )
    load: list[float] | None = Field(
        default=None, description="Load averages over 1, 5 and 15 minutes at the start."
    )
    os: str | None = Field(default=None, description="Operating system and its version.")
    python: str | None = Field(default=None, description="Python's version.")
    packages: dict[str, str | None] = Field(
        default_factory=dict, description="Versions of the packages that matter, by name."
    )


class Wheel(_Model):
    """The wheel under test."""

    file: Text = Field(description="File name, without a directory.")
    sha256: Sha256 = Field(description="Hash of the wheel file.")
    size: Natural = Field(description="Bytes of the wheel file.")
    version: Text = Field(description="Version from the wheel's metadata, local part included.")
    manifest_sha256: Sha256 | None = Field(
        description="Hash of the `manifest.json` beside the wheel; null for a wheel without one."
    )
    cross: str | None = Field(
        default=None,
        description="How a cross-built wheel was built, from its manifest; null for others.",
    )
    compared: str | None = Field(
        default=None,
        description="Which official wheel it was compared with, or why with none; null where no "
        "check asked for one.",
    )


class Policy(_Model):
    """The limits that the run was judged by."""

    name: Text = Field(description="Name of the policy.")
    limits: dict[str, Limit] = Field(description="Every limit of the policy by name.")
    required: dict[str, bool] = Field(
        description="Check id to whether the verdict requires it. A required check that is "
        "`not-run` keeps the verdict from passing."
    )
    cpu_precision: Text = Field(
        default="fp32", description="The form of the encoder that the CPU provider was judged in."
    )


class Selection(_Model):
    """What the user asked to run."""

    quick: bool = Field(description="Whether `--quick` was given: fewer samples and texts.")
    only: list[str] = Field(description="Check ids or patterns that the run was limited to.")
    skip: dict[str, str] = Field(description="Check id to the reason for leaving it out.")


class Verdict(_Model):
    """The conclusion in plain words."""

    decision: Decision = Field(
        description="One word. `GO-WITH-FALLBACK` means that the headline names the fallback, "
        "`NOT-EXECUTED` that the wheel's bytes were read and nothing else."
    )
    exit_code: ExitCode = Field(
        description="0 every required check passed, 1 one failed, 2 inconclusive, 3 could not run."
    )
    headline: Text = Field(description="One line.")
    paragraph: str = Field(description="What was found and what follows from it.")
    proven: list[str] = Field(description="What this run proved on this host.")
    not_proven: list[str] = Field(description="What it did not prove, and why.")
    next: list[str] = Field(description="What to do next.")


class CheckEntry(_Model):
    """The outcome of one check."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_-]+)+$")] = Field(
        description="Dotted name, `group.name`."
    )
    title: Text = Field(description="What the check asks, for a person.")
    required: bool = Field(description="Whether the policy requires it.")
    status: Status = Field(
        description="A check that was skipped, or that the host cannot carry out, is `not-run`."
    )
    summary: str = Field(description="One line: what was found.")
    measured: JsonValue = Field(default=None, description="What was measured, any JSON value.")
    limit: JsonValue = Field(default=None, description="The policy's limit for it, or null.")
    unit: str = Field(default="", description="Unit of `measured` and `limit`, or empty.")
    evidence: dict[str, JsonValue] = Field(
        default_factory=dict, description="What lets a reader check the conclusion; free form."
    )
    hint: str = Field(default="", description="What to do about any status but `passed`.")
    seconds: Duration = Field(default=0.0, description="Wall time of the check in seconds.")


class Conditions(_Model):
    """What the machine did during each call of a series; lists as long as its values."""

    processor: list[Natural] = Field(
        description="Processor time of all threads of the process, ns."
    )
    delay: list[Natural | None] = Field(
        description="Longest time that one thread of the process waited in a run queue, ns; null "
        "where the system does not say."
    )
    switches: list[Natural] = Field(description="Involuntary context switches.")
    stops: list[Natural] = Field(description="How often the process was stopped and continued.")
    loop: list[Natural | None] = Field(
        description="Processor time of a loop of fixed work, the slower of the two that ran "
        "before and after the call's block, ns."
    )
    stolen: list[Annotated[float, Field(ge=0, le=1)] | None] = Field(
        description="Share of the cores' time that a hypervisor took during the call's block."
    )
    others: list[Annotated[float, Field(ge=0, le=1)]] | None = Field(
        default=None,
        description="Share of the cores' time that other programs used during the call's round; "
        "absent in documents from before the field.",
    )
    alone: bool = Field(
        description="Nobody else used the processors, as far as the host shows it: a thread that "
        "waited then waited for its own process."
    )


class LatencySeries(_Model):
    """Every latency sample of one series, in the order measured."""

    series: Text = Field(
        description="Name, `role/provider/precision/workload`; unique in the document."
    )
    role: Literal["candidate", "official"] = Field(
        description="The wheel under test, or the official wheel of the same upstream version."
    )
    provider: Text = Field(description="Execution provider in short, `cpu` or `coreml`.")
    precision: Text = Field(description="`fp32`, `fp16`, or a form prepared for the CPU.")
    workload: Text = Field(
        description="`mix`: realistic text lengths; `worst`: the longest admitted text; "
        "`paired`: the mix, measured in turns with other series."
    )
    unit: Literal["ns", "us", "ms", "s"] = Field(description="Unit of all times in this series.")
    process: list[Natural] = Field(description="Number of the process that made each call.")
    tokens: list[Natural] = Field(description="Tokens of each call's text.")
    warmup: list[Time] = Field(description="Warm-up calls, kept apart and never judged.")
    values: list[Time] = Field(description="Time of each call, text in to vector out.")
    p95_upper_ms: Duration | None = Field(
        default=None,
        description="Upper confidence bound of the P95 in milliseconds, computed as the gate does; "
        "null where the samples are too few for one.",
    )
    stages: dict[str, list[Time]] = Field(
        default_factory=dict,
        description="Time of each call by stage: `tokenise`, `tensors`, `inference`, `pool`, "
        "`normalise`.",
    )
    conditions: Conditions | None = Field(
        default=None,
        description="What the machine did meanwhile; null in reports of older versions, where "
        "nothing excuses a slow call.",
    )

    @model_validator(mode="after")
    def _same_length(self) -> LatencySeries:
        lengths = {"process": len(self.process), "tokens": len(self.tokens)}
        lengths |= {f"stages.{name}": len(times) for name, times in self.stages.items()}
        lengths |= {
            f"conditions.{name}": len(column)
            for name, column in self.conditions or ()
            if isinstance(column, list)
        }
        for name, length in lengths.items():
            if length != len(self.values):
                raise ValueError(f"{name} has {length} entries, but values has {len(self.values)}")
        return self


class Samples(_Model):
    """Raw samples, so that a run can be judged again with other limits."""

    latency: list[LatencySeries] = Field(default_factory=list, description="Latency series.")


class GraphNode(_Model):
    """One node of a graph as the provider sees it."""

    name: str = Field(description="Name of the node, may be empty.")
    op: Text = Field(description="Operator type.")
    provider: Text = Field(description="`coreml` where the provider took the node, else `cpu`.")
    partition: int | None = Field(description="Number of the partition, null when left behind.")
    reason: str | None = Field(default=None, description="Why the provider left it behind.")

    @property
    def taken(self) -> bool:
        """Whether the CoreML provider took the node."""
        return self.partition is not None or self.provider == "coreml"


class Coverage(_Model):
    """How one graph is divided between the CoreML provider and the CPU."""

    graph: Text = Field(description="Which graph, `static [1,128] fp32`.")
    format: Text = Field(description="`MLProgram` or `NeuralNetwork`.")
    partitions: Natural = Field(description="Number of partitions that CoreML would run.")
    nodes_total: Natural = Field(description="Nodes that the provider was asked about.")
    nodes_taken: Natural = Field(description="Nodes that it took.")
    nodes: list[GraphNode] = Field(
        default_factory=list, description="Every node in the graph's order."
    )


class Document(_Model):
    """A whole ``verify.json``."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, title="ortmill verify.json, schema 1"
    )

    schema_: Literal[1] = Field(alias="schema", description="Version of this schema.")
    ortmill: Text = Field(description="Version of ortmill that wrote the document.")
    created: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")] = Field(
        description="Start of the run, ISO 8601 in UTC."
    )
    seconds: Duration = Field(description="Wall time of the whole run in seconds.")
    host: Host = Field(description="The machine.")
    wheel: Wheel = Field(description="The wheel under test.")
    model: Text | None = Field(
        default=None, description="Model recipe that was run; null where nothing was executed."
    )
    policy: Policy = Field(description="The limits.")
    selection: Selection = Field(description="What was asked for.")
    verdict: Verdict = Field(description="The conclusion.")
    checks: list[CheckEntry] = Field(description="Every check, in the order of the table.")
    samples: Samples = Field(default_factory=Samples, description="Raw samples.")
    coverage: list[Coverage] = Field(
        default_factory=list, description="One entry per graph that the provider was asked about."
    )

    def check(self, name: str) -> CheckEntry | None:
        """Return one check, or None where the run did not list it."""
        return next((check for check in self.checks if check.id == name), None)


def parse(content: object) -> Document:
    """Read parsed JSON; fields that a newer version added are passed over.

    Raises
    ------
    VerifyError
        With every mismatch and its path in the context.
    """
    try:
        return Document.model_validate(content, extra="allow")
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        paths = {
            ".".join(str(part) for part in one["loc"]) or "(document)": one["msg"]
            for one in found[:_MOST_SHOWN]
        }
        raise VerifyError(
            f"The document does not follow schema {VERSION} of verify.json: "
            f"{len(found)} mismatch{'' if len(found) == 1 else 'es'}.",
            hint="It may be damaged or written by another version of ortmill; see "
            "docs/verification-report.md for every field.",
            context=paths,
        ) from None


def read(path: Path) -> Document:
    """Read a file that ``python -m verify run`` or ``judge`` wrote.

    Raises
    ------
    VerifyError
        When the file is missing, is not JSON or does not follow the schema.
    """
    hint = "Give the file that `python -m verify run` wrote to .work/reports/."
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise VerifyError(f"There is no report at {path}.", hint=hint) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise VerifyError(f"{path} cannot be read: {error}.", hint=hint) from None
    if not isinstance(content, dict) or content.get("schema") != VERSION:
        raise VerifyError(f"{path} is not a verify.json of schema {VERSION}.", hint=hint)
    return parse(content)


def dumps(content: Document | Mapping[str, Any]) -> str:
    """Return a document, or any other answer of a command, as JSON; NaN is an error."""
    if isinstance(content, Document):
        content = content.model_dump(by_alias=True)
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)


def write(document: Document, path: Path) -> None:
    """Write the document as JSON."""
    write_text(path, dumps(document) + "\n")
