"""``macho.exports``: what the wheel's binaries offer to others, beside the official ones."""

from __future__ import annotations

from typing import Any

from .binaries import Binaries, pairs
from .findings import Difference, Outcome, Role, compare

CHECK = "macho.exports"
ENTRY_POINTS: dict[Role, str] = {
    "extension": "_PyInit_onnxruntime_pybind11_state",
    "library": "_OrtGetApiBase",
}


def check_exports(ours: Binaries, official: Binaries) -> Outcome:
    """Compare the export tries, name by name, and with the symbol tables."""
    problems: list[str] = []
    differences: list[Difference] = []
    evidence: dict[str, Any] = {}
    for role, mine, theirs in pairs(ours, official, problems):
        if ENTRY_POINTS[role] not in mine.exports:
            problems.append(f"{mine.name} does not export {ENTRY_POINTS[role]}")
        for symbol in sorted(mine.exports ^ mine.external):
            where = "export trie" if symbol in mine.exports else "symbol table"
            problems.append(f"{mine.name}: {symbol} stands in the {where} alone")
        differences += compare(role, mine.exports, theirs.exports)
        evidence[role] = {"ours": sorted(mine.exports), "official": sorted(theirs.exports)}
    total = sum(len(image.exports) for image in ours.images)
    return Outcome(
        check=CHECK,
        compared=f"{total} exported symbols, the same as the official binaries'",
        problems=problems,
        differences=differences,
        evidence=evidence,
    )
