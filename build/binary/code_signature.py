"""The code signature inside a Mach-O file, read and recomputed.

Layout after ``osfmk/kern/cs_blobs.h`` of Apple's xnu, all big-endian: a SuperBlob lists blobs by
slot; a CodeDirectory holds one hash for each page before the signature. An ad-hoc signature names
no signer: it proves that no byte has changed since the file was linked, and without it no Mac with
Apple silicon loads the file. A file that is changed after linking must be signed again.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

_SUPERBLOB, _DIRECTORY = 0xFADE0CC0, 0xFADE0C02
_AD_HOC = 0x2
_SHA256, _SHA256_SIZE = 2, 32
_WITH_SEGMENT = 0x20400
_ALTERNATES = range(0x1000, 0x1005)
# magic, length, version, flags, first hash, identifier, special slots, code slots, code limit,
# hash size, hash type, platform, page size (log2), spare.
_FIXED = struct.Struct(">9I4BI")


@dataclass(frozen=True, kw_only=True)
class CodeSignature:
    """A signature and what is wrong with it.

    ``cdhash`` tells signatures apart: the SHA-256 of the list of hashes itself (``codesign -dvvv``
    prints its first 40 digits). ``problems`` is empty where all of it fits.
    """

    ad_hoc: bool = False
    cdhash: str = ""
    problems: tuple[str, ...] = ()


class _Broken(ValueError):
    """The signature's own tables do not fit together."""


def _blobs(blob: bytes) -> dict[int, bytes]:
    magic, length, count = struct.unpack_from(">3I", blob)
    if magic != _SUPERBLOB or length > len(blob):
        raise _Broken("it does not begin as a signature of its size")
    found = {}
    for number in range(count):
        slot, at = struct.unpack_from(">2I", blob, 12 + 8 * number)
        (size,) = struct.unpack_from(">I", blob, at + 4)
        if at + size > length:
            raise _Broken(f"its part {slot:#x} lies outside it")
        found[slot] = blob[at : at + size]
    return found


def _changed_pages(data: bytes, limit: int, page: int, hashes: bytes) -> list[int]:
    covered = memoryview(data)[:limit]
    return [
        number
        for number, at in enumerate(range(0, limit, page))
        if hashlib.sha256(covered[at : at + page]).digest()
        != hashes[number * _SHA256_SIZE : (number + 1) * _SHA256_SIZE]
    ]


def _judge(data: bytes, start: int, size: int, text: tuple[int, int]) -> CodeSignature:
    blobs = _blobs(data[start : start + size])
    directory = blobs.get(0)
    if directory is None:
        raise _Broken("it has no list of hashes")
    fields = _FIXED.unpack_from(directory)
    magic, length, version, flags, first, name, special, count, limit = fields[:9]
    hash_size, hash_type, _, page_bits, _ = fields[9:]
    if magic != _DIRECTORY or length != len(directory):
        raise _Broken("its list of hashes does not begin as one")
    if (hash_type, hash_size) != (_SHA256, _SHA256_SIZE):
        raise _Broken(f"its hashes are of type {hash_type} and not SHA-256")
    cut = first + count * hash_size > length or 0 not in directory[name:]
    if special * hash_size > first or cut:
        raise _Broken("its list of hashes is cut off")
    problems = []
    if start + size != len(data):
        problems.append(f"{len(data) - start - size} bytes follow it")
    if limit != start:
        problems.append(f"it covers {limit} bytes and not all {start} before it")
    page = 1 << page_bits if page_bits else max(limit, 1)
    pages = -(-limit // page)
    if limit > len(data) or count != pages:
        raise _Broken(f"it has {count} hashes for {pages} pages")
    changed = _changed_pages(data, limit, page, directory[first : first + count * hash_size])
    if changed:
        problems.append(f"{len(changed)} of {pages} pages have changed, page {changed[0]} first")
    for slot in range(1, special + 1):
        stored = directory[first - slot * hash_size : first - (slot - 1) * hash_size]
        there = hashlib.sha256(blobs[slot]).digest() if slot in blobs else bytes(hash_size)
        if there != stored:
            problems.append(f"its part {slot} has changed")
    if version >= _WITH_SEGMENT and struct.unpack_from(">2Q", directory, 64) != text:
        problems.append("it names another code segment than __TEXT")
    if any(slot in blobs for slot in _ALTERNATES):
        problems.append("it has a second list of hashes, which nothing here has checked")
    return CodeSignature(
        ad_hoc=bool(flags & _AD_HOC),
        cdhash=hashlib.sha256(directory).hexdigest(),
        problems=tuple(problems),
    )


def read_signature(data: bytes, start: int, size: int, *, text: tuple[int, int]) -> CodeSignature:
    """Read a signature and recompute every page hash.

    Parameters
    ----------
    data : bytes
        One architecture's part of a file, from its Mach-O header to its end.
    start, size : int
        Where LC_CODE_SIGNATURE says that the signature is, in bytes.
    text : tuple of int
        Offset and size of ``__TEXT`` in the file, bytes.

    Returns
    -------
    CodeSignature
        One that cannot be read has nothing but a problem.
    """
    if start + size > len(data):
        return CodeSignature(problems=("it lies outside the file",))
    try:
        return _judge(data, start, size, text)
    except (struct.error, ValueError) as error:
        return CodeSignature(problems=(f"it cannot be read: {error}",))
