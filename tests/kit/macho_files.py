"""Small Mach-O files, written byte by byte after Apple's ``mach-o/loader.h``.

``macho()`` alone gives a sound library for arm64 and macOS 13.3, signed ad hoc; every argument
spoils or changes one thing.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence

ARM64, X86_64 = 0x0100000C, 0x01000007
TEXT_SIZE = 0x1000
SYSTEM = ("/usr/lib/libc++.1.dylib", "/usr/lib/libSystem.B.dylib")
DYNAMIC = 0xFE
TWO_LEVEL = 0x80


def uleb(value: int, width: int = 1) -> bytes:
    """Return a number in ULEB128, padded to at least ``width`` bytes."""
    out = []
    while value or len(out) < width:
        out.append(value & 0x7F)
        value >>= 7
    return bytes([*(byte | 0x80 for byte in out[:-1]), out[-1]])


def export_trie(names: Iterable[str]) -> bytes:
    """Return an export trie with one byte on each edge."""
    nodes: list[dict[int, int]] = [{}]
    ends: dict[int, bool] = {}
    for name in names:
        at = 0
        for byte in name.encode():
            if byte not in nodes[at]:
                nodes.append({})
                nodes[at][byte] = len(nodes) - 1
            at = nodes[at][byte]
        ends[at] = True

    def body(number: int, offsets: Sequence[int]) -> bytes:
        head = b"\x02\x00\x10" if ends.get(number) else b"\x00"
        edges = b"".join(
            bytes([byte, 0]) + uleb(offsets[child], 4) for byte, child in nodes[number].items()
        )
        return head + bytes([len(nodes[number])]) + edges

    sizes = [len(body(number, [0] * len(nodes))) for number in range(len(nodes))]
    offsets = [sum(sizes[:number]) for number in range(len(nodes))]
    return b"".join(body(number, offsets) for number in range(len(nodes)))


def packed(version: str) -> int:
    numbers = [*(int(part) for part in version.split(".")), 0, 0]
    return numbers[0] << 16 | numbers[1] << 8 | numbers[2]


def command(number: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 8)
    return struct.pack("<2I", number, 8 + len(body)) + body


def text_command(number: int, text: str, *between: int) -> bytes:
    head = struct.pack(f"<{1 + len(between)}I", 12 + 4 * len(between), *between)
    return command(number, head + text.encode() + b"\0")


def segment(
    name: str, offset: int, size: int, most: int, first: int, sections: Sequence[bytes] = ()
) -> bytes:
    place = (offset, size, offset, size)
    head = struct.pack("<16s4Q4I", name.encode(), *place, most, first, len(sections), 0)
    return command(0x19, head + b"".join(sections))


def section(name: str, segment: str, offset: int, size: int) -> bytes:
    return struct.pack(
        "<16s16s2Q8I", name.encode(), segment.encode(), offset, size, offset, *[0] * 7
    )


def directory(
    covered: bytes,
    *,
    algorithm: str = "sha256",
    flags: int = 0x20002,
    limit: int | None = None,
    identifier: bytes = b"lib",
    special: Mapping[int, bytes] | None = None,
    page_bits: int = 12,
    text: tuple[int, int] = (0, 0),
) -> bytes:
    """Return a CodeDirectory of version 0x20400; ``text`` is offset and size of ``__TEXT``."""
    size, kind = {"sha1": (20, 1), "sha256": (32, 2)}[algorithm]
    limit = len(covered) if limit is None else limit
    page = 1 << page_bits
    hashes = [
        hashlib.new(algorithm, covered[at : min(at + page, limit)], usedforsecurity=False).digest()
        for at in range(0, limit, page)
    ]
    special = special or {}
    count = max(special, default=0)
    before = [special.get(number, bytes(size)) for number in range(count, 0, -1)]
    named = 88
    first = named + len(identifier) + 1 + count * size
    total = first + len(hashes) * size
    fixed = struct.pack(
        *(">9I4BI", 0xFADE0C02, total, 0x20400, flags, first, named, count, len(hashes), limit),
        *(size, kind, 0, page_bits, 0),
    )
    more = struct.pack(">3IQ3Q", 0, 0, 0, 0, *text, 1)
    return fixed + more + identifier + b"\0" + b"".join([*before, *hashes])


def superblob(blobs: Mapping[int, bytes]) -> bytes:
    """Return an embedded signature with these blobs by slot."""
    at = 12 + 8 * len(blobs)
    index, content = b"", b""
    for slot, blob in blobs.items():
        index += struct.pack(">2I", slot, at + len(content))
        content += blob
    return struct.pack(">3I", 0xFADE0CC0, at + len(content), len(blobs)) + index + content


def macho(
    *,
    cpu: int = ARM64,
    subtype: int = 0,
    filetype: int = 6,
    flags: int = TWO_LEVEL,
    platform: int | None = 1,
    minos: str = "13.3",
    install_name: str = "@rpath/libtiny.dylib",
    dependencies: Sequence[str] = SYSTEM,
    weak: Sequence[str] = (),
    rpaths: Sequence[str] = ("@loader_path",),
    exports: Sequence[str] = ("_tiny", "_tiny_more"),
    trie: bytes | None = None,
    selectors: Sequence[str] = (),
    undefined: Mapping[str, int] | None = None,
    local: int = 0,
    text_protection: tuple[int, int] = (5, 5),
    fixups: str = "dyld-info",
    function_starts: bool = True,
    uuid: bool = True,
    signed: bool = True,
    signature_flags: int = 0x20002,
    page_bits: int = 12,
    tail: bytes = b"",
    content: bytes = b"",
) -> bytes:
    """Return a library.

    ``content`` is at the end of ``__TEXT``, before the names of ``selectors``; ``undefined`` has
    the number of each symbol's library, from 1; ``trie`` replaces the trie of ``exports``.
    """
    wanted = {"___stack_chk_fail": 2, "_malloc": 2} if undefined is None else undefined
    strings, symbols = b"\0", b""

    def symbol(name: str, kind: int, section: int, description: int, value: int) -> None:
        nonlocal strings, symbols
        symbols += struct.pack("<IBBHQ", len(strings), kind, section, description, value)
        strings += name.encode() + b"\0"

    for number in range(local):
        symbol(f"_local{number}", 0x0E, 1, 0, 0x100)
    for name in exports:
        symbol(name, 0x0F, 1, 0, 0x200)
    for name, library in wanted.items():
        symbol(name, 0x01, 0, library << 8, 0)
    table = b""

    def linkedit(data: bytes) -> tuple[int, int]:
        nonlocal table
        table += bytes(-len(table) % 8)
        where = TEXT_SIZE + len(table)
        table += data
        return where, len(data)

    exported = linkedit(export_trie(exports) if trie is None else trie)
    at_symbols, _ = linkedit(symbols)
    at_strings, _ = linkedit(strings)
    starts = linkedit(uleb(0x200) + b"\0" if function_starts else b"")
    table += bytes(-len(table) % 16)
    end = TEXT_SIZE + len(table)
    identifier = install_name.rpartition("/")[2] or "tiny"

    def signature(covered: bytes) -> bytes:
        inner = directory(
            covered,
            flags=signature_flags,
            identifier=identifier.encode(),
            special={1: bytes(32)},
            page_bits=page_bits,
            text=(0, TEXT_SIZE),
        )
        return superblob({0: inner})

    # The size of a signature does not depend on what it covers, only on how much.
    size = len(signature(bytes(end))) if signed else 0
    names = b"".join(each.encode() + b"\0" for each in selectors)
    sections = [section("__objc_methname", "__TEXT", TEXT_SIZE - len(names), len(names))]
    commands = [
        segment("__TEXT", 0, TEXT_SIZE, *text_protection, sections if names else ()),
        segment("__LINKEDIT", TEXT_SIZE, len(table) + size, 1, 1),
        command(0x02, struct.pack("<4I", at_symbols, len(symbols) // 16, at_strings, len(strings))),
        command(0x26, struct.pack("<2I", *starts)),
    ]
    if fixups == "dyld-info":
        commands.append(command(0x80000022, struct.pack("<10I", *[0] * 8, *exported)))
    elif fixups == "chained":
        commands += [
            command(0x80000034, struct.pack("<2I", exported[0], 0)),
            command(0x80000033, struct.pack("<2I", *exported)),
        ]
    if filetype == 6:
        commands.append(text_command(0x0D, install_name, 1, 0x10000, 0x10000))
    commands += [text_command(0x0C, name, 2, 0x10000, 0x10000) for name in dependencies]
    commands += [text_command(0x80000018, name, 2, 0x10000, 0x10000) for name in weak]
    commands += [text_command(0x8000001C, path) for path in rpaths]
    if platform is not None:
        commands.append(
            command(0x32, struct.pack("<4I", platform, packed(minos), packed("14.2"), 0))
        )
    if uuid:
        commands.append(command(0x1B, bytes(range(16))))
    if signed:
        commands.append(command(0x1D, struct.pack("<2I", end, size)))
    joined = b"".join(commands)
    head = struct.pack(
        "<8I", 0xFEEDFACF, cpu, subtype, filetype, len(commands), len(joined), flags, 0
    )
    text, content = head + joined, content + names
    assert len(text) + len(content) <= TEXT_SIZE, "the fixture's commands outgrew its __TEXT"
    text += bytes(TEXT_SIZE - len(text) - len(content)) + content
    covered = text + table
    if signed:
        covered += signature(covered)
    return covered + tail


def universal(*slices: bytes) -> bytes:
    """Return a universal file of thin ones, each at a multiple of 16 KiB."""
    head = struct.pack(">2I", 0xCAFEBABE, len(slices))
    body = b""
    start = 1 << 14
    for each in slices:
        cpu, subtype = struct.unpack_from("<2I", each, 4)
        body += bytes(-len(body) % start)
        head += struct.pack(">5I", cpu, subtype, start + len(body), len(each), 14)
        body += each
    return head + bytes(start - len(head)) + body
