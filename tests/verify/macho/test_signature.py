"""The code signature: every page, every slot, and nothing outside it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.macho_examples import (
    CODE_SIGNATURE,
    command,
    image,
    patched,
    stored,
)
from tests.kit.macho_files import directory, superblob
from verify.macho.image import Image, read_image
from verify.macho.signature import BadSignature, check_signatures, verify_signature
from verify.macho.signature import superblob as read_superblob

REQUIREMENTS = struct.pack(">3I", 0xFADE0C01, 12, 0)


def problems(data: bytes) -> str:
    found, _ = verify_signature(read_image(data, "lib.dylib"))
    return "; ".join(found)


def signed(code: bytes, blobs: dict[int, bytes]) -> Image:
    """An image of ``code`` with a signature of its own, as far as the check looks at it."""
    blob = superblob(blobs)
    last = dataclasses.replace(
        image().segments[-1], offset=0, file_size=len(code) + len(blob), name="__LINKEDIT"
    )
    return dataclasses.replace(
        image(), data=code + blob, signature=(len(code), len(blob)), segments=(last,)
    )


def test_a_linkers_own_signature_holds() -> None:
    found, facts = verify_signature(image())
    assert found == []
    (entry,) = facts["directories"]
    assert entry["algorithm"] == "sha256"
    assert entry["identifier"] == "libonnxruntime.1.21.0.dylib"
    assert entry["flags"] == "0x20002"
    assert facts["pages"] == -(-image().signature[0] // 4096)


@given(at=st.integers(0, len(stored("library")) - 1), bit=st.integers(0, 7))
def test_any_flipped_bit_before_the_signature_is_found(at: int, bit: int) -> None:
    start, _ = image().signature or (0, 0)
    at %= start
    data = bytearray(image().data)
    data[at] ^= 1 << bit
    found, _ = verify_signature(dataclasses.replace(image(), data=bytes(data)))
    assert found == [f"1 pages differ from their sha256 hash: {at // 4096}"]


def test_a_byte_changed_in_a_file_is_found_when_it_is_read_again() -> None:
    text = image().section("__text")
    assert text is not None
    data = patched(stored("library"), text.offset + 8, b"\x1f\x20\x03\xd5")
    assert "1 pages differ from their sha256 hash: 0" in problems(data)


def test_bytes_after_the_signature_are_found() -> None:
    assert "4 bytes after the signature are unsigned" in problems(stored("library") + b"more")


def test_an_unsigned_file_fails() -> None:
    unsigned = dataclasses.replace(image(), signature=None)
    result = check_signatures([unsigned]).result()
    assert result.status == "failed"
    assert "Apple silicon loads no unsigned code" in result.summary


@pytest.mark.parametrize("size", [0, 10, 100])
def test_a_truncated_signature_fails(size: int) -> None:
    start, _ = image().signature or (0, 0)
    cut = dataclasses.replace(image(), signature=(start, size), data=image().data[: start + size])
    found, _ = verify_signature(cut)
    assert found[0].startswith("the signature cannot be read")


def test_a_signature_outside_the_file_fails() -> None:
    at = command(stored("library"), CODE_SIGNATURE)
    start, size = image().signature or (0, 0)
    with_longer = patched(stored("library"), at + 12, struct.pack("<I", size + 16))
    assert read_image(stored("library"), "x").signature == (start, size)
    assert "outside the file" in problems(with_longer)


def test_legacy_and_modern_directories_are_both_recomputed() -> None:
    code = bytes(range(256)) * 100
    both = {0: directory(code, algorithm="sha1"), 0x1000: directory(code)}
    found, facts = verify_signature(signed(code, both))
    assert found == []
    assert [entry["algorithm"] for entry in facts["directories"]] == ["sha1", "sha256"]
    changed = signed(code, both)
    changed = dataclasses.replace(changed, data=b"\xff" + changed.data[1:])
    assert len(verify_signature(changed)[0]) == 2


def test_sha1_alone_is_not_enough() -> None:
    code = bytes(5000)[:4992]
    found, _ = verify_signature(signed(code, {0: directory(code, algorithm="sha1")}))
    assert found == ["no CodeDirectory uses SHA-256"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"flags": 0}, "is not marked ad hoc"),
        ({"limit": 4096}, "covers 4096 bytes instead of all 8192"),
        ({"identifier": b""}, "has no identifier"),
        (
            {"special": {2: b"x" * 32}},
            "hash of requirements, which is missing",
        ),
        ({"special": {1: b"x" * 32}}, "Info.plist, which a bare dylib has not"),
    ],
)
def test_what_a_directory_must_say(changes: dict[str, object], said: str) -> None:
    code = bytes(8192)
    found, _ = verify_signature(signed(code, {0: directory(code, **changes)}))
    assert said in "; ".join(found)


@pytest.mark.parametrize(("base", "length", "right"), [(0, 1, True), (0, 2, False), (1, 1, False)])
def test_the_executable_segment(base: int, length: int, right: bool) -> None:
    text = image().segments[0]
    start, _ = image().signature or (0, 0)
    at = start + image().data[start:].index(struct.pack(">2Q", text.offset, text.file_size))
    named = struct.pack(">2Q", base * 4096, length * text.file_size)
    found, _ = verify_signature(dataclasses.replace(image(), data=patched(image().data, at, named)))
    assert found == ([] if right else ["the sha256 directory names another executable segment "
                                       "than __TEXT"])  # fmt: skip


def test_special_slots_are_recomputed() -> None:
    code = bytes(8192)
    right = directory(code, special={2: hashlib.sha256(REQUIREMENTS).digest()})
    assert verify_signature(signed(code, {0: right, 2: REQUIREMENTS}))[0] == []
    wrong = directory(code, special={2: hashlib.sha256(b"").digest()})
    found, _ = verify_signature(signed(code, {0: wrong, 2: REQUIREMENTS}))
    assert "differ from their hash" in found[0]
    found, _ = verify_signature(signed(code, {0: directory(code), 2: REQUIREMENTS}))
    assert "does not cover the requirements" in found[0]


@given(blob=st.binary(max_size=200))
def test_no_bytes_crash_the_reader(blob: bytes) -> None:
    code = bytes(4096)
    broken = dataclasses.replace(
        image(), data=code + blob, signature=(len(code), len(blob)), segments=()
    )
    found, _ = verify_signature(broken)
    assert found
    head = struct.pack(">3I", 0xFADE0CC0, len(blob) + 12, 3)
    with contextlib.suppress(BadSignature, struct.error):
        read_superblob(head + blob)
