"""The embedded code signature, read and recomputed.

Layout after ``osfmk/kern/cs_blobs.h`` of Apple's xnu (big-endian): a SuperBlob (magic 0xFADE0CC0)
indexes blobs by slot; slot 0 and 0x1000 to 0x1004 hold CodeDirectories (0xFADE0C02). A directory
holds one hash per page of the file up to its code limit, and "special" slots with negative
numbers for other blobs. An ad-hoc signature has no certificate: it proves that no byte changed
since signing, and nothing about who signed. Apple silicon refuses to load unsigned code.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..policy.findings import Outcome
from .image import Image

CHECK = "macho.signature"
SUPERBLOB, DIRECTORY = 0xFADE0CC0, 0xFADE0C02
ADHOC = 0x2
_HASHES = {1: ("sha1", 20), 2: ("sha256", 32), 3: ("sha256", 20), 4: ("sha384", 48)}
_SPECIAL = {
    1: "Info.plist",
    2: "requirements",
    3: "resources",
    4: "application",
    5: "entitlements",
    7: "entitlements (DER)",
}
_FIXED = struct.Struct(">9I4BI")
_MOST_TOLD = 5


@dataclass(frozen=True, kw_only=True)
class Directory:
    """A CodeDirectory as the file has it; hashes as bytes, pages in bytes."""

    slot: int
    version: int
    flags: int
    identifier: str
    algorithm: str
    page: int
    limit: int
    hashes: tuple[bytes, ...]
    special: dict[int, bytes]
    text: tuple[int, int] | None


class BadSignature(ValueError):
    """A signature that does not hold together."""


def check_signatures(images: Sequence[Image]) -> Outcome:
    """Recompute the signature of every image."""
    files: dict[str, Any] = {}
    found = Outcome(check=CHECK, evidence={"files": files})
    for image in images:
        problems, files[image.name] = verify_signature(image)
        found.add_problems(image.name, problems)
    pages = sum(facts.get("pages", 0) for facts in files.values())
    return replace(
        found, compared=f"{pages} page hashes of {len(images)} files recomputed, signed ad hoc"
    )


def verify_signature(image: Image) -> tuple[list[str], dict[str, Any]]:
    """Return what is wrong with an image's signature, and the facts about it."""
    if image.signature is None:
        return ["it is not signed, and Apple silicon loads no unsigned code"], {}
    start, size = image.signature
    if start + size > len(image.data):
        return ["the signature lies outside the file"], {}
    blob = image.data[start : start + size]
    try:
        slots = superblob(blob)
        directories = [
            directory(slot, content)
            for slot, content in slots.items()
            if slot == 0 or 0x1000 <= slot <= 0x1004
        ]
    except (struct.error, ValueError) as error:
        return [f"the signature cannot be read: {error}"], {}
    if not any(entry.slot == 0 for entry in directories):
        return ["the signature holds no CodeDirectory"], {}
    problems = _around(image, start, size)
    for entry in directories:
        problems += _directory_problems(image, entry, slots, start)
    if not any(entry.algorithm == "sha256" for entry in directories):
        problems.append("no CodeDirectory uses SHA-256")
    facts = {
        "directories": [
            {
                "slot": entry.slot,
                "algorithm": entry.algorithm,
                "identifier": entry.identifier,
                "flags": f"{entry.flags:#x}",
                "version": f"{entry.version:#x}",
                "page_size": entry.page,
                "pages": len(entry.hashes),
                "code_limit": entry.limit,
                "special_slots": sorted(entry.special),
            }
            for entry in directories
        ],
        "pages": sum(len(entry.hashes) for entry in directories),
        "offset": start,
        "size": size,
    }
    return problems, facts


def superblob(blob: bytes) -> dict[int, bytes]:
    """Return the blobs of an embedded signature by slot, headers included.

    Raises
    ------
    BadSignature, struct.error
        When it is not one, or a blob lies outside it.
    """
    magic, length, count = struct.unpack_from(">3I", blob)
    if magic != SUPERBLOB:
        raise BadSignature(f"it starts with {magic:#010x} instead of {SUPERBLOB:#010x}")
    if length > len(blob):
        raise BadSignature("it is longer than its load command says")
    if any(blob[length:]):
        raise BadSignature("other bytes than zeros follow inside its space")
    found = {}
    for number in range(count):
        slot, offset = struct.unpack_from(">2I", blob, 12 + 8 * number)
        (size,) = struct.unpack_from(">I", blob, offset + 4)
        if offset + size > length:
            raise BadSignature(f"the blob of slot {slot:#x} lies outside it")
        if slot in found:
            raise BadSignature(f"slot {slot:#x} occurs twice")
        found[slot] = blob[offset : offset + size]
    return found


def directory(slot: int, blob: bytes) -> Directory:
    """Read one CodeDirectory.

    Raises
    ------
    BadSignature, struct.error
        When it is not one, or its tables lie outside it.
    """
    fields = _FIXED.unpack_from(blob)
    magic, length, version, flags, hashes_at, name_at, special_count, count, limit = fields[:9]
    size, kind, _, page_bits, _ = fields[9:]
    if magic != DIRECTORY or length != len(blob):
        raise BadSignature(f"slot {slot:#x} holds no CodeDirectory")
    if kind not in _HASHES or _HASHES[kind][1] != size:
        raise BadSignature(f"hash type {kind} with {size} bytes is unknown")
    if version >= 0x20300:
        (wide,) = struct.unpack_from(">Q", blob, 56)
        limit = wide or limit
    text = None
    if version >= 0x20400:
        base, extent = struct.unpack_from(">2Q", blob, 64)
        text = (base, extent)
    if hashes_at < special_count * size or hashes_at + count * size > len(blob):
        raise BadSignature("its hashes lie outside the CodeDirectory")
    return Directory(
        slot=slot,
        version=version,
        flags=flags,
        identifier=blob[name_at : blob.index(b"\0", name_at)].decode("utf-8"),
        algorithm=_HASHES[kind][0],
        page=1 << page_bits if page_bits else limit,
        limit=limit,
        hashes=tuple(
            blob[hashes_at + number * size : hashes_at + (number + 1) * size]
            for number in range(count)
        ),
        special={
            number: blob[hashes_at - number * size : hashes_at - (number - 1) * size]
            for number in range(1, special_count + 1)
        },
        text=text,
    )


def page_hash(data: bytes, algorithm: str, size: int) -> bytes:
    """Return the hash of a page, cut to the directory's hash size."""
    return hashlib.new(algorithm, data, usedforsecurity=False).digest()[:size]


def _around(image: Image, start: int, size: int) -> list[str]:
    problems = []
    if start % 16:
        problems.append("the signature does not start at a multiple of 16")
    if start + size != len(image.data):
        problems.append(f"{len(image.data) - start - size} bytes after the signature are unsigned")
    last = image.segments[-1] if image.segments else None
    if last is None or last.name != "__LINKEDIT" or last.offset + last.file_size != start + size:
        problems.append("the signature is not the end of __LINKEDIT")
    return problems


def _directory_problems(
    image: Image, entry: Directory, slots: dict[int, bytes], start: int
) -> list[str]:
    problems = []
    where = f"the {entry.algorithm} directory"
    if not entry.flags & ADHOC:
        problems.append(f"{where} is not marked ad hoc (flags {entry.flags:#x})")
    if not entry.identifier:
        problems.append(f"{where} has no identifier")
    if entry.limit != start:
        problems.append(f"{where} covers {entry.limit} bytes instead of all {start} before it")
    text = next((segment for segment in image.segments if segment.name == "__TEXT"), None)
    if entry.text is not None and text:
        # Apple's linker of 2023 and later writes a length that ends with the code.
        base, length = entry.text
        if base != text.offset or not 0 < length <= text.file_size:
            problems.append(f"{where} names another executable segment than __TEXT")
    wanted = -(-entry.limit // entry.page) if entry.page else 0
    if len(entry.hashes) != wanted:
        problems.append(f"{where} holds {len(entry.hashes)} hashes for {wanted} pages")
    covered = image.data[: min(entry.limit, len(image.data))]
    wrong = [
        number
        for number, stored in enumerate(entry.hashes)
        if page_hash(
            covered[number * entry.page : (number + 1) * entry.page], entry.algorithm, len(stored)
        )
        != stored
    ]
    if wrong:
        listed = ", ".join(str(number) for number in wrong[:_MOST_TOLD])
        problems.append(f"{len(wrong)} pages differ from their {entry.algorithm} hash: {listed}")
    for number, stored in entry.special.items():
        name = _SPECIAL.get(number, f"slot {number}")
        if number in (1, 3):
            if any(stored):
                problems.append(f"{where} names a hash of {name}, which a bare dylib has not")
            continue
        content = slots.get(number)
        if content is None:
            if any(stored):
                problems.append(f"{where} names a hash of {name}, which is missing")
        elif page_hash(content, entry.algorithm, len(stored)) != stored:
            problems.append(f"{where}: the {name} differ from their hash")
    for number in slots:
        if 0 < number < 0x1000 and number not in entry.special:
            name = _SPECIAL.get(number, f"slot {number}")
            problems.append(f"{where} does not cover the {name}")
    return problems
