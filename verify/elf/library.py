"""One ELF library: what its headers, dynamic section and tables say (System V gABI, LSB)."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import VerifyError

MAGIC = b"\x7fELF"
_MACHINES = {0x3E: "x86_64", 0xB7: "aarch64", 0x28: "armv7l", 0x03: "i686", 0x15: "ppc64le"}
_EXECUTE = 0x1
_BIND_NOW, _TEXTREL, _NOW = 0x8, 0x4, 0x1
_UNDEFINED = 0


class ElfUnreadable(VerifyError):
    """A file that should be an ELF library and cannot be read as one."""

    title = "ELF"


@dataclass(frozen=True, kw_only=True)
class Library:
    """One library: its path inside the wheel, its content and what the content says.

    Parameters
    ----------
    machine : str
        Processor as platform tags name it.
    needed : tuple of str
        Libraries that it is linked with (DT_NEEDED).
    rpaths : tuple of str
        DT_RPATH and DT_RUNPATH.
    versions : tuple of (str, str)
        Library and symbol version asked for, ``("libc.so.6", "GLIBC_2.27")``.
    exports : frozenset of str
        Defined dynamic symbols.
    relro : bool
        Whether relocations are read-only once every symbol is bound, at load time.
    """

    name: str
    data: bytes = field(repr=False)
    machine: str
    needed: tuple[str, ...] = ()
    rpaths: tuple[str, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    exports: frozenset[str] = field(default=frozenset(), repr=False)
    relro: bool = True
    executable_stack: bool = False
    text_relocations: bool = False
    stripped: bool = True


def read_libraries(files: Mapping[str, bytes]) -> tuple[Library, ...]:
    """Read every ELF file of a wheel.

    Raises
    ------
    ElfUnreadable
        When one cannot be read, or a file that is named as a library is none.
    """
    return tuple(
        read_library(data, name)
        for name, data in sorted(files.items())
        if data.startswith(MAGIC) or name.endswith(".so") or ".so." in name
    )


def read_library(data: bytes, name: str) -> Library:
    """Read one ELF library.

    Raises
    ------
    ElfUnreadable
        When it is none, or damaged.
    """
    import lief

    if not data.startswith(MAGIC):
        raise ElfUnreadable(f"{name} is not an ELF file.")
    lief.logging.disable()
    try:
        elf = lief.ELF.parse(io.BytesIO(data))
        if elf is None or elf.header.file_type != lief.ELF.Header.FILE_TYPE.DYN:
            raise ElfUnreadable(f"{name} is no shared library that can be read.")
        if any(part.file_offset + part.physical_size > len(data) for part in elf.segments):
            raise ElfUnreadable(f"{name} is cut off: a segment lies outside the file.")
        with warnings.catch_warnings():
            # lief warns of numbers that it has no name for; the checks judge them.
            warnings.simplefilter("ignore", RuntimeWarning)
            return _library(elf, data, name)
    except (AttributeError, SystemError, TypeError, ValueError) as error:
        # SystemError: lief answers with a number that its own enumeration has no name for.
        raise ElfUnreadable(f"{name} lacks a part that every library has: {error}.") from None


def _library(elf: Any, data: bytes, name: str) -> Library:
    import lief

    tag, kind = lief.ELF.DynamicEntry.TAG, lief.ELF.Segment.TYPE
    tags: dict[Any, list[Any]] = {}
    for entry in elf.dynamic_entries:
        tags.setdefault(entry.tag, []).append(entry)
    flags, more = (sum(e.value for e in tags.get(each, ())) for each in (tag.FLAGS, tag.FLAGS_1))
    segments = {each.type: int(each.flags) for each in elf.segments}
    paths = [each.rpath for each in tags.get(tag.RPATH, ())]
    paths += [each.runpath for each in tags.get(tag.RUNPATH, ())]
    sections = [str(each.name) for each in elf.sections]
    machine = int(elf.header.machine_type)
    return Library(
        name=name,
        data=data,
        machine=_MACHINES.get(machine, f"machine {machine:#x}"),
        needed=tuple(str(each) for each in elf.libraries),
        rpaths=tuple(part for path in paths for part in str(path).split(":")),
        versions=tuple(
            (str(library.name), str(version.name))
            for library in elf.symbols_version_requirement
            for version in library.get_auxiliary_symbols()
        ),
        exports=frozenset(
            str(each.name) for each in elf.dynamic_symbols if each.shndx != _UNDEFINED
        ),
        relro=kind.GNU_RELRO in segments
        and bool(tag.BIND_NOW in tags or flags & _BIND_NOW or more & _NOW),
        # Without the header the kernel takes the stack for an executable one on x86.
        executable_stack=bool(segments.get(kind.GNU_STACK, _EXECUTE) & _EXECUTE),
        text_relocations=bool(tag.TEXTREL in tags or flags & _TEXTREL),
        stripped=not any(each == ".symtab" or each.startswith(".debug_") for each in sections),
    )
