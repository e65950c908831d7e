"""Which symbols of the system a published wheel shows to exist on a macOS.

A wheel proves a symbol for the macOS that its arm64 code asks for, and for newer ones, when it
imports the symbol from that very library without marking it weak: dyld would refuse it otherwise.
Two tables of one format list such wheels: the Apple overlay's says what its stubs may list, the
other one what a build needs of libSystem, whose stub comes with the compiler.
``python -m tests.surface.evidence`` writes both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..program import recipes_folder

TABLES = tuple(
    recipes_folder() / table
    for table in ("overlays/apple/evidence.toml", "evidence/libsystem.toml")
)


@dataclass(frozen=True, kw_only=True)
class PublishedWheel:
    """A wheel of a table; ``minimum`` is the oldest macOS that its binaries ask for, ``13.3``.

    ``imports`` maps a library to the symbols that no wheel before it shows.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic, not a field

    file: str
    sha256: str
    minimum: str
    imports: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class _Table:
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic, not a field

    wheel: tuple[PublishedWheel, ...]


def load_published(
    oldest: tuple[int, int], paths: Iterable[Path] = TABLES
) -> dict[tuple[str, str], str]:
    """Return library and symbol to the name of the wheel that proves it for a macOS.

    Raises
    ------
    PolicyError
        When a table has mistakes.
    """
    from ..policy import strict

    found: dict[tuple[str, str], str] = {}
    for path in paths:
        data = strict.read_toml(path, what="table of published symbols")
        for wheel in strict.load(_Table, data, where=f"The table {path.name}").wheel:
            if tuple(int(part) for part in wheel.minimum.split(".")) > oldest:
                continue
            for library, symbols in wheel.imports.items():
                for symbol in symbols:
                    found.setdefault((library, symbol), wheel.file)
    return found
