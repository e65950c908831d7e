"""The schema of ``verify.json``, version 1.

The models are the one source: ``verify.schema.json`` and the field tables of
``docs/verification-report.md`` are generated from them (``python -m verify.report.schema``), and a
test fails when either is stale. A reader may meet newer documents; the version changes when a
field changes its meaning or disappears, not when one is added.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)

from ..errors import VerifyError

SCHEMA_FILE = Path(__file__).with_name("verify.schema.json")
VERSION = 1
_MARKS = ("<!-- fields: begin (generated) -->", "<!-- fields: end -->")
_MOST_SHOWN = 20

_HEX = r"^[0-9a-f]{64}$"
_SHA256 = "sha256 in hex"
_KINDS = {str: "text", int: "integer", float: "number", bool: "true or false", NoneType: "null"}

Text = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=_HEX)]
Natural = Annotated[int, Field(ge=0)]
Duration = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Limit = bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Host(_Model):
    """The machine and the software that ran the checks."""

    # A host kind may know more about itself; every such field is shown in the report as it is.
    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    fingerprint: Text = Field(
        description="sha256 of the part that does not change between runs. Runs with different "
        "fingerprints are not compared unless told otherwise."
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
        default_factory=dict,
        description="Versions of the packages that matter, by name.",
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


class Policy(_Model):
    """The limits that the run was judged by."""

    name: Text = Field(description="Name of the policy.")
    limits: dict[str, Limit] = Field(description="Every limit of the policy by name.")
    required: dict[str, bool] = Field(
        description="Check id to whether the verdict requires it. A required check that is "
        "`not-run` keeps the verdict from passing."
    )


class Selection(_Model):
    """What the user asked to run."""

    quick: bool = Field(description="Whether `--quick` was given: fewer samples and texts.")
    only: list[str] = Field(description="Check ids or patterns that the run was limited to.")
    skip: dict[str, str] = Field(description="Check id to the reason for leaving it out.")


class Verdict(_Model):
    """The conclusion in plain words."""

    decision: Literal["GO", "GO-WITH-FALLBACK", "NOT-EXECUTED", "NO-GO", "INCONCLUSIVE"] = Field(
        description="One word. `GO-WITH-FALLBACK` means that the headline names the fallback, "
        "`NOT-EXECUTED` that the wheel's bytes were read and nothing else."
    )
    exit_code: Literal[0, 1, 2, 3] = Field(
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
    status: Literal["passed", "failed", "inconclusive", "not-run"] = Field(
        description="A check that was skipped, or that the host cannot carry out, is `not-run`."
    )
    summary: str = Field(description="One line: what was found.")
    measured: JsonValue = Field(default=None, description="What was measured, any JSON value.")
    limit: JsonValue = Field(default=None, description="The policy's limit for it, or null.")
    unit: str = Field(default="", description="Unit of `measured` and `limit`, or empty.")
    evidence: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="What lets a reader check the conclusion; free form.",
    )
    hint: str = Field(default="", description="What to do about any status but `passed`.")
    seconds: Duration = Field(default=0.0, description="Wall time of the check in seconds.")


class LatencySeries(_Model):
    """Every latency sample of one series, in the order measured."""

    series: Text = Field(
        description="Name, `role/provider/precision/workload`; unique in the document."
    )
    role: Literal["candidate", "official"] = Field(
        description="The wheel under test, or the official wheel of the same upstream version."
    )
    provider: Text = Field(description="Execution provider in short, `cpu` or `coreml`.")
    precision: Text = Field(description="`fp32` or `fp16`.")
    workload: Text = Field(
        description="`mix`: realistic text lengths; `worst`: the longest admitted text; "
        "`paired`: the mix, measured in turns with other series."
    )
    unit: Literal["ns", "us", "ms", "s"] = Field(description="Unit of all times in this series.")
    process: list[Natural] = Field(description="Number of the process that made each call.")
    tokens: list[Natural] = Field(description="Tokens of each call's text.")
    warmup: list[Duration] = Field(description="Warm-up calls, kept apart and never judged.")
    values: list[Duration] = Field(description="Time of each call, text in to vector out.")
    stages: dict[str, list[Duration]] = Field(
        default_factory=dict,
        description="Time of each call by stage: `tokenise`, `tensors`, `inference`, `pool`, "
        "`normalise`.",
    )

    @model_validator(mode="after")
    def _same_length(self) -> LatencySeries:
        lengths = {"process": len(self.process), "tokens": len(self.tokens)}
        lengths |= {f"stages.{name}": len(times) for name, times in self.stages.items()}
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
    policy: Policy = Field(description="The limits.")
    selection: Selection = Field(description="What was asked for.")
    verdict: Verdict = Field(description="The conclusion.")
    checks: list[CheckEntry] = Field(description="Every check, in the order of the table.")
    samples: Samples = Field(default_factory=Samples, description="Raw samples.")
    coverage: list[Coverage] = Field(
        default_factory=list,
        description="One entry per graph that the provider was asked about.",
    )


def validate(document: Mapping[str, Any]) -> None:
    """Check a document against the schema.

    Parameters
    ----------
    document : Mapping[str, Any]
        Parsed ``verify.json``.

    Raises
    ------
    VerifyError
        With every mismatch and its path in the context.
    """
    try:
        Document.model_validate(document)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        paths = {
            ".".join(str(part) for part in one["loc"]) or "(document)": one["msg"]
            for one in reversed(found[:_MOST_SHOWN])
        }
        raise VerifyError(
            f"The document does not follow schema {VERSION} of verify.json: "
            f"{len(found)} mismatch{'' if len(found) == 1 else 'es'}.",
            hint="It may be damaged or written by another version of ortmill; see "
            "docs/verification-report.md for every field.",
            context=dict(reversed(paths.items())),
        ) from None


def schema_text() -> str:
    """Return the JSON schema file's text, as generated from the models."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Document.model_json_schema(by_alias=True),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def field_tables() -> str:
    """Return the field tables of the document page, in Markdown."""
    parts = []
    for path, model in _models(Document, ""):
        parts.append(f"### {f'`{path}`' if path else 'Top level'}\n")
        parts.append(f"{(model.__doc__ or '').strip()}\n".replace("``", "`"))
        parts.append("| field | type | meaning |\n|---|---|---|")
        for name, info in model.model_fields.items():
            label = info.alias or name
            optional = "" if info.is_required() else " (optional)"
            kind = _kind(info.annotation, info.metadata)
            parts.append(f"| `{label}` | {kind}{optional} | {info.description} |")
        parts.append("")
    return "\n".join(parts)


def document_text(page: str) -> str:
    """Return the document page with its generated part renewed."""
    begin, end = (page.find(mark) for mark in _MARKS)
    if begin < 0 or end < begin:
        raise VerifyError(
            "The page docs/verification-report.md has lost the marks around its generated part.",
            hint=f"Put the lines {_MARKS[0]} and {_MARKS[1]} back.",
        )
    return f"{page[: begin + len(_MARKS[0])]}\n\n{field_tables()}\n{page[end:]}"


def _models(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    yield path, model
    for name, info in model.model_fields.items():
        inner, many = info.annotation, False
        if get_origin(inner) is list:
            inner, many = get_args(inner)[0], True
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _models(inner, f"{path}.{name}".lstrip(".") + ("[]" if many else ""))


def _kind(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """Say a field's type in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is JsonValue or annotation == Limit:
        return "any JSON value"
    if isinstance(annotation, type) and annotation in _KINDS:
        return _SHA256 if any(str(_HEX) in repr(one) for one in metadata) else _KINDS[annotation]
    if origin is Annotated:
        return _kind(arguments[0], arguments[1:])
    if origin is list:
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return f"object of {_kind(arguments[1])}"
    if origin is Literal:
        return " or ".join(f"`{json.dumps(value)}`" for value in arguments)
    return " or ".join(_kind(one) for one in arguments) if arguments else "object"


def main() -> None:
    """Write the schema file and renew the generated part of the document page."""
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
    page = Path(__file__).parents[2] / "docs" / "verification-report.md"
    if page.is_file():
        page.write_text(document_text(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
