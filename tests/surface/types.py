"""Compare the surface's types with two records of what Apple declares.

The first, ``encodings.toml``, says what the documentation pages say; the second, ``oracle.toml``,
what the pyobjc wheels record from Apple's SDK. Neither is derived from the headers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from tests.surface.encodings import Signature, block_parts, plain
from tests.surface.model import Declaration, Surface
from tests.surface.records import ORACLE_FILE, TABLE_FILE, Oracle, Recorded, Table

_OWNERSHIP = re.compile(r"\b(_Nonnull|_Nullable|_Null_unspecified|__strong|__autoreleasing)\b")
_SPACE = re.compile(r"\s*([^\w\s])\s*|\s+")
# What pyobjc writes for C's truth values and for text, in the letters of Clang for arm64.
_SAME = {"Z": ("B",), "^t": ("*",)}
# In C, truth is an unsigned char as well, and any Core Foundation object is an Objective-C object.
_SAME_IN_C = {"Z": ("B", "C"), "@": ("@", "^v")}


def compare_documented(
    surface: Surface, encoded: Mapping[str, Signature], table: Table
) -> list[str]:
    """Return where the headers and the documentation differ, as sentences.

    Parameters
    ----------
    surface : Surface
        The declarations.
    encoded : Mapping[str, Signature]
        Clang's encodings of them.
    table : Table
        The documentation.
    """
    spelt = dict(_spelt(surface))
    found = []
    for name, (where, page, types) in spelt.items():
        row = table.rows.get(name)
        if row is None:
            found.append(f"{where}: {name} is declared and {TABLE_FILE} has no row for it")
            continue
        if page != row.page:
            found.append(f"{where}: {name} names the page {page!r}, {TABLE_FILE} {row.page!r}")
        method = name[0] in "+-"
        found += _differences(
            f"{where}: {name}", encoded[name].parts, row.encoding, "encoded", method=method
        )
        found += _differences(
            f"{where}: {name}", [_normal(t) for t in types], [_normal(t) for t in row.types],
            "spelt", method=False,
        )  # fmt: skip
    found += [
        f"{TABLE_FILE} has a row for {name}, which the surface does not declare"
        for name in sorted(set(table.rows) - set(spelt))
    ]
    return found + _constants(
        surface, {name: value for name, (_, value) in table.constants.items()}, TABLE_FILE,
        complete=True,
    )  # fmt: skip


def _constants(
    surface: Surface, known: Mapping[str, int], source: str, *, complete: bool
) -> list[str]:
    declared = {each.name: each for each in surface.of_kind("constant")}
    found = []
    for name, each in declared.items():
        if name not in known:
            found.append(f"{each.where}: {name} is declared and {source} does not know it")
        elif each.value != known[name]:
            found.append(f"{each.where}: {name} is {each.value}, and {known[name]} in {source}")
    if complete:
        found += [
            f"{source} has {name}, which the surface does not declare"
            for name in sorted(set(known) - set(declared))
        ]
    return found


def _spelt(surface: Surface) -> Iterator[tuple[str, tuple[str, str, Sequence[str]]]]:
    """Yield what the table has rows for: name, place, page and the types as they are written."""
    for each in surface.declarations:
        if each.kind in ("function", "type"):
            more = ("...",) if each.variadic else ()
            types = (each.result, *each.parameters, *more)
            yield each.name, (each.where, each.documentation, types)
        for selector in each.selectors:
            types = (each.result, *each.parameters)
            if each.kind == "property" and selector.endswith(":"):
                types = ("void", each.result)
            yield method_name(each, selector), (each.where, each.documentation, types)


def method_name(each: Declaration, selector: str) -> str:
    """Return ``-[Class selector]`` for a method, or for one accessor of a property."""
    return f"{'+' if each.class_level else '-'}[{each.owner} {selector}]"


def _differences(
    head: str, got: Sequence[str], wanted: Sequence[str], how: str, *, method: bool
) -> list[str]:
    hidden = 3 if method else 1
    if len(got) != len(wanted):
        return [
            f"{head} takes {max(len(got) - hidden, 0)} arguments, and "
            f"{max(len(wanted) - hidden, 0)} by its documentation page"
        ]
    return [
        f"{head}: {_part(place, hidden)} is {how} as {mine!r}, and as {page!r} by its "
        "documentation page"
        for place, (mine, page) in enumerate(zip(got, wanted, strict=True))
        if mine != page
    ]


def _part(place: int, hidden: int) -> str:
    return "the result" if place == 0 else f"argument {place - hidden + 1}"


def _normal(spelt: str) -> str:
    """Return a type without nullability and ownership, and with one way of spacing."""
    return _SPACE.sub(lambda m: m[1] or " ", _OWNERSHIP.sub("", spelt)).strip()


def compare_recorded(
    surface: Surface, encoded: Mapping[str, Signature], oracle: Oracle
) -> list[str]:
    """Return where the headers and pyobjc's records differ, as sentences."""
    found = _constants(surface, oracle.constants, ORACLE_FILE, complete=False)
    for name, recorded in {**oracle.functions, **oracle.methods}.items():
        mine = encoded.get(name)
        if mine is None:
            found.append(f"pyobjc records {name}, which the surface does not declare")
            continue
        found += _against(mine, recorded, method=name[0] in "+-")
    found += [
        f"{each.where}: pyobjc records no function {each.name}"
        for each in surface.of_kind("function")
        if each.name not in oracle.functions
    ]
    return found


def _against(mine: Signature, recorded: Recorded, *, method: bool) -> Iterator[str]:
    head, hidden = f"{mine.where}: {mine.name}", 3 if method else 1
    parts = [part for part in mine.parts if part != "..."]
    if recorded.variadic != ("..." in mine.parts):
        yield f"{head} and pyobjc differ in whether it takes any number of arguments"
    if not method and len(parts) != len(recorded.parts):
        yield f"{head} takes {len(parts) - 1} arguments, and {len(recorded.parts) - 1} in pyobjc"
        return
    for place in sorted({*recorded.parts, *recorded.blocks, *recorded.pointers}):
        what = _part(place, hidden)
        if place >= len(parts):
            yield f"{head} takes {len(parts) - hidden} arguments, and pyobjc records {what}"
            continue
        kind = recorded.parts.get(place)
        if kind is not None and not _same(parts[place], kind, in_c=not method):
            yield f"{head}: {what} is encoded as {parts[place]!r}, and as {kind!r} in pyobjc"
        if place in recorded.pointers and plain(parts[place])[0] not in "^*":
            yield f"{head}: {what} is no pointer ({parts[place]!r}), and is passed by reference"
        if place in recorded.blocks:
            yield from _block(head, what, parts[place], recorded.blocks[place])


def _block(head: str, what: str, part: str, wanted: Sequence[str]) -> Iterator[str]:
    inside = block_parts(part)
    if inside is None:
        yield f"{head}: {what} is no block ({part!r}), and is one in pyobjc"
        return
    mine = (inside[0], *inside[2:])
    if len(mine) != len(wanted) or not all(
        _same(a, b, in_c=False) for a, b in zip(mine, wanted, strict=True)
    ):
        yield (
            f"{head}: the block in {what} is {' '.join(mine)!r}, and {' '.join(wanted)!r} in pyobjc"
        )


def _same(mine: str, recorded: str, *, in_c: bool) -> bool:
    bare, wanted = plain(mine), plain(recorded)
    if in_c and wanted in _SAME_IN_C:
        return bare in _SAME_IN_C[wanted]
    return bare == wanted or bare in _SAME.get(wanted, ())
