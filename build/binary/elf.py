"""What an ELF file promises and asks for, read from the file itself.

Only the dynamic section, the program headers and the dynamic symbols are looked at: what the
loader sees, and what stripping cannot remove (System V gABI, chapters 4 and 5; Linux extensions
in the LSB and in ``elf.h``).
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import WheelError

ELF_MAGIC = b"\x7fELF"
_EXECUTE = 0x1
_DF_BIND_NOW, _DF_TEXTREL, _DF_1_NOW = 0x8, 0x4, 0x1
_UNDEFINED, _ABSOLUTE = 0, 0xFFF1
# STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE; STT_OBJECT, STT_FUNC, STT_TLS, STT_GNU_IFUNC.
_VISIBLE, _FUNCTIONS_AND_DATA = (1, 2, 10), (1, 2, 6, 10)
_STACK_PROTECTOR = "__stack_chk_fail"
_FORTIFIED = re.compile(r"__\w+_chk")

Relro = Literal["none", "partial", "full"]


@dataclass(frozen=True, kw_only=True)
class ElfFacts:
    """Facts of one shared object.

    ``rpath`` joins DT_RPATH and DT_RUNPATH. ``relro`` is full when the segment is there and every
    symbol is bound at load time. A file without a GNU_STACK header counts as one with an executable
    stack, since that is what the kernel makes of it on x86. ``exports_count`` counts defined
    functions and data of global or weak binding.
    """

    needed: tuple[str, ...]
    rpath: tuple[str, ...]
    gnu_stack_executable: bool
    relro: Relro
    bind_now: bool
    has_stack_protector: bool
    fortified_symbols: tuple[str, ...]
    stripped: bool
    build_id: str
    text_relocations: bool
    exports_count: int


class _Damaged(ValueError):
    """The bytes contradict the format."""


def _facts(content: bytes) -> ElfFacts:
    import lief  # noqa: PLC0415 - half a second that only reading a library is to cost

    lief.logging.disable()
    elf = lief.ELF.parse(io.BytesIO(content))
    if elf is None:
        raise _Damaged("it does not begin as one")
    if elf.header.file_type != lief.ELF.Header.FILE_TYPE.DYN:
        raise _Damaged(f"its type is {elf.header.file_type}, not that of a shared object")
    if any(each.file_offset + each.physical_size > len(content) for each in elf.segments):
        raise _Damaged("a segment lies outside the file")
    tags: dict[Any, list[Any]] = {}
    for entry in elf.dynamic_entries:
        tags.setdefault(entry.tag, []).append(entry)
    tag, kind = lief.ELF.DynamicEntry.TAG, lief.ELF.Segment.TYPE
    flags, flags_1 = (sum(e.value for e in tags.get(each, ())) for each in (tag.FLAGS, tag.FLAGS_1))
    bind_now = bool(tag.BIND_NOW in tags or flags & _DF_BIND_NOW or flags_1 & _DF_1_NOW)
    segments = {each.type: int(each.flags) for each in elf.segments}
    symbols = list(elf.dynamic_symbols)
    wanted = {str(each.name) for each in symbols if each.shndx == _UNDEFINED}
    sections = [str(each.name) for each in elf.sections]
    paths = [each.rpath for each in tags.get(tag.RPATH, ())]
    paths += [each.runpath for each in tags.get(tag.RUNPATH, ())]
    build_ids = [e for e in elf.notes if e.type == lief.ELF.Note.TYPE.GNU_BUILD_ID]
    relro: Relro = "full" if bind_now else "partial"
    return ElfFacts(
        needed=tuple(str(each) for each in elf.libraries),
        rpath=tuple(part for path in paths for part in path.split(":")),
        gnu_stack_executable=bool(segments.get(kind.GNU_STACK, _EXECUTE) & _EXECUTE),
        relro=relro if kind.GNU_RELRO in segments else "none",
        bind_now=bind_now,
        has_stack_protector=_STACK_PROTECTOR in wanted,
        fortified_symbols=tuple(sorted(name for name in wanted if _FORTIFIED.fullmatch(name))),
        stripped=not any(name == ".symtab" or name.startswith(".debug_") for name in sections),
        build_id=bytes(build_ids[0].description).hex() if build_ids else "",
        text_relocations=bool(tag.TEXTREL in tags or flags & _DF_TEXTREL),
        exports_count=sum(1 for each in symbols if _exported(each)),
    )


def _exported(symbol: Any) -> bool:
    return (
        symbol.shndx not in (_UNDEFINED, _ABSOLUTE)
        and int(symbol.binding) in _VISIBLE
        and int(symbol.type) in _FUNCTIONS_AND_DATA
    )


def inspect_elf(source: Path | bytes) -> ElfFacts:
    """Read the facts of one ELF file, given by its path or its content.

    Raises
    ------
    WheelError
        The content is no ELF file or a damaged one.
    OSError
        The file cannot be read.
    """
    content = source if isinstance(source, bytes) else source.read_bytes()
    try:
        return _facts(content)
    except (ValueError, TypeError, AttributeError) as error:
        name = "the content" if isinstance(source, bytes) else str(source)
        raise WheelError(
            f"{name} is no ELF file that can be read: {error}",
            hint="it is truncated or for another system; remove it and build again",
        ) from error


def elf_facts(files: Iterable[tuple[str, bytes]]) -> dict[str, ElfFacts]:
    """Return the facts of every ELF file among the given ones, by name."""
    return {name: inspect_elf(content) for name, content in files if content.startswith(ELF_MAGIC)}
