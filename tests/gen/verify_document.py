"""The schema of ``verify.json`` and the tables that explain its fields, from the models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, JsonValue

from verify.report.document import Document, Limit, Sha256

_KINDS = {str: "text", int: "integer", float: "number", bool: "true or false", NoneType: "null"}


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
        return "sha256 in hex" if metadata == Sha256.__metadata__ else _KINDS[annotation]
    if origin is Annotated:
        return _kind(arguments[0], arguments[1:])
    if origin is list:
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return f"object of {_kind(arguments[1])}"
    if origin is Literal:
        return " or ".join(f"`{json.dumps(value)}`" for value in arguments)
    return " or ".join(_kind(one) for one in arguments) if arguments else "object"
