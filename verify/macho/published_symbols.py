"""Which symbols of the system a published wheel imports on macOS 13.3 or older.

``known_symbols.toml`` holds only the symbols that a build needed and that the official binary does
not import, each with the wheel that proves it.
``python -m verify.macho.published_symbols --wheel FILE.whl`` writes it again: it fetches the
wheels named in the table (or reads ``--evidence`` files) and keeps
what is needed. A wheel proves a symbol when its arm64 code says minimum macOS 13.3 or older and
imports the symbol from that very library without marking it weak: dyld would refuse it otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import VerifyError

TABLE = Path(__file__).with_name("known_symbols.toml")
_OLDEST = (13, 3)


@dataclass(frozen=True, kw_only=True)
class Witness:
    """One symbol, its library, and the wheel that imports it."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic, not a field

    symbol: str
    library: str
    wheel: str
    file: str


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A wheel of the table: its file name and what pins it."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic, not a field

    file: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Known:
    """The content of ``known_symbols.toml``."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic, not a field

    schema: Literal[1]
    wheel: tuple[Proof, ...] = ()
    symbol: tuple[Witness, ...] = ()

    def wheel_with(self, symbol: str, library: str) -> str:
        """Return the wheel that proves a symbol, or an empty string."""
        for entry in self.symbol:
            if entry.symbol == symbol and entry.library == library:
                return entry.wheel
        return ""


def load_known(path: Path = TABLE) -> Known:
    """Read the table strictly.

    Raises
    ------
    PolicyError
        When it has mistakes.
    """
    from ..policy import strict

    data = strict.read_toml(path, what="table of known symbols")
    return strict.load(Known, data, where=f"The table {path.name}")


def gather(
    needed: Mapping[str, set[str]], evidence: Sequence[Path]
) -> tuple[list[Proof], list[Witness], dict[str, set[str]]]:
    """Look for proofs of symbols in wheels.

    Parameters
    ----------
    needed : Mapping[str, set of str]
        Library to symbols.
    evidence : sequence of Path
        Wheels, asked in this order.

    Returns
    -------
    proofs : list of Proof
        The wheels that proved something.
    witnesses : list of Witness
        One per symbol that was proven.
    open : dict
        What nothing proved, as ``needed``.
    """
    remaining = {library: set(symbols) for library, symbols in needed.items()}
    proofs: list[Proof] = []
    witnesses: list[Witness] = []
    for path in evidence:
        found = [
            Witness(symbol=symbol, library=library, wheel=path.name, file=file)
            for file, symbol, library in _strong_imports(path)
            if symbol in remaining.get(library, ())
        ]
        kept = {(entry.library, entry.symbol): entry for entry in reversed(found)}
        for library, symbol in kept:
            remaining[library].discard(symbol)
        if kept:
            witnesses += kept.values()
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            proofs.append(Proof(file=path.name, sha256=digest))
    witnesses.sort(key=lambda entry: (entry.library, entry.symbol))
    return proofs, witnesses, {name: rest for name, rest in remaining.items() if rest}


def render(proofs: Sequence[Proof], witnesses: Sequence[Witness]) -> str:
    """Return the table as TOML."""
    lines = [
        "# Symbols of the system that a build imports and the official binaries do not,",
        "# each with a published wheel that imports it on macOS 13.3 or older.",
        "# Written by `python -m verify.macho.published_symbols`; see that module.",
        "schema = 1",
    ]
    for proof in proofs:
        lines += ["", "[[wheel]]", f'file = "{proof.file}"', f'sha256 = "{proof.sha256}"']
    for entry in witnesses:
        lines += [
            "",
            "[[symbol]]",
            f'symbol = "{entry.symbol}"',
            f'library = "{entry.library}"',
            f'wheel = "{entry.wheel}"',
            f'file = "{entry.file}"',
        ]
    return "\n".join(lines) + "\n"


def _strong_imports(wheel: Path) -> Iterator[tuple[str, str, str]]:
    from .image import MachOUnreadable, read_image

    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if not name.endswith((".so", ".dylib")):
                continue
            try:
                image = read_image(archive.read(name), name)
            except MachOUnreadable:
                continue
            if image.platform != "macOS" or image.minimum_os > _OLDEST:
                continue
            for symbol, library in image.imports.items():
                if symbol not in image.weak_imports:
                    yield name, symbol, library


def main(argv: list[str] | None = None) -> int:
    """Write the table for a wheel; 1 when a symbol stays without proof."""
    parser = argparse.ArgumentParser(
        prog="python -m verify.macho.published_symbols", description=__doc__
    )
    parser.add_argument("--wheel", type=Path, required=True, help="the wheel that was built")
    parser.add_argument("--official", type=Path, required=True, help="the official macOS wheel")
    parser.add_argument(
        "--evidence", type=Path, nargs="+", required=True, metavar="WHEEL", help="published wheels"
    )
    parser.add_argument("--output", type=Path, default=TABLE, help="default: %(default)s")
    options = parser.parse_args(argv)
    from .binaries import read_binaries
    from .wanted import needed

    wanted = needed(read_binaries(options.wheel), read_binaries(options.official))
    proofs, witnesses, remaining = gather(wanted, options.evidence)
    options.output.write_text(render(proofs, witnesses), encoding="utf-8")
    print(f"{len(witnesses)} symbols proven by {len(proofs)} wheels")
    for library, symbols in remaining.items():
        for symbol in sorted(symbols):
            print(f"nothing proves {symbol} of {library}", file=sys.stderr)
    return 1 if remaining else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VerifyError as error:
        print(f"{error.title}: {error.problem}", file=sys.stderr)
        sys.exit(error.exit_code)
