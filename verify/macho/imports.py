"""``macho.imports``: every symbol that dyld must find, by library, beside the official binary.

An imported symbol that does not exist on the oldest macOS makes the whole image fail to load, on
that Mac and not here. So each needs a proof: the official binary of the same release imports it,
or another published wheel with no newer minimum does (``known_symbols.toml``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from .binaries import ROLES, Binaries
from .findings import Difference, Outcome, compare
from .image import DYNAMIC, Image
from .published_symbols import Known
from .wanted import official_symbols

CHECK = "macho.imports"
_PROVEN_ELSEWHERE = ("/usr/lib/libSystem.B.dylib", "/usr/lib/libc++.1.dylib")
_PYTHON = ("_Py", "__Py")
_HARDENING = {"___stack_chk_fail", "___stack_chk_guard", "___chkstk_darwin"}
"""What protected code calls; of libSystem, whose other symbols need not be the official ones."""
_CLASS = "_OBJC_CLASS_$_"


def imports(ours: Binaries, official: Binaries, known: Known) -> Outcome:
    """Compare imports; libSystem's and libc++'s need a proof, all others equality as well."""
    problems: list[str] = []
    differences: list[Difference] = []
    evidence: dict[str, Any] = {}
    proof = official_symbols(official)
    total = 0
    for role in ROLES:
        mine, theirs = ours.of(role), official.of(role)
        if mine is None or theirs is None:
            problems.append(f"there is no {role} to compare")
            continue
        total += len(mine.imports)
        found, proven = _judge(mine, proof, known)
        problems += [f"{mine.name}: {problem}" for problem in found]
        differences += compare(role, _apple(mine), _apple(theirs))
        both = mine.imports.keys() & theirs.imports.keys()
        differences += compare(
            role,
            (f"weak look-up of {symbol}" for symbol in both & mine.coalesced),
            (f"weak look-up of {symbol}" for symbol in both & theirs.coalesced),
        )
        evidence[role] = {
            "by_library": {
                "ours": _counts(mine),
                "official": _counts(theirs),
            },
            "apple": sorted(_apple(mine)),
            "proven_by_other_wheels": proven,
            "may_be_missing": sorted(mine.weak_imports),
            "look_ups": len([1 for library in mine.imports.values() if library == DYNAMIC]),
        }
    return Outcome(
        check=CHECK,
        compared=f"{total} imports known on macOS 13.3, frameworks and Python as in the official "
        "binaries",
        problems=problems,
        differences=differences,
        evidence=evidence,
    )


def _judge(
    image: Image, proof: Mapping[str, set[str]], known: Known
) -> tuple[list[str], dict[str, str]]:
    """Return broken rules, and the symbols that other wheels prove with the wheel's name."""
    problems, proven = [], {}
    linked = {library.name for library in image.libraries}
    for symbol, library in sorted(image.imports.items()):
        if library == DYNAMIC:
            continue  # compared name by name: nothing says which library it will be found in
        if library not in linked:
            problems.append(f"{symbol} is undefined: {library}")
        elif symbol in image.weak_imports:
            continue  # dyld gives a null pointer where it is missing
        elif symbol not in proof.get(library, set()):
            wheel = known.wheel_with(symbol, library)
            if wheel:
                proven[symbol] = wheel
            else:
                problems.append(f"nothing proves that {library} has {symbol} on macOS 13.3")
    problems += [
        f"binding and symbol table name different libraries for {symbol}"
        for symbol in image.disagreements
    ]
    return problems, proven


def _apple(image: Image) -> set[str]:
    """Return what must equal the official binary: frameworks, libobjc, libiconv, Python, hardening.

    Written as ``CoreML: class MLModel``.
    """
    return {
        f"{_short(library, symbol)}: {symbol.replace(_CLASS, 'class ', 1)}"
        for symbol, library in image.imports.items()
        if library not in _PROVEN_ELSEWHERE or symbol in _HARDENING
    }


def _short(library: str, symbol: str = "_Py") -> str:
    if library == DYNAMIC:
        return "Python" if symbol.startswith(_PYTHON) else "looked up everywhere"
    return library.rpartition("/")[2]


def _counts(image: Image) -> dict[str, int]:
    return dict(sorted(Counter(_short(library) for library in image.imports.values()).items()))
