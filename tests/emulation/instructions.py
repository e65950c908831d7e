"""Which families of instructions ran, from the code that the emulator translated.

QEMU's log ``in_asm`` lists every instruction of each piece of code before it runs for the first
time: an address, the instruction word, a disassembly. The words are matched here by the encodings
of the "Arm Architecture Reference Manual for A-profile" (DDI 0487, C7.2), so that a disassembler
that lacks a family does not matter. Each of the patterns is (mask, value).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

FAMILIES: Mapping[str, tuple[tuple[int, int], ...]] = {
    # by vector; by element
    "sdot": ((0xBFE0FC00, 0x0E809400), (0xBFC0F400, 0x0F80E000)),
    "udot": ((0xBFE0FC00, 0x2E809400), (0xBFC0F400, 0x2F80E000)),
    "smmla": ((0xFFE0FC00, 0x4E80A400),),
    "ummla": ((0xFFE0FC00, 0x6E80A400),),
    "usmmla": ((0xFFE0FC00, 0x4E80AC00),),
    "bfmmla": ((0xFFE0FC00, 0x6E40EC00),),
    "fmla.4s": ((0xFFE0FC00, 0x4E20CC00), (0xFFC0F400, 0x4F801000)),
    "fmla.8h": ((0xFFE0FC00, 0x4E400C00), (0xFFC0F400, 0x4F001000)),
}
_LINE = re.compile(rb"0x[0-9a-f]+:\s+([0-9a-f]{8})\s")


def family_of(word: int) -> str | None:
    """Return the family of one instruction word, or None."""
    for name, patterns in FAMILIES.items():
        if any(word & mask == value for mask, value in patterns):
            return name
    return None


def count(lines: Iterable[bytes]) -> dict[str, int]:
    """Count translated instructions by family; every family is a key."""
    words: Counter[int] = Counter()
    for line in lines:
        if match := _LINE.match(line):
            words[int(match[1], 16)] += 1
    found = dict.fromkeys(FAMILIES, 0)
    for word, times in words.items():
        if name := family_of(word):
            found[name] += times
    return found


def read_trace(path: Path) -> dict[str, int]:
    """Count the families of a log; a log that is not there counts nothing."""
    if not path.exists():
        return dict.fromkeys(FAMILIES, 0)
    with path.open("rb") as stream:
        return count(stream)
