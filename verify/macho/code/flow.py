"""What is known of the registers before each call of a function, whatever path leads there.

The usual forward data flow: a state for the start of each basic block, joined over the blocks
before it, until nothing changes. Landing pads have no block before them that the code shows; they
start with nothing but the registers that a call keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ..image import Image
from .instructions import Instruction
from .registers import Load, State, after_call, entry_state, join, kept_state, register, step

Callee = Callable[[Instruction, State, Mapping[int, int]], str | None]
_NO_RETURN = frozenset(
    f"symbol {name}"
    for name in (
        "_abort",
        "___cxa_throw",
        "___cxa_rethrow",
        "___cxa_bad_cast",
        "___stack_chk_fail",
        "__Unwind_Resume",
        "__ZSt9terminatev",
        "_objc_exception_throw",
    )
)
_TABLE_LOADS = {"ldrb": (1, False), "ldrh": (2, False), "ldrsw": (4, True)}
_LARGEST_TABLE = 1024
_FURTHEST = 24


class Function:
    """The instructions of one function, by number and by address."""

    def __init__(self, code: Sequence[Instruction]) -> None:
        self.code = code
        self.index = {entry.address: number for number, entry in enumerate(code)}

    def block_starts(self) -> set[int]:
        """Return the numbers of instructions that a branch leads to, or that follow one."""
        starts = {0} if self.code else set()
        for number, entry in enumerate(self.code):
            if not entry.branches:
                continue
            if number + 1 < len(self.code):
                starts.add(number + 1)
            if entry.number is not None and entry.number in self.index:
                starts.add(self.index[entry.number])
        return starts

    def after(self, number: int) -> list[int]:
        """Return the numbers of the instructions that may follow a branch."""
        entry, following = self.code[number], []
        if entry.number in self.index and entry.mnemonic not in ("brk", "udf"):
            following.append(self.index[entry.number])
        if entry.conditional and number + 1 < len(self.code):
            following.append(number + 1)
        return following


class Flow:
    """The data flow of one function; the image holds its jump tables.

    ``load`` says what an address of the image's tables holds, ``callee`` who an instruction calls;
    ``None`` for one that is no call.
    """

    def __init__(self, function: Function, image: Image, *, load: Load, callee: Callee) -> None:
        self._function = function
        self._image = image
        self._load = load
        self._callee = callee
        self._starts = function.block_starts()

    def calls(self) -> Iterator[tuple[int, State]]:
        """Yield each call's number with the state before it."""
        states = None
        while states is None:
            states = self._solve()
        for start in sorted(states):
            found: list[tuple[int, State]] = []
            self._block(start, dict(states[start]), found)
            yield from found

    def _solve(self) -> dict[int, State] | None:
        """Return the state at the start of each block, or ``None`` after finding more blocks."""
        states: dict[int, State] = {0: entry_state()} if self._function.code else {}
        queue = list(states)
        while True:
            while queue:
                state = dict(states[start := queue.pop()])
                following = self._block(start, state, None)
                if following is None:  # a jump that cannot be followed may go to any block
                    following, state = sorted(self._starts), kept_state()
                if not set(following) <= self._starts:
                    self._starts.update(following)
                    return None
                for block in following:
                    merged = join(states[block], state) if block in states else dict(state)
                    if states.get(block) != merged:
                        states[block] = merged
                        queue.append(block)
            rest = sorted(self._starts - states.keys())
            if not rest:
                return states
            states[rest[0]] = kept_state()
            queue.append(rest[0])

    def _block(
        self, number: int, state: State, found: list[tuple[int, State]] | None
    ) -> list[int] | None:
        """Carry ``state`` through one block; return the blocks after it, ``None`` for unknown."""
        code = self._function.code
        while number < len(code):
            entry = code[number]
            callee = self._callee(entry, state, self._function.index)
            if callee is not None:
                if found is not None:
                    found.append((number, dict(state)))
                if entry.branches or callee in _NO_RETURN:
                    return []
                changed = after_call(state)
                state.clear()
                state.update(changed)
            elif entry.mnemonic == "br":
                return self._table(number, state)
            elif entry.branches:
                return self._function.after(number)
            else:
                step(state, entry, self._load)
            number += 1
            if number in self._starts:
                return [number]
        return []

    def _table(self, number: int, state: State) -> list[int] | None:
        """Return where a jump through a table goes, ``None`` when the table cannot be read.

        The form is ``ldr{b,h,sw} xV, [xT, xI]``, ``add xJ, xB, xV, lsl #2`` (no shift for
        ``ldrsw``, whose entries are relative to the table), ``br xJ``; the bound is in the
        last comparison with a number before it.
        """
        before = self._function.code[max(0, number - _FURTHEST) : number]
        load = _last(before, lambda entry: entry.mnemonic in _TABLE_LOADS)
        add = _last(before, lambda entry: entry.mnemonic == "add")
        bound = _last(
            before, lambda entry: entry.mnemonic in ("cmp", "subs") and entry.number is not None
        )
        if load is None or add is None or bound is None or load.operands[1][0] != "mem":
            return None
        count = (bound.number or 0) + 1
        table = _address(state, load.operands[1][1])
        base = _base(before, state, add, load)
        where = self._image.offset(table) if table is not None else None
        if where is None or base is None or not 0 < count <= _LARGEST_TABLE:
            return None
        size, signed = _TABLE_LOADS[load.mnemonic]
        entries = [
            int.from_bytes(self._image.data[at : at + size], "little", signed=signed)
            for at in range(where, where + count * size, size)
        ]
        targets = {base + (entry if signed else entry << 2) for entry in entries}
        index = self._function.index
        return sorted(index[target] for target in targets) if targets <= index.keys() else None


def first_use(code: Sequence[Instruction], number: int) -> str:
    """Return how the result of a call is read first, on the straight path behind it.

    A copy is followed once, because a result is often moved out of the next call's way first.
    """
    wanted, copied = "x0", False
    for entry in code[number : number + _FURTHEST]:
        reads = [register(name) for name in entry.reads]
        floats = [width for key, width in reads if key == "v0" and not copied]
        general = [width for key, width in reads if key == wanted]
        if floats:
            return floats[0]
        if general and entry.mnemonic == "mov" and not copied and general[0] == "x":
            wanted, copied = register(entry.operands[0][1])[0], True
            continue
        if general:
            return general[0]
        if not copied and entry.mnemonic in ("bl", "blr"):
            return "x"
        if wanted in {register(name)[0] for name in entry.writes}:
            return "unused"
        if entry.mnemonic in ("b", "br", "ret", "brk"):
            return "unknown"
    return "unknown"


def _last(code: Sequence[Instruction], suits: Callable[[Instruction], bool]) -> Instruction | None:
    return next((entry for entry in reversed(code) if suits(entry)), None)


def _address(state: State, name: str) -> int | None:
    known = state.get(register(name)[0])
    if known is None or not known.address or known.numbers is None or len(known.numbers) != 1:
        return None
    return next(iter(known.numbers))


def _base(
    before: Sequence[Instruction], state: State, add: Instruction, load: Instruction
) -> int | None:
    """Return what a table's entries are added to: set by ``adr`` at the jump, or the table."""
    loaded = register(load.operands[0][1])[0]
    for operand in add.operands[1:]:
        if operand[0] != "reg" or register(operand[1])[0] == loaded:
            continue
        adr = [
            entry.number
            for entry in before
            if entry.mnemonic == "adr" and entry.operands[0] == operand
        ]
        return adr[-1] if adr else _address(state, operand[1])
    return None
