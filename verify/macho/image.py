"""One Mach-O image: what its header, load commands and tables say.

lief reads the tables; this module turns them into plain values, so that a check is a comparison
of sets and a test can build an image without a file.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import VerifyError

FAT_MAGICS = (b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf")
THIN_MAGIC = b"\xcf\xfa\xed\xfe"
DYNAMIC = "(dynamic look-up)"
UNKNOWN = "(no library)"
_CPU_TYPES = {0x01000007: "x86_64", 0x0100000C: "arm64"}
_PLATFORMS = {1: "macOS", 2: "iOS", 6: "Mac Catalyst", 7: "iOS simulator"}
_ZEROFILL = {0x1, 0xC, 0x12}
_COALESCED = (0, -3)
_BUILD_VERSION, _VERSION_MIN = 0x32, 0x24
_FLAT_ORDINALS = {0xFE: DYNAMIC, 0xFF: "(main executable)", 0x00: "(this image)"}
# A process on arm64 macOS has 47 bits of addresses.
_ADDRESSES = 1 << 47


class MachOUnreadable(VerifyError):
    """A file that should be a Mach-O image and cannot be read as one."""

    title = "Mach-O"


@dataclass(frozen=True, kw_only=True)
class Library:
    """A linked library: install name and the two versions, as ``(major, minor, patch)``."""

    name: str
    current: tuple[int, ...]
    compatibility: tuple[int, ...]
    weak: bool = False


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A segment; protections are VM_PROT bits (read 1, write 2, execute 4).

    ``read_only`` is SG_READ_ONLY: dyld takes the right to write away once it has bound pointers.
    """

    name: str
    address: int
    size: int
    offset: int
    file_size: int
    maximum: int
    initial: int
    read_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section; ``offset`` is 0 where the file holds nothing of it."""

    segment: str
    name: str
    address: int
    size: int
    offset: int


@dataclass(frozen=True, kw_only=True)
class Image:
    """One architecture of a Mach-O file.

    Parameters
    ----------
    name : str
        Path inside the wheel.
    data : bytes
        The slice from its Mach-O header to its end.
    architectures : tuple of str
        Of the whole file; more than one for a universal file.
    file_type : int
        ``MH_*``; 6 is a dylib, 8 a bundle.
    flags : frozenset of str
        Names of the header's flags without ``MH_``.
    imports : Mapping[str, str]
        Undefined symbol to the install name of its library, or to :data:`DYNAMIC`.
    bound : Mapping[int, str]
        Address of a pointer that dyld binds, to the symbol.
    exports : frozenset of str
        Symbols of the export trie, which is what dyld reads.
    external : frozenset of str
        Defined external symbols of the symbol table; equal to ``exports`` in a sound file.
    weak_imports : frozenset of str
        Imports that may be missing at run time.
    coalesced : frozenset of str
        Imports that dyld binds to the first definition in the process (weak look-up), wherever it
        is: ``operator new`` and the like.
    disagreements : tuple of str
        Symbols for which binding and symbol table name different libraries.
    minimums : Mapping[str, (int, int)]
        Architecture to the oldest macOS that its slice asks for; ``(0, 0)`` for one that says none.
    local_symbols, debug_symbols : int
        How many entries stripping would have removed.
    """

    name: str
    data: bytes = field(repr=False)
    architectures: tuple[str, ...]
    file_type: int
    flags: frozenset[str]
    platform: str
    minimum_os: tuple[int, int]
    minimums: Mapping[str, tuple[int, int]]
    sdk: tuple[int, int]
    install_name: str
    libraries: tuple[Library, ...]
    rpaths: tuple[str, ...]
    uuid: str
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]
    imports: Mapping[str, str] = field(repr=False)
    bound: Mapping[int, str] = field(repr=False)
    exports: frozenset[str] = field(repr=False)
    external: frozenset[str] = field(repr=False)
    weak_imports: frozenset[str] = field(repr=False)
    coalesced: frozenset[str] = field(repr=False)
    disagreements: tuple[str, ...]
    local_symbols: int
    debug_symbols: int
    function_starts: tuple[int, ...] = field(repr=False)
    signature: tuple[int, int] | None

    def section(self, name: str) -> Section | None:
        """Return a section by its name (``__text``), or ``None``."""
        return next((section for section in self.sections if section.name == name), None)

    def content(self, section: Section) -> bytes:
        """Return the bytes that the file holds of a section."""
        return self.data[section.offset : section.offset + section.size] if section.offset else b""

    def offset(self, address: int) -> int | None:
        """Return the file offset of an address, or ``None`` when the file holds no byte for it."""
        for segment in self.segments:
            if segment.address <= address < segment.address + segment.file_size:
                return address - segment.address + segment.offset
        return None

    def pointer(self, address: int) -> int | None:
        """Return where a pointer in the file points, or ``None`` for one that dyld binds.

        Both encodings in use keep the target of a rebased pointer in the low 36 bits: plain
        addresses (LC_DYLD_INFO) and ``DYLD_CHAINED_PTR_64[_OFFSET]``, whose image base is 0 in a
        dylib. The top bit marks a bound pointer of a chain.
        """
        where = self.offset(address)
        if where is None or where + 8 > len(self.data) or address in self.bound:
            return None
        (value,) = struct.unpack_from("<Q", self.data, where)
        return None if value >> 63 else int(value & 0xF_FFFF_FFFF)

    def text_at(self, address: int) -> str | None:
        """Return the zero-terminated text at an address, or ``None``."""
        where = self.offset(address)
        if where is None:
            return None
        end = self.data.find(b"\0", where)
        return None if end < 0 else self.data[where:end].decode("utf-8", "replace")


def architectures(data: bytes, name: str) -> dict[str, bytes]:
    """Return the slices of a Mach-O file by architecture.

    Raises
    ------
    MachOUnreadable
        When the file is no 64-bit Mach-O, or a slice lies outside it.
    """
    if data.startswith(THIN_MAGIC) and len(data) >= 8:
        return {_cpu(struct.unpack_from("<I", data, 4)[0]): data}
    if not data.startswith(FAT_MAGICS):
        raise MachOUnreadable(f"{name} is not a 64-bit Mach-O file.")
    layout = struct.Struct(">IIQQII" if data.startswith(FAT_MAGICS[1]) else ">IIIII")
    found = {}
    try:
        for number in range(struct.unpack_from(">I", data, 4)[0]):
            cpu, _, offset, size, *_ = layout.unpack_from(data, 8 + number * layout.size)
            if offset + size > len(data):
                raise MachOUnreadable(f"{name}: the slice {_cpu(cpu)} lies outside the file.")
            found[_cpu(cpu)] = data[offset : offset + size]
    except struct.error:
        raise MachOUnreadable(f"{name} ends inside its table of architectures.") from None
    return found


def _cpu(number: int) -> str:
    return _CPU_TYPES.get(number, f"cpu {number:#x}")


def read_image(data: bytes, name: str) -> Image:
    """Read the arm64 slice of a Mach-O file.

    Raises
    ------
    MachOUnreadable
        When there is none, or it cannot be read.
    """
    import lief

    slices = architectures(data, name)
    if "arm64" not in slices:
        raise MachOUnreadable(f"{name} holds no arm64 code, only {', '.join(slices) or 'nothing'}.")
    lief.logging.disable()
    fat = lief.MachO.parse(io.BytesIO(slices["arm64"]))
    if fat is None or fat.size != 1:
        raise MachOUnreadable(f"The load commands of {name} cannot be read.")
    try:
        with warnings.catch_warnings():
            # lief warns of numbers that it has no name for; the checks judge them.
            warnings.simplefilter("ignore", RuntimeWarning)
            image = _image(fat.at(0), slices["arm64"], name, slices)
    except (AttributeError, ValueError, struct.error) as error:
        raise MachOUnreadable(f"{name} lacks a part that every dylib has: {error}.") from None
    for section in image.sections:
        if section.offset and section.offset + section.size > len(image.data):
            raise MachOUnreadable(f"The section {section.name} of {name} lies outside the file.")
        if section.address + section.size > _ADDRESSES:
            raise MachOUnreadable(f"The section {section.name} of {name} has no possible address.")
    return image


def _minimum(data: bytes) -> tuple[int, int]:
    """Return the macOS that a slice asks for: LC_BUILD_VERSION, or LC_VERSION_MIN_MACOSX before."""
    count, at = struct.unpack_from("<I", data, 16)[0], 32
    for _ in range(count):
        if at + 16 > len(data):
            break
        command, size = struct.unpack_from("<2I", data, at)
        if command in (_BUILD_VERSION, _VERSION_MIN):
            (version,) = struct.unpack_from(
                "<I", data, at + (12 if command == _BUILD_VERSION else 8)
            )
            return version >> 16, version >> 8 & 0xFF
        if size < 8:
            break
        at += size
    return 0, 0


def _image(binary: Any, data: bytes, name: str, slices: Mapping[str, bytes]) -> Image:
    import lief

    commands = lief.MachO.LoadCommand.TYPE
    linked = [
        Library(
            name=entry.name,
            current=tuple(entry.current_version),
            compatibility=tuple(entry.compatibility_version),
            weak=entry.command == commands.LOAD_WEAK_DYLIB,
        )
        for entry in binary.libraries
        if entry.command != commands.ID_DYLIB
    ]
    own = [entry.name for entry in binary.commands if entry.command == commands.ID_DYLIB]
    build = binary.build_version if binary.has_build_version else None
    version = binary.version_min if binary.has_version_min else None
    names = [library.name for library in linked]
    symbols = _symbols(binary, names)
    bound, disagreements = _bind(binary, symbols.imports, names)
    signed = binary.code_signature if binary.has_code_signature else None
    return Image(
        name=name,
        data=data,
        architectures=tuple(slices),
        file_type=struct.unpack_from("<I", data, 12)[0],
        flags=frozenset(str(flag).rpartition(".")[2] for flag in binary.header.flags_list),
        platform=_PLATFORMS.get(int(build.platform), str(build.platform))
        if build
        else ("macOS" if version else "none"),
        minimum_os=_short(build.minos if build else version.version if version else (0, 0)),
        minimums={cpu: _minimum(content) for cpu, content in slices.items()},
        sdk=_short(build.sdk if build else version.sdk if version else (0, 0)),
        install_name=own[0] if own else "",
        libraries=tuple(linked),
        rpaths=tuple(str(entry.path) for entry in binary.rpaths),
        uuid=bytes(binary.uuid.uuid).hex() if binary.has_uuid else "",
        segments=tuple(
            Segment(
                name=entry.name,
                address=entry.virtual_address,
                size=entry.virtual_size,
                offset=entry.file_offset,
                file_size=entry.file_size,
                maximum=int(entry.max_protection),
                initial=int(entry.init_protection),
                read_only=bool(int(entry.flags) & 0x10),
            )
            for entry in binary.segments
        ),
        sections=tuple(
            Section(
                segment=segment.name,
                name=entry.name,
                address=entry.virtual_address,
                size=entry.size,
                offset=0 if int(entry.type) in _ZEROFILL else entry.offset,
            )
            for segment in binary.segments
            for entry in segment.sections
        ),
        imports=symbols.imports,
        bound=bound,
        exports=_exports(binary),
        external=frozenset(symbols.external),
        weak_imports=frozenset(symbols.weak),
        coalesced=frozenset(
            str(entry.symbol.name)
            for entry in binary.bindings
            if entry.has_symbol and int(entry.library_ordinal) in _COALESCED
        ),
        disagreements=disagreements,
        local_symbols=symbols.local,
        debug_symbols=symbols.debug,
        function_starts=tuple(sorted(binary.function_starts.functions))
        if binary.has_function_starts
        else (),
        signature=(signed.data_offset, signed.data_size) if signed else None,
    )


def _short(version: Any) -> tuple[int, int]:
    return int(version[0]), int(version[1])


def _exports(binary: Any) -> frozenset[str]:
    trie: Any = None
    if binary.has_dyld_exports_trie:
        trie = binary.dyld_exports_trie
    elif binary.has_dyld_info:
        trie = binary.dyld_info
    entries: Any = trie.exports if trie is not None else ()
    return frozenset(str(entry.symbol.name) for entry in entries if entry.has_symbol)


@dataclass(kw_only=True)
class _Symbols:
    """The symbol table, sorted by the bits of ``n_type`` and ``n_desc``."""

    imports: dict[str, str] = field(default_factory=dict)
    weak: set[str] = field(default_factory=set)
    external: set[str] = field(default_factory=set)
    local: int = 0
    debug: int = 0


def _symbols(binary: Any, libraries: list[str]) -> _Symbols:
    """Read the symbol table.

    ``n_type``: bits 0xE0 mark a debugging entry, 0x0E is the kind (0 is undefined), 0x10 is
    private external and 0x01 external. ``n_desc`` of an undefined symbol: its library in the high
    byte, and 0x40 for a weak one.
    """
    found = _Symbols()
    for symbol in binary.symbols:
        kind, name = symbol.raw_type, str(symbol.name)
        if kind & 0xE0:
            found.debug += 1
        elif kind & 0x0E:
            if kind & 0x01 and not kind & 0x10:
                found.external.add(name)
            else:
                found.local += 1
        else:
            if kind & 0x01 and not symbol.value:
                found.imports[name] = _library((symbol.description >> 8) & 0xFF, libraries)
            if symbol.description & 0x40:
                found.weak.add(name)
    return found


def _bind(
    binary: Any, imports: dict[str, str], libraries: list[str]
) -> tuple[dict[int, str], tuple[str, ...]]:
    """Return bound pointers and contradictions; add to ``imports`` what only a binding names.

    The symbol table names a library for every undefined symbol, but dyld itself goes by the
    binding, so both must say the same. A weak look-up (ordinal -3, and 0 in the old encoding) says
    only that another image may define the symbol first.
    """
    bound, disagreements = {}, set()
    for entry in binary.bindings:
        if not entry.has_symbol:
            continue
        symbol = str(entry.symbol.name)
        bound[int(entry.address)] = symbol
        ordinal = int(entry.library_ordinal)
        if ordinal in _COALESCED:
            continue
        named = _library(ordinal & 0xFF, libraries)
        if imports.setdefault(symbol, named) != named:
            disagreements.add(symbol)
    return bound, tuple(sorted(disagreements))


def _library(ordinal: int, libraries: list[str]) -> str:
    if ordinal in _FLAT_ORDINALS:
        return _FLAT_ORDINALS[ordinal]
    return libraries[ordinal - 1] if ordinal <= len(libraries) else UNKNOWN
