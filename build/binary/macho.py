"""What a Mach-O file promises and asks for, read from the file itself.

Read are the header, the load commands, the symbol table and the export trie: what dyld sees. The
layouts are those of ``mach-o/loader.h``, ``mach-o/nlist.h`` and ``mach-o/fat.h`` in Apple's xnu and
cctools. A reader of our own, because it takes milliseconds where general ones take seconds for
each file of this size, and because it must also run where no such library has a wheel.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..errors import WheelError
from .code_signature import CodeSignature, read_signature
from .exports import read_trie

_THIN = b"\xcf\xfa\xed\xfe"
_FAT = {b"\xca\xfe\xba\xbe": ">5I", b"\xca\xfe\xba\xbf": ">2I2Q2I"}
# A Java class file begins as a universal file does; its next number is a version, 45 or more.
_MOST_SLICES = 40
_HEADER = struct.Struct("<8I")
_SEGMENT = struct.Struct("<16s4Q4I")
_SYMBOL = struct.Struct("<IBBHQ")
_CPU = {0x01000007: "x86_64", 0x0100000C: "arm64"}
_ARM64, _ARM64E, _SUBTYPE_MASK = 0x0100000C, 2, 0x00FFFFFF
_FILE_TYPES = {1: "object", 2: "executable", 6: "dylib", 8: "bundle"}
_PLATFORMS = {1: "macOS", 2: "iOS", 3: "tvOS", 4: "watchOS", 6: "Mac Catalyst", 11: "visionOS"}
_TWO_LEVEL, _STACK_EXECUTION = 0x80, 0x20000
_LOADS = {0x0C, 0x80000018, 0x8000001F, 0x20, 0x80000023}
_ID, _RPATH, _UUID, _SEGMENT_64 = 0x0D, 0x8000001C, 0x1B, 0x19
_SYMTAB, _SIGNATURE, _FUNCTION_STARTS = 0x02, 0x1D, 0x26
_BUILD_VERSION, _MIN_MACOS = 0x32, 0x24
_DYLD_INFO, _DYLD_INFO_ONLY, _TRIE, _CHAINED = 0x22, 0x80000022, 0x80000033, 0x80000034
_STAB, _PRIVATE, _KIND, _EXTERNAL = 0xE0, 0x10, 0x0E, 0x01
# N_OPT: what Apple's strip leaves behind as its own mark.
_STRIPPED_MARK = 0x3C
_DYNAMIC_LOOKUP = 0xFE
_WRITE, _EXECUTE = 0x2, 0x4
_FORTIFIED = re.compile(r"___\w+_chk")

Fixups = Literal["chained", "dyld-info", "none"]


@dataclass(frozen=True, kw_only=True)
class MachoFacts:
    """Facts of one architecture of a Mach-O file.

    ``architectures`` are those of the whole file. Versions are text such as ``13.3``, empty where
    the file says none. ``dependencies`` are install names, weak and re-exported ones included.
    ``flat_lookups`` are the undefined symbols that dyld looks for in every image instead of one
    named library. ``writable_code`` names segments that may be written and executed.
    ``local_symbols`` counts what stripping would remove, debugging entries included.
    ``signature`` is None for an unsigned file.
    """

    architectures: tuple[str, ...]
    filetype: str
    platform: str
    minos: str
    sdk: str
    install_name: str
    dependencies: tuple[str, ...]
    rpaths: tuple[str, ...]
    exports: frozenset[str] = field(repr=False)
    flat_lookups: tuple[str, ...] = field(repr=False)
    two_level: bool
    local_symbols: int
    has_stack_protector: bool
    fortified_symbols: tuple[str, ...]
    fixups: Fixups
    function_starts: bool
    executable_stack: bool
    writable_code: tuple[str, ...]
    uuid: str
    signature: CodeSignature | None

    @property
    def exports_count(self) -> int:
        """How many symbols dyld can find in the file."""
        return len(self.exports)

    @property
    def stripped(self) -> bool:
        """Whether nothing is left in the symbol table that dyld has no use for."""
        return self.local_symbols == 0


class _Damaged(ValueError):
    """The bytes contradict the format."""


def is_macho(content: bytes) -> bool:
    """Return whether a file begins as a 64-bit Mach-O file or a universal one does."""
    if content[:4] in _FAT:
        return len(content) >= 8 and struct.unpack_from(">I", content, 4)[0] < _MOST_SLICES
    return content.startswith(_THIN)


def _cpu(cpu: int, subtype: int) -> str:
    if cpu == _ARM64 and subtype & _SUBTYPE_MASK == _ARM64E:
        return "arm64e"
    return _CPU.get(cpu, f"cpu-{cpu:#x}")


def _slices(content: bytes) -> dict[str, bytes]:
    if content.startswith(_THIN):
        _, cpu, subtype, *_ = _HEADER.unpack_from(content)
        return {_cpu(cpu, subtype): content}
    if not is_macho(content):
        raise _Damaged("it does not begin as one")
    layout = struct.Struct(_FAT[content[:4]])
    found = {}
    for number in range(struct.unpack_from(">I", content, 4)[0]):
        cpu, subtype, offset, size, *_ = layout.unpack_from(content, 8 + number * layout.size)
        if offset + size > len(content):
            raise _Damaged(f"its part for {_cpu(cpu, subtype)} lies outside the file")
        found[_cpu(cpu, subtype)] = content[offset : offset + size]
    return found


def _commands(data: bytes) -> Iterator[tuple[int, bytes]]:
    _, _, _, _, count, size, _, _ = _HEADER.unpack_from(data)
    end = _HEADER.size + size
    if end > len(data):
        raise _Damaged("its load commands lie outside the file")
    at = _HEADER.size
    for _ in range(count):
        command, length = struct.unpack_from("<2I", data, at)
        if length < 8 or at + length > end:
            raise _Damaged(f"the load command at byte {at} does not fit")
        yield command, data[at : at + length]
        at += length


def _part(data: bytes, offset: int, size: int) -> bytes:
    if offset + size > len(data):
        raise _Damaged("a table lies outside the file")
    return data[offset : offset + size]


def _text(block: bytes, offset: int) -> str:
    end = block.find(b"\0", offset)
    if not 0 <= offset < len(block):
        raise _Damaged("a name lies outside its table")
    return block[offset : end if end >= 0 else len(block)].decode("utf-8")


def _version(packed: int) -> str:
    major, minor, patch = packed >> 16, packed >> 8 & 0xFF, packed & 0xFF
    return f"{major}.{minor}" + (f".{patch}" if patch else "")


@dataclass(kw_only=True)
class _Found:
    """What the load commands said so far."""

    install_name: str = ""
    dependencies: list[str] = field(default_factory=list)
    rpaths: list[str] = field(default_factory=list)
    platform: str = ""
    minos: str = ""
    sdk: str = ""
    uuid: str = ""
    fixups: Fixups = "none"
    function_starts: bool = False
    writable_code: list[str] = field(default_factory=list)
    text: tuple[int, int] = (0, 0)
    symbols: bytes = b""
    names: bytes = b""
    trie: bytes | None = None
    signature: tuple[int, int] | None = None


def _place(found: _Found, data: bytes, block: bytes) -> None:
    name, _, _, offset, size, most, first, *_ = _SEGMENT.unpack_from(block, 8)
    title = name.rstrip(b"\0").decode("utf-8")
    if any(each & _WRITE and each & _EXECUTE for each in (most, first)):
        found.writable_code.append(title)
    if title == "__TEXT":
        found.text = (offset, size)
    _part(data, offset, size)


def _take(found: _Found, data: bytes, command: int, block: bytes) -> None:
    words = struct.unpack_from(f"<{len(block) // 4}I", block)
    if command in _LOADS:
        found.dependencies.append(_text(block, words[2]))
    elif command == _ID:
        found.install_name = _text(block, words[2])
    elif command == _RPATH:
        found.rpaths.append(_text(block, words[2]))
    elif command == _UUID:
        found.uuid = block[8:24].hex()
    elif command == _SEGMENT_64:
        _place(found, data, block)
    elif command == _BUILD_VERSION:
        found.platform = _PLATFORMS.get(words[2], f"platform {words[2]}")
        found.minos, found.sdk = _version(words[3]), _version(words[4])
    elif command == _MIN_MACOS:
        found.platform = "macOS"
        found.minos, found.sdk = _version(words[2]), _version(words[3])
    elif command == _SYMTAB:
        found.symbols = _part(data, words[2], words[3] * _SYMBOL.size)
        found.names = _part(data, words[4], words[5])
    elif command in (_DYLD_INFO, _DYLD_INFO_ONLY):
        found.fixups = "dyld-info"
        found.trie = _part(data, words[10], words[11])
    elif command == _TRIE:
        found.trie = _part(data, words[2], words[3])
    elif command == _CHAINED:
        found.fixups = "chained"
    elif command == _FUNCTION_STARTS:
        found.function_starts = words[3] > 0
    elif command == _SIGNATURE:
        found.signature = (words[2], words[3])


@dataclass(frozen=True, kw_only=True)
class _Symbols:
    wanted: Mapping[str, int]
    defined: frozenset[str]
    local: int


def _symbols(found: _Found) -> _Symbols:
    """Sort the symbol table: undefined with its library's number, external, and the rest."""
    wanted, defined, local = {}, set(), 0
    for at, kind, _, description, value in _SYMBOL.iter_unpack(found.symbols):
        if kind == _STRIPPED_MARK:
            continue
        if kind & _STAB or not kind & _EXTERNAL or kind & _PRIVATE:
            local += 1
        elif kind & _KIND == 0 and value == 0:
            wanted[_text(found.names, at)] = description >> 8
        else:
            defined.add(_text(found.names, at))
    return _Symbols(wanted=wanted, defined=frozenset(defined), local=local)


def _facts(data: bytes, architectures: tuple[str, ...]) -> MachoFacts:
    flags = _HEADER.unpack_from(data)[6]
    filetype = _HEADER.unpack_from(data)[3]
    found = _Found()
    for command, block in _commands(data):
        _take(found, data, command, block)
    symbols = _symbols(found)
    two_level = bool(flags & _TWO_LEVEL)
    flat = [
        name
        for name, library in symbols.wanted.items()
        if library == _DYNAMIC_LOOKUP or not two_level
    ]
    return MachoFacts(
        architectures=architectures,
        filetype=_FILE_TYPES.get(filetype, f"type {filetype}"),
        platform=found.platform,
        minos=found.minos,
        sdk=found.sdk,
        install_name=found.install_name,
        dependencies=tuple(found.dependencies),
        rpaths=tuple(found.rpaths),
        exports=symbols.defined if found.trie is None else read_trie(found.trie),
        flat_lookups=tuple(sorted(flat)),
        two_level=two_level,
        local_symbols=symbols.local,
        has_stack_protector="___stack_chk_fail" in symbols.wanted,
        fortified_symbols=tuple(sorted(filter(_FORTIFIED.fullmatch, symbols.wanted))),
        fixups=found.fixups,
        function_starts=found.function_starts,
        executable_stack=bool(flags & _STACK_EXECUTION),
        writable_code=tuple(found.writable_code),
        uuid=found.uuid,
        signature=read_signature(data, *found.signature, text=found.text)
        if found.signature
        else None,
    )


def inspect_macho(
    source: Path | bytes, *, architecture: str = "arm64", name: str = ""
) -> MachoFacts:
    """Read the facts of one architecture of a Mach-O file.

    Parameters
    ----------
    source : Path or bytes
        The file, or its content.
    architecture : str, optional
        Which one of a universal file. A file without it is read as what it is: the caller sees
        it in ``architectures``.
    name : str, optional
        What to call the content in an error.

    Raises
    ------
    WheelError
        The content is no 64-bit Mach-O file, or a damaged one.
    OSError
        The file cannot be read.
    """
    content = source if isinstance(source, bytes) else source.read_bytes()
    try:
        slices = _slices(content)
        chosen = slices.get(architecture) or next(iter(slices.values()), b"")
        if not chosen.startswith(_THIN):
            raise _Damaged("it holds no 64-bit program")
        return _facts(chosen, tuple(slices))
    except (ValueError, struct.error, IndexError) as error:
        called = name or ("the content" if isinstance(source, bytes) else str(source))
        raise WheelError(
            f"{called} is no Mach-O file that can be read: {error}",
            hint="it is truncated or for another system; remove it and build again",
        ) from error


def macho_facts(
    files: Iterable[tuple[str, bytes]], *, architecture: str = "arm64"
) -> dict[str, MachoFacts]:
    """Return the facts of every Mach-O file among the given ones, by name."""
    return {
        name: inspect_macho(content, architecture=architecture, name=name)
        for name, content in files
        if is_macho(content)
    }
