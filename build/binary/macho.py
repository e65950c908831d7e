"""What a Mach-O file promises and asks for: header, load commands, symbols, exports, signature.

lief reads the tables; the layouts are those of ``mach-o/loader.h``, ``mach-o/nlist.h`` and
``mach-o/fat.h`` in Apple's xnu and cctools. The code signature is recomputed here
(:mod:`build.binary.code_signature`).
"""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import WheelError
from .code_signature import CodeSignature, read_signature

_THIN = b"\xcf\xfa\xed\xfe"
_HEADER_SIZE = 32
_FAT = {b"\xca\xfe\xba\xbe": ">5I", b"\xca\xfe\xba\xbf": ">2I2Q2I"}
# A Java class file begins as a universal file does; its next number is a version, 45 or more.
_MOST_SLICES = 40
_CPU = {0x01000007: "x86_64", 0x0100000C: "arm64"}
_ARM64, _ARM64E, _SUBTYPE_MASK = 0x0100000C, 2, 0x00FFFFFF
_FILE_TYPES = {1: "object", 2: "executable", 6: "dylib", 8: "bundle"}
_PLATFORMS = {1: "macOS", 2: "iOS", 3: "tvOS", 4: "watchOS", 6: "Mac Catalyst", 11: "visionOS"}
_ID_DYLIB = 0x0D
_TWO_LEVEL, _STACK_EXECUTION = 0x80, 0x20000
_STAB, _PRIVATE, _KIND, _EXTERNAL = 0xE0, 0x10, 0x0E, 0x01
# N_OPT: what Apple's strip leaves behind as its own mark.
_STRIPPED_MARK = 0x3C
# lief lists what only the export trie or a binding names among the symbols: its ORIGIN.
_OUTSIDE_THE_TABLE = (1, 2)
_DYNAMIC_LOOKUP = 0xFE
_WRITE, _EXECUTE = 0x2, 0x4
_FORTIFIED = re.compile(r"___\w+_chk")

Fixups = Literal["chained", "dyld-info", "none"]


@dataclass(frozen=True, kw_only=True)
class MachoFacts:
    """Facts of one architecture of a Mach-O file.

    ``architectures`` are those of the whole file. Versions are text such as ``13.3``, empty where
    the file says none. ``dependencies`` are install names, weak and re-exported ones included.
    ``exports`` is what dyld can find: the names of the export trie, or without one ``external``,
    the defined external symbols of the symbol table. ``flat_lookups`` are the undefined symbols
    that dyld looks for in every image instead of one named library. ``writable_code`` names
    segments that may be written and executed. ``local_symbols`` counts what stripping would
    remove, debugging entries included. ``signature`` is None for an unsigned file.
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
    external: frozenset[str] = field(repr=False)
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
    """Return the parts of a file by architecture.

    lief would parse all of them for one, which takes seconds for each part of the official wheel.
    """
    if content.startswith(_THIN):
        return {_cpu(*struct.unpack_from("<2I", content, 4)): content}
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


def _version(numbers: Iterable[int]) -> str:
    major, minor, patch = numbers
    return f"{major}.{minor}" + (f".{patch}" if patch else "")


def _built_for(binary: Any) -> tuple[str, str, str]:
    """Return platform, oldest system and SDK."""
    if binary.has_build_version:
        build = binary.build_version
        number = int(build.platform)
        platform = _PLATFORMS.get(number, f"platform {number}")
        return platform, _version(build.minos), _version(build.sdk)
    if binary.has_version_min:
        return "macOS", _version(binary.version_min.version), _version(binary.version_min.sdk)
    return "", "", ""


@dataclass(frozen=True, kw_only=True)
class _Symbols:
    """The symbol table: undefined with the number of their library, external, and the rest."""

    undefined: dict[str, int]
    external: frozenset[str]
    local: int


def _symbols(binary: Any) -> _Symbols:
    undefined, external, local = {}, set(), 0
    for symbol in binary.symbols:
        kind = symbol.raw_type
        if kind == _STRIPPED_MARK or int(symbol.origin) in _OUTSIDE_THE_TABLE:
            continue
        if kind & _STAB or not kind & _EXTERNAL or kind & _PRIVATE:
            local += 1
        elif kind & _KIND == 0 and symbol.value == 0:
            undefined[str(symbol.name)] = symbol.description >> 8 & 0xFF
        else:
            external.add(str(symbol.name))
    return _Symbols(undefined=undefined, external=frozenset(external), local=local)


def _exports(binary: Any) -> frozenset[str] | None:
    """Return the names of the export trie, or None where the file has none."""
    if binary.has_dyld_exports_trie:
        trie = binary.dyld_exports_trie
    elif binary.has_dyld_info:
        trie = binary.dyld_info
    else:
        return None
    return frozenset(str(entry.symbol.name) for entry in trie.exports if entry.has_symbol)


def _check_places(binary: Any, data: bytes) -> None:
    """Refuse what lief passes over: it reads a damaged file as far as it can."""
    count, read = binary.header.nb_cmds, len(binary.commands)
    if count != read:
        raise _Damaged(f"{read} of its {count} load commands can be read")
    for segment in binary.segments:
        if segment.file_offset + segment.file_size > len(data):
            raise _Damaged(f"its segment {segment.name} lies outside the file")


def _facts(binary: Any, data: bytes, architectures: tuple[str, ...]) -> MachoFacts:
    _check_places(binary, data)
    own = [str(each.name) for each in binary.libraries if int(each.command) == _ID_DYLIB]
    linked = [str(each.name) for each in binary.libraries if int(each.command) != _ID_DYLIB]
    platform, minos, sdk = _built_for(binary)
    symbols, exports = _symbols(binary), _exports(binary)
    filetype, flags = int(binary.header.file_type), int(binary.header.flags)
    flat = [
        name
        for name, library in symbols.undefined.items()
        if library == _DYNAMIC_LOOKUP or not flags & _TWO_LEVEL
    ]
    fixups: Fixups = "dyld-info" if binary.has_dyld_info else "none"
    text = binary.get_segment("__TEXT")
    signed = binary.code_signature if binary.has_code_signature else None
    return MachoFacts(
        architectures=architectures,
        filetype=_FILE_TYPES.get(filetype, f"type {filetype}"),
        platform=platform,
        minos=minos,
        sdk=sdk,
        install_name=own[0] if own else "",
        dependencies=tuple(linked),
        rpaths=tuple(str(each.path) for each in binary.rpaths),
        exports=symbols.external if exports is None else exports,
        external=symbols.external,
        flat_lookups=tuple(sorted(flat)),
        two_level=bool(flags & _TWO_LEVEL),
        local_symbols=symbols.local,
        has_stack_protector="___stack_chk_fail" in symbols.undefined,
        fortified_symbols=tuple(sorted(filter(_FORTIFIED.fullmatch, symbols.undefined))),
        fixups="chained" if binary.has_dyld_chained_fixups else fixups,
        function_starts=binary.has_function_starts and binary.function_starts.data_size > 0,
        executable_stack=bool(flags & _STACK_EXECUTION),
        writable_code=tuple(
            each.name
            for each in binary.segments
            for rights in (int(each.max_protection), int(each.init_protection))
            if rights & _WRITE and rights & _EXECUTE
        ),
        uuid=bytes(binary.uuid.uuid).hex() if binary.has_uuid else "",
        signature=read_signature(
            data,
            signed.data_offset,
            signed.data_size,
            text=(text.file_offset, text.file_size) if text else (0, 0),
        )
        if signed
        else None,
    )


def inspect_macho(
    source: Path | bytes, *, architecture: str = "arm64", name: str = ""
) -> MachoFacts:
    """Read the facts of one architecture of a Mach-O file, given by its path or its content.

    A universal file without that architecture is read as what it is: the caller sees it in
    ``architectures``. ``name`` is what the content is called in an error.

    Raises
    ------
    WheelError
        The content is no 64-bit Mach-O file, or a damaged one.
    OSError
        The file cannot be read.
    """
    import lief  # noqa: PLC0415 - half a second that only a macOS wheel is to pay for

    content = source if isinstance(source, bytes) else source.read_bytes()
    lief.logging.disable()
    config = lief.MachO.ParserConfig.quick
    config.parse_dyld_exports = True
    try:
        slices = _slices(content)
        chosen = slices.get(architecture) or next(iter(slices.values()), b"")
        # Its parts are valid only as long as this whole is.
        parsed = lief.MachO.parse(io.BytesIO(chosen), config)
        whole = chosen.startswith(_THIN) and len(chosen) >= _HEADER_SIZE
        if not whole or parsed is None or parsed.size != 1:
            raise _Damaged("it holds no 64-bit program")
        with warnings.catch_warnings():
            # lief warns of numbers that it has no name for; the rules judge them.
            warnings.simplefilter("ignore", RuntimeWarning)
            return _facts(parsed.at(0), chosen, tuple(slices))
    except (ValueError, AttributeError, struct.error) as error:
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
