"""What an ELF file promises and asks for, read from the file itself.

Only the dynamic section, the program headers and the dynamic symbols are looked at: what the
loader sees, and what stripping cannot remove (System V gABI, chapters 4 and 5; Linux extensions
in the LSB and in ``elf.h``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from elftools.elf.sections import NoteSection, SymbolTableSection

from ..errors import WheelError

ELF_MAGIC = b"\x7fELF"
_EXECUTE = 0x1
_DF_BIND_NOW, _DF_TEXTREL, _DF_1_NOW = 0x8, 0x4, 0x1
_STACK_PROTECTOR = "__stack_chk_fail"
_FORTIFIED = re.compile(r"__\w+_chk")

Relro = Literal["none", "partial", "full"]


@dataclass(frozen=True, kw_only=True)
class ElfFacts:
    """Facts of one shared object.

    ``rpath`` joins DT_RPATH and DT_RUNPATH. ``glibc_max`` and ``glibcxx_max`` are the newest
    symbol versions asked for, without their prefix, empty where none is. ``relro`` is full when
    the segment is there and every symbol is bound at load time. A file without a GNU_STACK header
    counts as one with an executable stack, since that is what the kernel makes of it on x86.
    ``exports_count`` counts defined functions and data of global or weak binding.
    """

    needed: tuple[str, ...]
    soname: str
    rpath: tuple[str, ...]
    gnu_stack_executable: bool
    relro: Relro
    bind_now: bool
    has_stack_protector: bool
    fortified_symbols: tuple[str, ...]
    glibc_max: str
    glibcxx_max: str
    stripped: bool
    build_id: str
    text_relocations: bool
    exports_count: int


def _dynamic(elf: ELFFile) -> list[Any]:
    return [
        tag
        for section in elf.iter_sections()
        if isinstance(section, DynamicSection)
        for tag in section.iter_tags()
    ]


def _newest(elf: ELFFile, prefix: str) -> str:
    found: list[tuple[int, ...]] = []
    for section in elf.iter_sections():
        if isinstance(section, GNUVerNeedSection):
            for _, versions in section.iter_versions():
                for version in versions:
                    match = re.fullmatch(rf"{prefix}_(\d+(?:\.\d+)*)", version.name)
                    if match:
                        found.append(tuple(int(part) for part in match[1].split(".")))
    return ".".join(str(part) for part in max(found)) if found else ""


def _symbols(elf: ELFFile) -> Iterator[Any]:
    section = elf.get_section_by_name(".dynsym")
    if isinstance(section, SymbolTableSection):
        yield from section.iter_symbols()


def _build_id(elf: ELFFile) -> str:
    for section in elf.iter_sections():
        if isinstance(section, NoteSection):
            for note in section.iter_notes():
                if note["n_type"] == "NT_GNU_BUILD_ID":
                    return str(note["n_desc"])
    return ""


def _exported(symbol: Any) -> bool:
    return (
        symbol["st_shndx"] not in ("SHN_UNDEF", "SHN_ABS")
        and symbol["st_info"]["bind"] in ("STB_GLOBAL", "STB_WEAK", "STB_LOOS")
        and symbol["st_info"]["type"] in ("STT_FUNC", "STT_OBJECT", "STT_LOOS", "STT_TLS")
    )


def _facts(stream: BinaryIO) -> ElfFacts:
    elf = ELFFile(stream)
    if elf["e_type"] != "ET_DYN":
        raise ELFError(f"its type is {elf['e_type']}, not that of a shared object")
    tags = _dynamic(elf)
    segments = {segment["p_type"]: segment["p_flags"] for segment in elf.iter_segments()}
    kinds = {tag.entry.d_tag for tag in tags}
    flags = sum(tag.entry.d_val for tag in tags if tag.entry.d_tag == "DT_FLAGS")
    flags_1 = sum(tag.entry.d_val for tag in tags if tag.entry.d_tag == "DT_FLAGS_1")
    bind_now = bool("DT_BIND_NOW" in kinds or flags & _DF_BIND_NOW or flags_1 & _DF_1_NOW)
    relro: Relro = "none"
    if "PT_GNU_RELRO" in segments:
        relro = "full" if bind_now else "partial"
    symbols = list(_symbols(elf))
    wanted = {symbol.name for symbol in symbols if symbol["st_shndx"] == "SHN_UNDEF"}
    sections = [section.name for section in elf.iter_sections()]
    paths = [tag.rpath for tag in tags if tag.entry.d_tag == "DT_RPATH"]
    paths += [tag.runpath for tag in tags if tag.entry.d_tag == "DT_RUNPATH"]
    return ElfFacts(
        needed=tuple(tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"),
        soname=next((tag.soname for tag in tags if tag.entry.d_tag == "DT_SONAME"), ""),
        rpath=tuple(part for path in paths for part in path.split(":")),
        gnu_stack_executable=bool(segments.get("PT_GNU_STACK", _EXECUTE) & _EXECUTE),
        relro=relro,
        bind_now=bind_now,
        has_stack_protector=_STACK_PROTECTOR in wanted,
        fortified_symbols=tuple(sorted(name for name in wanted if _FORTIFIED.fullmatch(name))),
        glibc_max=_newest(elf, "GLIBC"),
        glibcxx_max=_newest(elf, "GLIBCXX"),
        stripped=not any(name == ".symtab" or name.startswith(".debug_") for name in sections),
        build_id=_build_id(elf),
        text_relocations=bool("DT_TEXTREL" in kinds or flags & _DF_TEXTREL),
        exports_count=sum(1 for symbol in symbols if _exported(symbol)),
    )


def inspect_elf(source: Path | bytes) -> ElfFacts:
    """Read the facts of one ELF file.

    Parameters
    ----------
    source : Path or bytes
        The file, or its content.

    Raises
    ------
    WheelError
        The content is no ELF file or a damaged one.
    OSError
        The file cannot be read.
    """
    content = source if isinstance(source, bytes) else source.read_bytes()
    try:
        return _facts(BytesIO(content))
    except (ELFError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        name = "the content" if isinstance(source, bytes) else str(source)
        raise WheelError(
            f"{name} is no ELF file that can be read: {error}",
            hint="it is truncated or for another system; remove it and build again",
        ) from error


def elf_facts(files: Iterable[tuple[str, bytes]]) -> dict[str, ElfFacts]:
    """Return the facts of every ELF file among the given ones, by name."""
    return {name: inspect_elf(content) for name, content in files if content.startswith(ELF_MAGIC)}
