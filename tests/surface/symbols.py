"""Read symbols and selectors out of Mach-O objects and libraries (arm64, little-endian).

The layout is that of Apple's open ``mach-o/loader.h``, ``mach-o/nlist.h`` and ``mach-o/fat.h``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from build.errors import WheelError

_MAGIC_64 = 0xFEEDFACF
_FAT, _FAT_64 = 0xCAFEBABE, 0xCAFEBABF
_ARM64 = 0x0100000C
_SEGMENT_64, _SYMTAB, _BUILD_VERSION = 0x19, 0x2, 0x32
# LC_LOAD_DYLIB, LC_LOAD_WEAK_DYLIB, LC_REEXPORT_DYLIB, LC_LOAD_UPWARD_DYLIB.
_DYLIBS = (0xC, 0x80000018, 0x8000001F, 0x80000023)
_STAB, _TYPE, _EXTERNAL = 0xE0, 0x0E, 0x01
FLAT = "flat look-up"


@dataclass(frozen=True, kw_only=True)
class MachSymbols:
    """What a Mach-O file refers to.

    Attributes
    ----------
    undefined : dict[str, str]
        Symbols that it wants, with the library that each is bound to; "" in an object file,
        :data:`FLAT` where any library may supply it.
    defined : frozenset[str]
        External symbols that it supplies.
    selectors : frozenset[str]
        The contents of ``__objc_methname``.
    minimum : str
        The oldest system that it says it runs on, or "".
    """

    undefined: dict[str, str] = field(default_factory=dict)
    defined: frozenset[str] = frozenset()
    selectors: frozenset[str] = frozenset()
    minimum: str = ""


def read_symbols(data: bytes, name: str) -> MachSymbols:
    """Return the symbols of an object or library, of its arm64 part if it has several.

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        What messages call it.

    Raises
    ------
    WheelError
        It is no Mach-O file for arm64, or it is cut short.
    """
    try:
        return _read(_arm64_part(data, name), name)
    except (struct.error, ValueError) as error:
        raise WheelError(
            f"{name} is a broken Mach-O file: {error}", hint="build it anew"
        ) from error


def read_file(path: Path) -> MachSymbols:
    """Return the symbols of a file; see :func:`read_symbols`."""
    return read_symbols(path.read_bytes(), path.name)


def _arm64_part(data: bytes, name: str) -> bytes:
    magic = struct.unpack_from(">I", data)[0]
    if magic in (_FAT, _FAT_64):
        layout = ">iiIII" if magic == _FAT else ">iiQQII"
        for number in range(struct.unpack_from(">I", data, 4)[0]):
            words = struct.unpack_from(layout, data, 8 + number * struct.calcsize(layout))
            if words[0] == _ARM64:
                return data[words[2] : words[2] + words[3]]
    elif struct.unpack_from("<Ii", data) == (_MAGIC_64, _ARM64):
        return data
    raise WheelError(f"{name} holds no Mach-O code for arm64", hint="is it built for macOS?")


def _commands(data: bytes) -> Iterator[tuple[int, int]]:
    place = 32
    for _ in range(struct.unpack_from("<I", data, 16)[0]):
        command, size = struct.unpack_from("<II", data, place)
        yield command, place
        place += size


def _string(data: bytes, place: int) -> str:
    return data[place : data.index(b"\0", place)].decode()


def _read(data: bytes, name: str) -> MachSymbols:
    libraries: list[str] = []
    table, selectors, minimum = None, frozenset[str](), ""
    for command, place in _commands(data):
        if command in _DYLIBS:
            offset = struct.unpack_from("<I", data, place + 8)[0]
            libraries.append(_string(data, place + offset))
        elif command == _SYMTAB:
            table = struct.unpack_from("<4I", data, place + 8)
        elif command == _SEGMENT_64:
            selectors |= _selectors(data, place)
        elif command == _BUILD_VERSION:
            packed = struct.unpack_from("<I", data, place + 12)[0]
            minimum = f"{packed >> 16}.{packed >> 8 & 255}"
    undefined, defined = {}, set()
    if table is None:
        return MachSymbols(selectors=selectors, minimum=minimum)
    for number in range(table[1]):
        text, kind, _, description, _ = struct.unpack_from("<IBBHQ", data, table[0] + 16 * number)
        if kind & _STAB or not kind & _EXTERNAL:
            continue
        symbol = _string(data, table[2] + text)
        if kind & _TYPE:
            defined.add(symbol)
        else:
            undefined[symbol] = _library(libraries, description >> 8)
    return MachSymbols(
        undefined=undefined, defined=frozenset(defined), selectors=selectors, minimum=minimum
    )


def _library(libraries: list[str], ordinal: int) -> str:
    if not libraries:
        return ""
    return libraries[ordinal - 1] if 1 <= ordinal <= len(libraries) else FLAT


def _selectors(data: bytes, place: int) -> frozenset[str]:
    found: set[str] = set()
    for number in range(struct.unpack_from("<I", data, place + 64)[0]):
        start = place + 72 + 80 * number
        if data[start : start + 16].rstrip(b"\0") == b"__objc_methname":
            size, offset = struct.unpack_from("<QI", data, start + 40)
            found |= {each.decode() for each in data[offset : offset + size].split(b"\0") if each}
    return frozenset(found)
