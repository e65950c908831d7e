"""The stream in pieces: nothing is lost, or held without bound, or taken wrongly."""

from __future__ import annotations

import contextlib
import json
import struct
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.bridge.engine import Refusal, Vectors
from verify.bridge.messages import (
    Cancel,
    Embed,
    Health,
    Hello,
    Refused,
    Stats,
    dumped,
    error_reply,
    read,
)
from verify.bridge.wire import EmbedBinary, Frames, Lines, Wire

LIMIT = 40


def fed(wire: Wire, stream: bytes, cuts: Iterable[int]) -> list[bytes | Refusal]:
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    found: list[bytes | Refusal] = []
    for start, end in pairwise(edges):
        found += wire.feed(stream[start:end])
        assert len(wire._held) <= LIMIT + 4
    return found


def codes(found: list[bytes | Refusal]) -> list[bytes | str]:
    return [each.code if isinstance(each, Refusal) else each for each in found]


@given(
    st.lists(st.binary(max_size=2 * LIMIT).map(lambda line: line.replace(b"\n", b""))),
    st.lists(st.integers(0, 400)),
)
def test_lines_in_any_pieces(lines: list[bytes], cuts: list[int]) -> None:
    wire = Lines(LIMIT)
    found = fed(wire, b"".join(line + b"\n" for line in lines), cuts)
    assert codes(found) == [
        line if len(line) <= LIMIT else "too_large"
        for line in lines
        if line.strip() or len(line) > LIMIT
    ]
    assert wire.finish() is None


@given(st.lists(st.binary(max_size=2 * LIMIT)), st.lists(st.integers(0, 400)))
def test_frames_in_any_pieces(bodies: list[bytes], cuts: list[int]) -> None:
    wire = Frames(LIMIT)
    stream = b"".join(struct.pack("<I", len(body)) + body for body in bodies)
    assert codes(fed(wire, stream, cuts)) == [
        body if len(body) <= LIMIT else "too_large" for body in bodies
    ]
    assert wire.finish() is None


@pytest.mark.parametrize("wire", [Lines(LIMIT), Frames(LIMIT)])
def test_an_input_that_ends_inside_a_message(wire: Wire) -> None:
    assert list(wire.feed(b"\x05\0")) == []
    assert wire.finish() is not None


@given(st.binary(max_size=300))
def test_no_bytes_break_a_reader(message: bytes) -> None:
    for wire in (Lines(LIMIT), Frames(LIMIT)):
        with contextlib.suppress(Refused):
            wire.read(message)


@given(st.lists(st.text(), min_size=1), st.integers(0, 2**53 - 1))
def test_a_frame_of_texts(texts: list[str], id: int) -> None:
    encoded = [text.encode() for text in texts]
    body = struct.pack("<BQI", 1, id, len(texts))
    body += b"".join(struct.pack("<I", len(text)) + text for text in encoded)
    request = Frames(LIMIT).read(body)
    assert isinstance(request, EmbedBinary)
    assert (request.id, request.texts) == (id, texts)
    for damaged in (body + b"x", body[:-1]):
        with pytest.raises(Refused) as caught:
            Frames(LIMIT).read(damaged)
        assert caught.value.id == id
        assert caught.value.refusal.code == "invalid_request"


@pytest.mark.parametrize(
    ("body", "code", "id"),
    [
        (b"", "unknown_op", None),
        (b"\x07", "unknown_op", None),
        (b"\x02", "unknown_op", None),
        (b"\x00{", "invalid_json", None),
        (b"\x01\x05", "invalid_request", None),
        (struct.pack("<BQI", 1, 2**60, 1), "invalid_request", None),
        (struct.pack("<BQI", 1, 9, 2**32 - 1), "invalid_request", 9),
        (struct.pack("<BQII", 1, 9, 1, 2) + b"\xff\xfe", "invalid_request", 9),
        (struct.pack("<BQI", 1, 9, 0), "invalid_request", 9),
    ],
)
def test_frames_that_are_refused(body: bytes, code: str, id: int | None) -> None:
    with pytest.raises(Refused) as caught:
        Frames(1000).read(body)
    assert (caught.value.refusal.code, caught.value.id) == (code, id)


@pytest.mark.parametrize(
    ("line", "code", "id"),
    [
        ("x", "invalid_json", None),
        ("[" * 5000, "invalid_json", None),
        ('{"op":"embed","id":1,"texts":["\\ud800"]}', "invalid_json", 1),
        ('{"op":"dance","id":"x"}', "unknown_op", "x"),
        ('{"id":3}', "invalid_request", 3),
        ("[]", "invalid_request", None),
        ('{"op":"embed","texts":["a"]}', "invalid_request", None),
        ('{"op":"embed","id":true,"texts":["a"]}', "invalid_request", None),
        ('{"op":"embed","id":9007199254740992,"texts":["a"]}', "invalid_request", None),
        ('{"op":"embed","id":1,"texts":"a"}', "invalid_request", 1),
        ('{"op":"embed","id":1,"texts":[]}', "invalid_request", 1),
        ('{"op":"embed","id":1,"texts":["a",2]}', "invalid_request", 1),
        ('{"op":"embed","id":1,"texts":["a"],"encodng":"float"}', "invalid_request", 1),
        ('{"op":"hello","versions":[]}', "invalid_request", None),
    ],
)
def test_lines_that_are_refused(line: str, code: str, id: int | str | None) -> None:
    with pytest.raises(Refused) as caught:
        read(line.encode())
    assert (caught.value.refusal.code, caught.value.id) == (code, id)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"op":"%s"}' % (b"x" * 10**6), "unknown_op"),
        (b'{"op":"health","id":1,"%s":1}' % (b"x" * 10**6), "invalid_request"),
        (b'{"op":"embed","id":1,"texts":[%s1]}' % (b"1," * 10**6), "invalid_request"),
        (b'{"op":"hello","versions":[%s1]}' % (b'"",' * 10**6), "invalid_request"),
        (
            b'{"op":"health","id":1,%s}' % b",".join(b'"%x":1' % each for each in range(10**5)),
            "invalid_request",
        ),
    ],
)
def test_a_large_mistake_costs_little(line: bytes, code: str) -> None:
    """Neither memory for each wrong item, nor a reply as long as the message."""
    tracemalloc.start()
    try:
        with pytest.raises(Refused) as caught:
            read(line)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * len(line)
    refusal = caught.value.refusal
    assert refusal.code == code
    assert len(dumped(error_reply(refusal, caught.value.id))) < 1000


def test_every_operation_is_read() -> None:
    asked = [
        ({"op": "hello", "versions": [1]}, Hello),
        ({"op": "embed", "id": "x", "texts": ["a"], "encoding": "base64"}, Embed),
        ({"op": "cancel", "id": 1, "target": "x"}, Cancel),
        ({"op": "health", "id": 1}, Health),
        ({"op": "stats", "id": 1}, Stats),
    ]
    for message, kind in asked:
        assert type(read(json.dumps(message).encode())) is kind


def test_answers_are_the_same_in_every_form() -> None:
    rows = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)
    answer = Vectors(rows=rows, tokens=12)
    texts = ["a", "b", "c"]
    as_numbers = json.loads(Lines(99).vectors(Embed(op="embed", id=4, texts=texts), answer))
    assert (np.array(as_numbers["vectors"], dtype=np.float32) == rows).all()
    request = Embed(op="embed", id=4, texts=texts, encoding="base64")
    for line in (Lines(99).vectors(request, answer), Frames(99).vectors(request, answer)[5:]):
        found = json.loads(line)
        assert [found[name] for name in ("id", "dimensions", "tokens")] == [4, 5, 12]
        decoded = [
            np.frombuffer(__import__("base64").b64decode(each), "<f4") for each in found["vectors"]
        ]
        assert (np.frombuffer(b"".join(decoded), "<f4").reshape(rows.shape) == rows).all()
    frame = Frames(99).vectors(EmbedBinary(op="embed", id=4, texts=texts), answer)
    assert struct.unpack_from("<IBQIII", frame) == (len(frame) - 4, 2, 4, 3, 5, 12)
    assert frame[25:] == rows.tobytes()
