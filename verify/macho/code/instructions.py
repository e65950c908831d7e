"""arm64 instructions as plain values, decoded by capstone."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..image import Image

_COMPARISONS = ("cmp", "cmn", "tst", "ccmp", "ccmn", "fcmp", "fccmp")
_ALIASED = ("lsl", "lsr", "asr", "sxtw", "sxth", "sxtb", "uxtw", "uxth", "uxtb", "ubfx", "sbfx")
_ATOMIC = ("ldadd", "ldclr", "ldset", "ldeor", "swp", "cas")
_CONDITIONAL = ("cbz", "cbnz", "tbz", "tbnz")
_BRANCHES = ("b", "br", "ret", "brk", "udf", *_CONDITIONAL)


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction.

    Parameters
    ----------
    address : int
    mnemonic : str
        With capstone's aliases: ``mov``, ``cmp``, ``cset``.
    operands : tuple
        ``("reg", name)``, ``("imm", number, shift)``, ``("mem", base, index, displacement)`` or
        ``("other",)``.
    reads, writes : tuple of str
        Register names, implicit ones included.
    """

    address: int
    mnemonic: str
    operands: tuple[Any, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]

    @property
    def number(self) -> int | None:
        """The last operand where it is a number: where a direct branch or call goes."""
        last = self.operands[-1] if self.operands else None
        return last[1] if last and last[0] == "imm" else None

    @property
    def conditional(self) -> bool:
        """Whether the next instruction may follow a branch."""
        return self.mnemonic.startswith("b.") or self.mnemonic in _CONDITIONAL

    @property
    def branches(self) -> bool:
        """Whether it may be followed by another instruction than the next; calls are not."""
        return self.conditional or self.mnemonic in _BRANCHES


class Decoder:
    """Decodes parts of an image."""

    def __init__(self, image: Image) -> None:
        capstone: Any = importlib.import_module("capstone")  # it ships no types
        self._image = image
        self._capstone = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
        self._capstone.detail = True

    def between(self, start: int, end: int) -> Iterator[Instruction]:
        """Yield the instructions of a range of addresses; data among them is left out."""
        where = self._image.offset(start)
        if where is None:
            return
        code = self._image.data[where : where + end - start]
        while code:
            reached = start
            for entry in self._capstone.disasm(code, start):
                yield _instruction(entry)
                reached = entry.address + entry.size
            # Data stops the disassembler; go on behind the word that it cannot read.
            skipped = reached + 4 - start
            code, start = code[skipped:], start + skipped


def _instruction(entry: Any) -> Instruction:
    arm64: Any = importlib.import_module("capstone.arm64")
    operands: list[Any] = []
    for operand in entry.operands:
        if operand.type == arm64.ARM64_OP_REG:
            operands.append(("reg", entry.reg_name(operand.reg)))
        elif operand.type == arm64.ARM64_OP_IMM:
            shift = operand.shift.value if operand.shift.type == arm64.ARM64_SFT_LSL else 0
            operands.append(("imm", operand.imm, shift))
        elif operand.type == arm64.ARM64_OP_MEM:
            memory = operand.mem
            names = [entry.reg_name(part) if part else "" for part in (memory.base, memory.index)]
            operands.append(("mem", *names, memory.disp))
        else:
            operands.append(("other",))
    accessed = [tuple(entry.reg_name(part) for part in parts) for parts in entry.regs_access()]
    reads, writes = _mended(entry.mnemonic, operands, *accessed)
    return Instruction(
        address=entry.address,
        mnemonic=entry.mnemonic,
        operands=tuple(operands),
        reads=reads,
        writes=writes,
    )


def _mended(
    mnemonic: str, operands: Sequence[Any], reads: tuple[str, ...], writes: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Put right what capstone 5 says wrongly of comparisons, shifts and atomic instructions."""
    named = tuple(operand[1] for operand in operands if operand[0] == "reg")
    if mnemonic in _COMPARISONS:
        return named, ()
    if mnemonic in _ALIASED and named[:1] != named[1:2]:
        return tuple(name for name in reads if name != named[0]), writes
    if mnemonic.startswith(_ATOMIC):
        return reads, (*writes, *named)
    return reads, writes
