"""``macho.imports`` and ``macho.exports``: what dyld must find for a binary, and what it offers.

An imported symbol that does not exist on the oldest macOS makes the whole image fail to load, on
that Mac and not here. So each needs a proof: the official binary of the same release imports it, or
another published wheel with no newer minimum does (:mod:`verify.macho.published_symbols`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

from ..environment.promise import Promise
from ..policy.findings import Outcome, Role
from .binaries import Binaries, pairs, role_of
from .image import DYNAMIC, Image

IMPORTS, EXPORTS = "macho.imports", "macho.exports"
ENTRY_POINTS: dict[Role, str] = {
    "extension": "_PyInit_onnxruntime_pybind11_state",
    "library": "_OrtGetApiBase",
}
_PROVEN_ELSEWHERE = ("/usr/lib/libSystem.B.dylib", "/usr/lib/libc++.1.dylib")
_PYTHON = ("_Py", "__Py")
_HARDENING = {"___stack_chk_fail", "___stack_chk_guard", "___chkstk_darwin"}
"""What protected code calls; of libSystem, whose other symbols need not be the official ones."""
_CLASS = "_OBJC_CLASS_$_"


def check_imports(
    ours: Binaries,
    official: Binaries | None,
    published: Mapping[tuple[str, str], str],
    promise: Promise,
) -> Outcome:
    """Look for a proof of every import; note what the official binaries import otherwise."""
    found = Outcome(check=IMPORTS)
    # The official wheel of a version proves nothing about systems older than those it promises.
    oldest = promise.oldest or (0, 0)
    proof = official_imports(official) if official and _oldest(official) <= oldest else set()
    total = 0
    for image in ours.images:
        total += len(image.imports)
        broken, proven = _judge(image, proof, published, promise)
        found.add_problems(image.name, broken)
        found.evidence[image.name] = {
            "by_library": _counts(image),
            "proven_by_other_wheels": proven,
            "may_be_missing": sorted(image.weak_imports),
        }
    for role, mine, theirs in pairs(ours, official):
        found.compare(role, _apple(mine), _apple(theirs))
        both = mine.imports.keys() & theirs.imports.keys()
        found.compare(
            role,
            (f"weak look-up of {symbol}" for symbol in both & mine.coalesced),
            (f"weak look-up of {symbol}" for symbol in both & theirs.coalesced),
        )
        found.evidence[role] = {
            "by_library": {"ours": _counts(mine), "official": _counts(theirs)},
            "apple": sorted(_apple(mine)),
            "look_ups": len([1 for library in mine.imports.values() if library == DYNAMIC]),
        }
    return replace(found, compared=f"{total} imports known on macOS {promise.to_macos()}")


def official_imports(official: Binaries) -> set[tuple[str, str]]:
    """Return library and symbol of everything that the official binaries import."""
    return {
        (library, symbol) for image in official.images for symbol, library in image.imports.items()
    }


def _oldest(official: Binaries) -> tuple[int, int]:
    """Return the macOS that all of a wheel's binaries run on."""
    return max((image.minimum_os for image in official.images), default=(0, 0))


def unproven(image: Image, proof: AbstractSet[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return library and symbol of the imports that need another proof.

    A weak import needs none: dyld gives a null pointer where it is missing. What is looked up
    everywhere is compared name by name: nothing says which library it will be found in.
    """
    linked = {library.name for library in image.libraries}
    return {
        (library, symbol)
        for symbol, library in image.imports.items()
        if library in linked and symbol not in image.weak_imports
    } - proof


def _judge(
    image: Image,
    proof: AbstractSet[tuple[str, str]],
    published: Mapping[tuple[str, str], str],
    promise: Promise,
) -> tuple[list[str], dict[str, str]]:
    """Return what nothing proves, and the symbols that other wheels prove with the wheel's name."""
    problems, proven = [], {}
    open_ones = unproven(image, proof)
    for symbol, library in sorted(image.imports.items()):
        if (library, symbol) not in open_ones:
            continue
        if (library, symbol) in published:
            proven[symbol] = published[library, symbol]
        else:
            problems.append(
                f"nothing proves that {library} has {symbol} on macOS {promise.to_macos()}"
            )
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


def check_exports(ours: Binaries, official: Binaries | None) -> Outcome:
    """Look for the entry points, and hold export tries against symbol tables."""
    found = Outcome(check=EXPORTS)
    for image in ours.images:
        role = role_of(image.name)
        if role and ENTRY_POINTS[role] not in image.exports:
            found.problems.append(f"{image.name} does not export {ENTRY_POINTS[role]}")
        for symbol in sorted(image.exports ^ image.external):
            where = "export trie" if symbol in image.exports else "symbol table"
            found.problems.append(f"{image.name}: {symbol} stands in the {where} alone")
    for role, mine, theirs in pairs(ours, official):
        found.compare(role, mine.exports, theirs.exports)
        found.evidence[role] = {"ours": sorted(mine.exports), "official": sorted(theirs.exports)}
    total = sum(len(image.exports) for image in ours.images)
    return replace(found, compared=f"{total} exported symbols, the entry points among them")
