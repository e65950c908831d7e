"""Calls read back from arm64 code: who is called, with which registers set, and what is read after.

Selectors are found in both forms in use: ``bl`` to a stub that loads the selector (Xcode 14 and
later), and ``bl _objc_msgSend`` with the selector loaded into ``x1`` by the caller.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..image import Image, Section
from .flow import Flow, Function, first_use
from .instructions import Decoder, Instruction
from .registers import State, Value, register, step

SEND = "_objc_msgSend"
UNREADABLE = "selector ?"
_NOTHING = Value(width="x")
_ARGUMENTS = 8


@dataclass(frozen=True, kw_only=True)
class CallSite:
    """One call of an Objective-C method or of an imported function.

    Parameters
    ----------
    address : int
    callee : str
        ``selector NAME`` or ``symbol NAME``; :data:`UNREADABLE` where no path says which.
    receiver : str
        ``symbol _OBJC_CLASS_$_NAME`` for a message to a class known here, else empty.
    general : Mapping[int, Value]
        Number of each ``x`` register that holds a value for sure, with what is known of it.
    floats : tuple of str
        ``d0``, ``s1`` …: float registers set before the call and not read since.
    result : str
        ``x``, ``w``, ``d``, ``s``: how the result is read first; else ``unused``, ``unknown`` or
        ``returned``.
    """

    address: int
    callee: str
    receiver: str
    general: Mapping[int, Value]
    floats: tuple[str, ...]
    result: str


class Reader:
    """Reads the calls of one image: messages, and the imported C functions that are wanted."""

    def __init__(self, image: Image, functions: frozenset[str]) -> None:
        self._image = image
        self._decoder = Decoder(image)
        self._selectors = dict(selector_references(image))
        self._stubs = self._read_stubs()
        self._wanted = {f"symbol {name}" for name in functions}

    def calls(self) -> list[CallSite]:
        """Return every wanted call, in the order of the code.

        Functions are told apart by LC_FUNCTION_STARTS; where there is none, no call is found.
        """
        text = self._image.section("__text")
        if text is None:
            return []
        code = self._image.content(text)
        calls = _direct_calls(code, text.address)
        wanted = {
            address
            for address, callee in self._stubs.items()
            if callee in self._wanted
            or callee.startswith("selector ")
            or callee == f"symbol {SEND}"
        }
        sites = [place for place, target in calls if target in wanted]
        starts = [start for start in self._image.function_starts if _inside(start, text)]
        found: list[CallSite] = []
        for number in sorted({bisect.bisect_right(starts, site) - 1 for site in sites} - {-1}):
            end = starts[number + 1] if number + 1 < len(starts) else text.address + len(code)
            function = Function(list(self._decoder.between(starts[number], end)))
            flow = Flow(function, self._image, load=self._load, callee=self._callee)
            for place, state in flow.calls():
                callee = self._callee(function.code[place], state, function.index)
                if callee and (callee.startswith("selector ") or callee in self._wanted):
                    found.append(_site(function, place, callee, state))
        return found

    def _read_stubs(self) -> dict[int, str]:
        """Return what each stub leads to; the linker's stubs load a pointer and branch to it."""
        found = {}
        for name in ("__stubs", "__objc_stubs", "__auth_stubs"):
            section = self._image.section(name)
            if section is None or not section.offset:
                continue
            start: int | None = None
            state: State = {}
            selector = ""
            for entry in self._decoder.between(section.address, section.address + section.size):
                if entry.mnemonic in ("brk", "nop"):
                    continue
                if start is None:
                    start, state, selector = entry.address, {}, ""
                if entry.mnemonic in ("br", "b"):
                    found[start] = selector or _jump(entry, state)
                    start = None
                    continue
                step(state, entry, self._load)
                loaded = state.get("x1", _NOTHING).refers
                selector = loaded if loaded.startswith("selector ") else ""
        return found

    def _load(self, address: int) -> str:
        if address in self._selectors:
            return f"selector {self._selectors[address]}"
        if address in self._image.bound:
            return f"symbol {self._image.bound[address]}"
        return ""

    def _callee(self, entry: Instruction, state: State, index: Mapping[int, int]) -> str | None:
        """Return who is called, an empty string for someone unknown, ``None`` for no call."""
        if entry.mnemonic == "bl" or (
            entry.mnemonic == "b" and entry.number is not None and entry.number not in index
        ):
            callee = self._stubs.get(entry.number or 0, "")
        elif entry.mnemonic == "blr" or (entry.mnemonic == "br" and _jump(entry, state)):
            callee = _jump(entry, state)
        else:
            return None
        if callee == f"symbol {SEND}":
            chosen = state.get("x1", _NOTHING).refers
            return chosen if chosen.startswith("selector ") else UNREADABLE
        return callee


def selector_references(image: Image) -> Iterator[tuple[int, str]]:
    """Yield the address of each selector reference and the selector's name."""
    section = image.section("__objc_selrefs")
    if section is None or not section.offset:
        return
    for address in range(section.address, section.address + section.size, 8):
        target = image.pointer(address)
        name = image.text_at(target) if target is not None else None
        if name is not None:
            yield address, name


def _site(function: Function, place: int, callee: str, state: State) -> CallSite:
    entry = function.code[place]
    receiver = state.get("x0", _NOTHING).refers
    floats = [(number, state.get(f"v{number}")) for number in range(_ARGUMENTS)]
    return CallSite(
        address=entry.address,
        callee=callee,
        receiver=receiver if "_OBJC_CLASS_$_" in receiver else "",
        general={
            number: state[f"x{number}"] for number in range(_ARGUMENTS) if f"x{number}" in state
        },
        floats=tuple(
            f"{value.width}{number}"
            for number, value in floats
            if value is not None and not value.used and not value.inherited
        ),
        result="returned" if entry.branches else first_use(function.code, place + 1),
    )


def _jump(entry: Instruction, state: State) -> str:
    if entry.operands and entry.operands[0][0] == "reg":
        return state.get(register(entry.operands[0][1])[0], _NOTHING).refers
    return ""


def _direct_calls(code: bytes, address: int) -> list[tuple[int, int]]:
    """Return place and target of every ``bl`` and ``b``, whose offsets are 26 bits, signed."""
    import numpy as np

    words = np.frombuffer(code, dtype="<u4", count=len(code) // 4)
    opcode = words >> 26
    places = np.nonzero((opcode == 0x25) | (opcode == 0x05))[0]
    offsets = (words[places] & 0x3FFFFFF).astype(np.int64)
    offsets = np.where(offsets >= 1 << 25, offsets - (1 << 26), offsets)
    targets = (address + 4 * (places + offsets)).tolist()
    return list(zip((address + 4 * places).tolist(), targets, strict=True))


def _inside(address: int, section: Section) -> bool:
    return section.address <= address < section.address + section.size
