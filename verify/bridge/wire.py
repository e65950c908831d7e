"""How messages follow each other in a stream of bytes: lines of JSON, or frames with a length.

A wire takes bytes in pieces of any size, and never holds more than one message of the largest
size. What is larger is passed over and reported.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from typing import Literal, Protocol

from .embedding import Floats
from .engine import Refusal, Vectors
from .messages import Embed, Refused, Request, dumped, read

JSON_FRAME, EMBED_FRAME, VECTORS_FRAME = 0, 1, 2
_LENGTH = struct.Struct("<I")
_EMBED = struct.Struct("<QI")
_VECTORS = struct.Struct("<BQIII")
_UNFINISHED = Refusal(code="invalid_json", message="The input ended inside a message.")


class EmbedBinary(Embed):
    """Texts from a frame of kind 1, whose vectors go into one of kind 2."""


class Wire(Protocol):
    """One form of the stream, in both directions."""

    def feed(self, piece: bytes) -> Iterator[bytes | Refusal]:
        """Yield the messages that are complete now, and what is wrong with the stream."""

    def finish(self) -> Refusal | None:
        """Say whether the input ended inside a message."""

    def read(self, message: bytes) -> Request:
        """Read a message, or raise :class:`Refused`."""

    def reply(self, data: object) -> bytes:
        """Return the bytes of a reply."""

    def vectors(self, request: Embed, answer: Vectors) -> bytes:
        """Return the bytes of an answer."""


class Lines:
    """Newline-delimited JSON."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self._skipping = False

    def feed(self, piece: bytes) -> Iterator[bytes | Refusal]:
        """Yield each line that is not empty."""
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            yield from self._hold(piece[start:end])
            start = end + 1
            line, self._held = bytes(self._held), bytearray()
            skipped, self._skipping = self._skipping, False
            if not skipped and line.strip():
                yield line
        yield from self._hold(piece[start:])

    def _hold(self, part: bytes) -> Iterator[Refusal]:
        if self._skipping:
            return
        if len(self._held) + len(part) > self._limit:
            self._held.clear()
            self._skipping = True
            yield _too_long("line", self._limit)
        else:
            self._held += part

    def finish(self) -> Refusal | None:
        """Say whether the last line had no line feed."""
        return _UNFINISHED if self._held.strip() else None

    def read(self, message: bytes) -> Request:
        """Read a line."""
        return read(message)

    def reply(self, data: object) -> bytes:
        """Return a line."""
        return dumped(data) + b"\n"

    def vectors(self, request: Embed, answer: Vectors) -> bytes:
        """Return a line with the vectors."""
        return self.reply(_as_json(request, answer))


class Frames:
    """Frames: a length, a kind, and JSON, texts or vectors."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self._skip = 0

    def feed(self, piece: bytes) -> Iterator[bytes | Refusal]:
        """Yield the body of each frame."""
        passed = min(self._skip, len(piece))
        self._skip -= passed
        self._held += piece[passed:]
        while len(self._held) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._held)
            end = _LENGTH.size + length
            if length > self._limit:
                self._skip = max(0, end - len(self._held))
                del self._held[:end]
                yield _too_long("frame", self._limit, "; who writes lines needs --wire lines")
                continue
            if len(self._held) < end:
                return
            body = bytes(self._held[_LENGTH.size : end])
            del self._held[:end]
            yield body

    def finish(self) -> Refusal | None:
        """Say whether the last frame was cut."""
        return _UNFINISHED if self._held or self._skip else None

    def read(self, message: bytes) -> Request:
        """Read the body of a frame."""
        kind = message[0] if message else None
        if kind == JSON_FRAME:
            return read(message[1:])
        if kind == EMBED_FRAME:
            return _embed_of(message)
        raise Refused(
            Refusal(
                code="unknown_op",
                message="The frame is empty." if kind is None else f"There is no frame {kind}.",
                hint="A client sends kinds 0 and 1.",
            )
        )

    def reply(self, data: object) -> bytes:
        """Return a frame of JSON."""
        text = dumped(data)
        return _LENGTH.pack(1 + len(text)) + bytes([JSON_FRAME]) + text

    def vectors(self, request: Embed, answer: Vectors) -> bytes:
        """Return a frame of float32; JSON where the client asked in JSON."""
        if not isinstance(request, EmbedBinary):
            return self.reply(_as_json(request, answer))
        count, width = answer.rows.shape
        data = answer.rows.astype("<f4", copy=False).tobytes()
        head = _VECTORS.pack(VECTORS_FRAME, request.id, count, width, answer.tokens)
        return _LENGTH.pack(len(head) + len(data)) + head + data


def _embed_of(message: bytes) -> EmbedBinary:
    """Read kind 1: an id, a count, and each text's length and UTF-8."""
    id: int | None = None
    try:
        id, count = _EMBED.unpack_from(message, 1)
        at = 1 + _EMBED.size
        if count * _LENGTH.size > len(message):
            raise ValueError(f"{count} texts are more than the frame holds")
        texts: list[str] = []
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(message, at)
            at += _LENGTH.size
            if at + length > len(message):
                raise ValueError(f"text {len(texts)} is longer than what is left of the frame")
            texts.append(message[at : at + length].decode())
            at += length
        if at != len(message):
            raise ValueError(f"{len(message) - at} bytes follow the last text")
        return EmbedBinary(op="embed", id=id, texts=texts)
    except (struct.error, ValueError) as error:
        known = id if id is not None and id < 2**53 else None
        told = str(error).partition("\n")[0]
        raise Refused(Refusal(code="invalid_request", message=f"Frame 1: {told}."), known) from None


def _as_json(request: Embed, answer: Vectors) -> dict[str, object]:
    return {
        "id": request.id,
        "ok": True,
        "dimensions": answer.rows.shape[1],
        "tokens": answer.tokens,
        "vectors": encoded(answer.rows, request.encoding),
    }


def encoded(rows: Floats, encoding: Literal["float", "base64"]) -> list[object]:
    """Return each row as a list of numbers, or as the base64 of its little-endian float32."""
    if encoding == "float":
        numbers: list[object] = rows.tolist()
        return numbers
    return [base64.b64encode(row).decode() for row in rows.astype("<f4", copy=False)]


def _too_long(what: str, limit: int, more: str = "") -> Refusal:
    return Refusal(
        code="too_large",
        message=f"A {what} of more than {limit} bytes was passed over.",
        hint=f"Send fewer texts in one request{more}.",
    )
