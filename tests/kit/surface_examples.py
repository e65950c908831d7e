"""Small surfaces and Mach-O files for the tests of ``tests.surface``."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tests.surface.model import Declaration, Surface

HEADER = "Foundation.framework/Headers/NSThing.h"


def declaration(kind: str, member: str, **more: object) -> Declaration:
    """Return a declaration that is in order; a member is named by its owner and itself."""
    owner = str(more.get("owner", ""))
    page = ["Foundation", *([owner] if owner else []), member]
    shown = f"-[{owner} {member}]" if kind == "method" else member
    selectors = (member,) if kind in ("method", "property") else ()
    made = Declaration(
        kind=kind,
        name=shown,
        member=member,
        file=HEADER,
        line=3,
        stated="10.0",
        available="10.0",
        documentation=" > ".join(page),
        selectors=selectors,
    )
    return replace(made, **more)  # type: ignore[arg-type]  # fields by keyword


def surface(*declarations: Declaration) -> Surface:
    """Return a surface whose runtime knows alloc and init."""
    return Surface(declarations=declarations, runtime_selectors=frozenset({"alloc", "init"}))


def mach_o(
    *,
    undefined: Mapping[str, int],
    defined: Sequence[str] = (),
    libraries: Sequence[str] = (),
    selectors: Sequence[str] = (),
    minimum: tuple[int, int] = (13, 3),
) -> bytes:
    """Return a Mach-O file for arm64 with a symbol table and the names of selectors.

    ``undefined`` has the ordinal of the library that each symbol is bound to, from 1.
    """
    names = b"".join(each.encode() + b"\0" for each in selectors)
    strings, table = b"\0", b""
    for symbol, ordinal in undefined.items():
        table += struct.pack("<IBBHQ", len(strings), 0x01, 0, ordinal << 8, 0)
        strings += symbol.encode() + b"\0"
    for symbol in defined:
        table += struct.pack("<IBBHQ", len(strings), 0x0F, 1, 0, 0)
        strings += symbol.encode() + b"\0"
    loads = b""
    for library in libraries:
        text = library.encode() + b"\0"
        text += b"\0" * (-len(text) % 8)
        loads += struct.pack("<IIIIII", 0xC, 24 + len(text), 24, 0, 0, 0) + text
    size = 32 + len(loads) + 152 + 24 + 24
    packed = minimum[0] << 16 | minimum[1] << 8
    commands = loads
    commands += struct.pack("<II16sQQQQiiII", 0x19, 152, b"__TEXT", 0, 0, 0, 0, 0, 0, 1, 0)
    commands += struct.pack(
        "<16s16sQQIIIIIIII", b"__objc_methname", b"__TEXT", 0, len(names), size, 0, 0, 0, 0, 0, 0, 0
    )
    place = size + len(names)
    total = len(undefined) + len(defined)
    commands += struct.pack("<6I", 0x2, 24, place, total, place + len(table), len(strings))
    commands += struct.pack("<6I", 0x32, 24, 1, packed, packed, 0)
    count = len(libraries) + 3
    head = struct.pack("<IiiIIIII", 0xFEEDFACF, 0x0100000C, 0, 6, count, len(commands), 0, 0)
    return head + commands + names + table + strings


def fat(*parts: tuple[int, bytes]) -> bytes:
    """Return a universal file of parts, each with its processor's number."""
    place, entries, body = 8 + 20 * len(parts), b"", b""
    for processor, data in parts:
        entries += struct.pack(">iiIII", processor, 0, place + len(body), len(data), 0)
        body += data
    return struct.pack(">II", 0xCAFEBABE, len(parts)) + entries + body
