"""Which imported symbols need a proof of their own."""

from __future__ import annotations

from .binaries import Binaries


def official_symbols(official: Binaries) -> dict[str, set[str]]:
    """Return every symbol that the official binaries import, by library."""
    found: dict[str, set[str]] = {}
    for image in official.images:
        for symbol, library in image.imports.items():
            found.setdefault(library, set()).add(symbol)
    return found


def needed(ours: Binaries, official: Binaries) -> dict[str, set[str]]:
    """Return the symbols that need another proof than the official binaries, by library."""
    proof = official_symbols(official)
    found: dict[str, set[str]] = {}
    for image in ours.images:
        linked = {entry.name for entry in image.libraries}
        for symbol, library in image.imports.items():
            if (
                library in linked
                and symbol not in proof.get(library, set())
                and symbol not in image.weak_imports
            ):
                found.setdefault(library, set()).add(symbol)
    return found
