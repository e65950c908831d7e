"""Hold the Apple surface beside what the sources use: all declared, once, and nothing more."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from tests.surface.model import Declaration, Surface
from tests.surface.symbols import MachSymbols
from tests.surface.uses import Use

_WORD = re.compile(r"[A-Za-z_]\w*")
_VERSION = re.compile(r"\d+\.\d+")
_CLASS = "_OBJC_CLASS_$_"
_STRINGS = "___CFConstantStringClassReference"


def check_declarations(surface: Surface) -> list[str]:
    """Return what is wrong with the declarations by themselves, as sentences.

    Each is declared once, names its documentation page (the path's last part is the declared name,
    and the part before it is the class), and its availability in the comment is that of the
    attribute.
    """
    found, first = [], dict[tuple[str, str, bool], Declaration]()
    for each in surface.declarations:
        kind = "member" if each.kind in ("method", "property") else "name"
        key = (kind, f"{each.owner} {each.member}" if kind == "member" else each.name,
               each.class_level)  # fmt: skip
        if key in first:
            found.append(
                f"{each.where}: {each.name} is declared twice, first at {first[key].where}"
            )
        first.setdefault(key, each)
        found += _documented(each)
    return found


def _documented(each: Declaration) -> list[str]:
    found, path = [], each.documentation.split(" > ")
    if not each.documentation:
        found.append(f"{each.where}: {each.name} names no documentation page")
    elif path[-1] != each.member:
        found.append(f"{each.where}: the documentation page of {each.name} ends in {path[-1]}")
    elif each.owner and (len(path) < 2 or path[-2] != each.owner):
        found.append(
            f"{each.where}: the documentation page of {each.name} is not below {each.owner}"
        )
    if not each.available:
        found.append(f"{each.where}: {each.name} has no API_AVAILABLE(macos(…))")
    elif not _VERSION.fullmatch(each.stated):
        found.append(f"{each.where}: {each.name} does not say since which macOS it is available")
    elif each.stated != each.available:
        found.append(
            f"{each.where}: {each.name} says macOS {each.stated} and its attribute says "
            f"{each.available}"
        )
    return found


def check_uses(surface: Surface, uses: Iterable[Use]) -> list[str]:
    """Return the messages that nothing declares, and the declarations that nothing uses.

    A type in the signature of something used counts as used, a superclass as well, and a protocol
    when something used belongs to it or names it.
    """
    uses = list(uses)
    used, found = _used_directly(surface, uses)
    pending = list(used)
    by_name = {d.name: d for d in surface.of_kind("class", "protocol", "type")}
    while pending:
        each = pending.pop()
        words = {w for t in (each.result, *each.parameters) for w in _WORD.findall(t)}
        words |= {each.owner, *(each.bases if each.kind == "class" else ())}
        if each.kind == "class":
            words -= {b for b in each.bases if b in by_name and by_name[b].kind == "protocol"}
        for word in words:
            declared = by_name.get(word)
            if declared and declared not in used:
                used.add(declared)
                pending.append(declared)
    names = {(each.kind, each.name) for each in used}
    found += [
        f"{each.where}: {each.name} is declared and no source uses it"
        for each in surface.declarations
        if (each.kind, each.name) not in names
    ]
    return found


def _used_directly(surface: Surface, uses: Iterable[Use]) -> tuple[set[Declaration], list[str]]:
    plain = {d.name: d for d in surface.declarations if d.kind not in ("method", "property")}
    used, found = set[Declaration](), []
    for use in sorted(uses):
        if use.kind != "message":
            if use.name in plain:
                used.add(plain[use.name])
            continue
        declared = surface.find(use.receiver, use.name, class_level=use.class_level)
        if declared:
            used |= {declared}
        elif use.name not in surface.runtime_selectors:
            sign = "+" if use.class_level else "-"
            found.append(
                f"{use.source} sends {sign}[{use.receiver or 'id'} {use.name}], which the surface "
                "does not declare"
            )
        if use.class_level and use.receiver in plain:
            used.add(plain[use.receiver])
    return used, found


def check_object(
    surface: Surface, source: str, uses: Collection[Use], symbols: MachSymbols
) -> list[str]:
    """Return what a compiled object refers to and the walk through its source did not find.

    This keeps the walk honest: a namespace in ``sources.toml`` that is too narrow, or a construct
    that the walk does not see, shows here.
    """
    names = {use.name for use in uses} | {use.receiver for use in uses}
    selectors = {use.name for use in uses if use.kind == "message"}
    found = [
        f"the object of {source} sends {selector}, which the walk through the source did not find"
        for selector in sorted(symbols.selectors - selectors)
    ]
    wanted = apple_symbols(surface, [symbols])
    for symbol in sorted(wanted):
        name = symbol.removeprefix(_CLASS) if symbol.startswith(_CLASS) else symbol[1:]
        if symbol != _STRINGS and name not in names:
            found.append(
                f"the object of {source} refers to {name}, which the walk through the source did "
                "not find"
            )
    return found


def apple_symbols(surface: Surface, objects: Iterable[MachSymbols]) -> set[str]:
    """Return the symbols of Apple's frameworks that objects want."""
    functions = {f"_{each.name}" for each in surface.of_kind("function")} | {_STRINGS}
    return {
        symbol
        for each in objects
        for symbol in each.undefined
        if symbol in functions or symbol.startswith("_OBJC_")
    }


def check_availability(surface: Surface, minimum: str) -> list[str]:
    """Return a sentence for each declaration newer than the oldest macOS that is built for.

    The sources may guard such a use with ``@available``; here is none, and a new one is to be
    looked at.
    """
    oldest = _version(minimum)
    return [
        f"{each.where}: {each.name} is available since macOS {each.available}, and the wheel "
        f"promises {minimum}"
        for each in surface.declarations
        if each.available and _version(each.available) > oldest
    ]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def summary(surface: Surface) -> Mapping[str, int]:
    """Return how many declarations there are of each kind."""
    counts: dict[str, int] = {}
    for each in surface.declarations:
        counts[each.kind] = counts.get(each.kind, 0) + 1
    return counts
