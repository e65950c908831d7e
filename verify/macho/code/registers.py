"""A small abstract machine for arm64: what is known of each register before an instruction.

Only what leads to a call matters: addresses (``adrp``, ``add``), small numbers (``mov``, ``movk``,
``csel`` and its kin), loads from tables that the image itself fills, and copies. Everything else
sets a register to a value of which only the width is known. States of paths that meet are joined,
so that what is said of a register holds on every path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .instructions import Instruction

CALL_CLOBBERED = frozenset(
    [f"x{number}" for number in range(18)]
    + [f"v{number}" for number in (*range(8), *range(16, 32))]
)
_MASKS = {"x": 0xFFFF_FFFF_FFFF_FFFF, "w": 0xFFFF_FFFF}
_MOST_NUMBERS = 16
_ALIASES = {"fp": "x29", "lr": "x30", "ip0": "x16", "ip1": "x17"}
_VECTOR = "vqdshb"
_FRAMES = ("sp", "x29")
_SIZES = {"x": 8, "w": 4, "v": 16, "d": 8, "s": 4, "h": 2, "b": 1}


@dataclass(frozen=True, kw_only=True)
class Value:
    """What is known of one register.

    Parameters
    ----------
    width : str
        How it was last written: ``x`` 64 bits, ``w`` 32, ``d`` or ``s`` a float, ``v`` a vector.
    numbers : frozenset of int or None
        Every number it can be, or ``None`` when that is not known.
    address : bool
        Whether the numbers are addresses of this image.
    refers : str
        What was loaded: ``selector NAME`` or ``symbol NAME``, else empty.
    used : bool
        Whether an instruction other than a call has read it since.
    inherited : bool
        Whether it is the function's own argument, set by the caller or not.
    """

    width: str
    numbers: frozenset[int] | None = None
    address: bool = False
    refers: str = ""
    used: bool = False
    inherited: bool = False


State = dict[str, Value]
Load = Callable[[int], str]


def register(name: str) -> tuple[str, str]:
    """Return a register's key (``x3``, ``v0``, ``sp``, ``zr``) and the width that a name means."""
    name = _ALIASES.get(name, name).partition(".")[0]
    if name in ("sp", "wsp"):
        return "sp", "x"
    if name in ("xzr", "wzr"):
        return "zr", name[0]
    if name[:1] in ("x", "w") and name[1:].isdigit():
        return f"x{name[1:]}", name[0]
    if name[:1] in _VECTOR and name[1:].isdigit():
        return f"v{name[1:]}", "v" if name[0] in "vq" else name[0]
    return name, "x"


def entry_state() -> State:
    """Return the state at the start of a function: arguments may be there, the rest is kept."""
    state = {f"x{number}": Value(width="x", inherited=True) for number in range(9)}
    state |= {f"v{number}": Value(width="v", inherited=True) for number in range(8)}
    return state | kept_state()


def kept_state() -> State:
    """Return what holds at a place that no known path leads to, such as a landing pad."""
    return {f"x{number}": Value(width="x") for number in range(18, 31)}


def join(one: State, other: State) -> State:
    """Return what holds on both of two paths."""
    joined = {}
    for key in one.keys() & other.keys():
        a, b = one[key], other[key]
        if a == b:
            joined[key] = a
            continue
        numbers = None
        if a.numbers is not None and b.numbers is not None and a.address == b.address:
            union = a.numbers | b.numbers
            numbers = union if len(union) <= _MOST_NUMBERS else None
        joined[key] = Value(
            width=a.width if a.width == b.width else max(a.width, b.width),
            numbers=numbers,
            address=a.address and b.address,
            refers=a.refers if a.refers == b.refers else "",
            used=a.used or b.used,
            inherited=a.inherited or b.inherited,
        )
    return joined


def after_call(state: State) -> State:
    """Return the state behind a call: arguments are gone, ``x0`` holds a result."""
    left = {key: value for key, value in state.items() if key not in CALL_CLOBBERED}
    left["x0"] = Value(width="x", inherited=True)
    return left


def step(state: State, entry: Instruction, load: Load) -> None:
    """Change ``state`` in place by one instruction that is no call.

    ``load`` says what an address of the image's tables holds, or gives an empty string.
    """
    value = _result(state, entry.mnemonic, entry.operands, load)
    pair = _restored(state, entry)
    _spill(state, entry)
    for name in entry.reads:
        key, _ = register(name)
        if key in state and not state[key].used:
            state[key] = replace(state[key], used=True)
    for number, name in enumerate(entry.writes):
        key, width = register(name)
        if key == "zr":
            continue
        if key in _FRAMES:
            for slot in [slot for slot in state if slot.startswith(f"{key}:")]:
                del state[slot]
        first = number == 0 and entry.operands and entry.operands[0] == ("reg", name)
        state[key] = replace(value, width=width) if first and value else Value(width=width)
    for operand, kept in zip(entry.operands, pair, strict=False):
        if kept is not None:
            state[register(operand[1])[0]] = replace(kept, used=False)


def _spill(state: State, entry: Instruction) -> None:
    """Remember what is stored on the stack, as far as it refers to something.

    A selector that the compiler runs out of registers for is kept there. Only such values are
    followed: a number in a variable may be changed by whoever has the variable's address.
    """
    place = _on_stack(entry, ("str", "stur", "stp"))
    if place is None:
        return
    frame, displacement = place
    for operand in entry.operands[:-1]:
        key, width = register(operand[1])
        size = _SIZES.get(width, 8)
        for covered in range(displacement - 7, displacement + size):
            state.pop(f"{frame}:{covered}", None)
        value = state.get(key)
        if value is not None and value.refers:
            state[f"{frame}:{displacement}"] = value
        displacement += size


def _restored(state: State, entry: Instruction) -> list[Value | None]:
    """Return what a pair of loads from the stack brings back, register by register."""
    place = _on_stack(entry, ("ldp",))
    if place is None:
        return []
    frame, displacement = place
    return [state.get(f"{frame}:{displacement + 8 * number}") for number in range(2)]


def _on_stack(entry: Instruction, mnemonics: tuple[str, ...]) -> tuple[str, int] | None:
    """Return frame register and displacement of a load or store of these kinds."""
    if entry.mnemonic not in mnemonics or entry.operands[-1][0] != "mem":
        return None
    _, base, index, displacement = entry.operands[-1]
    frame = register(base)[0]
    return (frame, displacement) if frame in _FRAMES and not index else None


def _result(state: State, mnemonic: str, operands: Sequence[Any], load: Load) -> Value | None:
    """Return the value that the first operand gets, where more than its width is known."""
    if not operands or operands[0][0] != "reg":
        return None
    width = register(operands[0][1])[1]
    mask = _MASKS.get(width)
    if mask is None:
        return None
    given = [_value(state, operand, mask) for operand in operands[1:]]
    match mnemonic:
        case "adrp" | "adr":
            return Value(width=width, numbers=given[0].numbers, address=True)
        case "mov" if len(given) == 1:
            return replace(given[0], used=False, inherited=False)
        case "movz" | "movn":
            return given[0]
        case "movk":
            return _inserted(state.get(register(operands[0][1])[0]), operands[1], width)
        case "add" | "sub" if len(given) == 2 and operands[2][0] == "imm":
            sign = 1 if mnemonic == "add" else -1
            amount = next(iter(given[1].numbers or {0}))
            return _mapped(given[0], lambda number: (number + sign * amount) & mask)
        case "cset" | "csetm":
            return Value(width=width, numbers=frozenset({0, 1 if mnemonic == "cset" else mask}))
        case "csel":
            return _either(given[0], given[1])
        case "cinc":
            return _either(given[0], _mapped(given[0], lambda number: (number + 1) & mask))
        case "csinc":
            return _either(given[0], _mapped(given[1], lambda number: (number + 1) & mask))
        case "cinv":
            return _either(given[0], _mapped(given[0], lambda number: ~number & mask))
        case "csinv":
            return _either(given[0], _mapped(given[1], lambda number: ~number & mask))
        case "ldr" if operands[1][0] == "imm":  # relative to the instruction itself
            refers = load(operands[1][1])
            return Value(width=width, refers=refers) if refers else None
        case "ldr" | "ldur" if operands[1][0] == "mem":
            return _loaded(state, operands[1], width, load)
    return None


def _value(state: Mapping[str, Value], operand: Any, mask: int) -> Value:
    if operand[0] == "imm":
        return Value(width="x", numbers=frozenset({(operand[1] << operand[2]) & mask}))
    if operand[0] == "reg":
        key, width = register(operand[1])
        if key == "zr":
            return Value(width=width, numbers=frozenset({0}))
        return state.get(key, Value(width=width))
    return Value(width="x")


def _inserted(old: Value | None, operand: Any, width: str) -> Value:
    if old is None or old.numbers is None:
        return Value(width=width)
    bits, shift = operand[1], operand[2]
    hole = ~(0xFFFF << shift)
    return Value(width=width, numbers=frozenset(n & hole | bits << shift for n in old.numbers))


def _mapped(value: Value, change: Callable[[int], int]) -> Value:
    if value.numbers is None:
        return Value(width=value.width)
    numbers = frozenset(change(number) for number in value.numbers)
    return Value(width=value.width, numbers=numbers, address=value.address)


def _either(one: Value, other: Value) -> Value:
    return join({"x0": one}, {"x0": other})["x0"]


def _loaded(state: Mapping[str, Value], memory: Any, width: str, load: Load) -> Value | None:
    _, base, index, displacement = memory
    if register(base)[0] in _FRAMES and not index:
        return state.get(f"{register(base)[0]}:{displacement}")
    start = state.get(register(base)[0]) if base else None
    if index or start is None or start.numbers is None or len(start.numbers) != 1:
        return None
    refers = load(next(iter(start.numbers)) + displacement) if start.address else ""
    return Value(width=width, refers=refers) if refers else None
