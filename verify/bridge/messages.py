"""The messages of the bridge: what a client may ask, checked, and how a reply is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ..encoder.model_recipe import Kind
from .engine import Limits, Refusal

VERSIONS = (1,)
_LARGEST = 2**53 - 1  # what every JSON reader keeps exactly
_ERRORS_SHOWN = 3
ERRORS_LISTED = 100  # pydantic writes out all or none, each far larger than what it is about
_TOLD = 500  # characters of a message: what a client sent is not sent back whole

Id = (
    Annotated[int, Field(strict=True, ge=-_LARGEST, le=_LARGEST)]
    | Annotated[str, Field(strict=True, max_length=128)]
)


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Hello(_Message):
    """Begin: the protocol versions that the client speaks."""

    op: Literal["hello"]
    id: Id | None = None
    versions: Annotated[list[int], Field(min_length=1, max_length=64, fail_fast=True)]


class Embed(_Message):
    """Texts to embed; the reply has one vector for each, in their order."""

    op: Literal["embed"]
    id: Id
    texts: Annotated[list[str], Field(min_length=1, fail_fast=True)]
    encoding: Literal["float", "base64"] = "float"
    kind: Kind | None = None


class Cancel(_Message):
    """A request that needs no answer any more."""

    op: Literal["cancel"]
    id: Id
    target: Id


class Health(_Message):
    """Ask whether the service is well."""

    op: Literal["health"]
    id: Id


class Stats(_Message):
    """Ask what it has done."""

    op: Literal["stats"]
    id: Id


Request = Hello | Embed | Cancel | Health | Stats
_REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="op")])
_ID: TypeAdapter[Id] = TypeAdapter(Id)


class Refused(Exception):
    """A message that is answered with an error; ``id`` is its own where it could be read."""

    def __init__(self, refusal: Refusal, id: int | str | None = None) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
        self.id = id


def read(message: bytes | bytearray) -> Request:
    """Read one JSON message.

    Raises
    ------
    Refused
        When it is not JSON, or asks for nothing that there is.
    """
    try:
        return _REQUEST.validate_json(message)
    except ValidationError as error:
        raise Refused(_what_is_wrong(error), _id_of(message)) from None


def _what_is_wrong(error: ValidationError) -> Refusal:
    told = first_faults(error)
    alone = error.error_count() == 1
    kind = error.errors(include_url=False, include_input=False)[0]["type"] if alone else ""
    if kind == "json_invalid":
        return Refusal(code="invalid_json", message=told)
    if kind == "union_tag_invalid":
        return Refusal(
            code="unknown_op", message=told, hint="See the operations in docs/bridge.md."
        )
    return Refusal(code="invalid_request", message=told)


def first_faults(error: ValidationError) -> str:
    """Return where a message is wrong, and how."""
    if error.error_count() > ERRORS_LISTED:
        return f"{error.error_count()} fields are wrong or unknown"
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(
        ": ".join(filter(None, [".".join(map(str, each["loc"])), each["msg"]]))
        for each in found[:_ERRORS_SHOWN]
    )


def _id_of(message: bytes | bytearray) -> int | str | None:
    try:
        # The standard library's reader takes more: half a surrogate pair, for one.
        return _ID.validate_python(json.loads(message)["id"])
    except (ValueError, TypeError, KeyError, RecursionError):  # pydantic's are ValueErrors
        return None


def too_large(texts: Sequence[str], limits: Limits) -> Refusal | None:
    """Return why texts are refused, or ``None``."""
    if len(texts) > limits.texts:
        return Refusal(
            code="too_large",
            message=f"A request holds at most {limits.texts} texts, not {len(texts)}.",
            hint="Send them in several requests.",
        )
    for at, text in enumerate(texts):
        # A character takes at most 4 bytes: short texts need no second look.
        if 4 * len(text) > limits.text_bytes and len(text.encode()) > limits.text_bytes:
            return Refusal(
                code="too_large",
                message=f"Text {at} has more than {limits.text_bytes} bytes of UTF-8.",
                hint="The model reads the first few hundred words alone: cut the text.",
            )
    return None


def error_reply(refusal: Refusal, id: int | str | None) -> dict[str, Any]:
    """Return the reply that says what is wrong."""
    error = {"code": refusal.code, "message": shortened(refusal.message)}
    if refusal.hint:
        error["hint"] = refusal.hint
    return {"id": id, "ok": False, "error": error}


def shortened(message: str) -> str:
    """Return a message that is no longer than a reader needs."""
    return message if len(message) <= _TOLD else f"{message[:_TOLD]} …"


def dumped(reply: Any) -> bytes:
    """Return a reply as JSON without line feeds."""
    return json.dumps(reply, ensure_ascii=False, separators=(",", ":")).encode()
