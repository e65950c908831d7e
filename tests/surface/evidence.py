"""Write what released wheels show about Apple's libraries: two tables and ``libc++.tbd``.

::

    python -m tests.surface.evidence wheels onnxruntime-1.21.0-….whl coremltools-9.0-….whl
    python -m tests.surface.evidence system --wheel OURS --official THEIRS numpy-1.26.4-….whl …
    python -m tests.surface.evidence stub usr/lib/libc++.tbd onnxruntime_pybind11_state.so ….dylib

The first prints the overlay's ``evidence.toml`` for the wheels. The second prints
``recipes/evidence/libsystem.toml``: what a built wheel needs and neither the official wheel nor the
overlay's table proves: symbols of libSystem, whose stub comes with the compiler. The third prints
a stub without what none of the files (objects and binaries of a whole build) wants, and with what
the binaries import or bind flat.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from build.errors import BuildError, WheelError
from tests.surface.stubs import Evidence, Stub, read_stub, read_stubs, stub_text
from tests.surface.symbols import FLAT, MachSymbols, read_file, read_symbols
from verify.errors import VerifyError
from verify.macho.binaries import read_binaries
from verify.macho.image import Image, MachOUnreadable, read_image
from verify.macho.published_symbols import TABLES, load_published
from verify.macho.symbols import official_imports, unproven

MINIMUM_OS = (13, 3)
SURFACE = Path(__file__).resolve().parents[2] / "recipes" / "overlays" / "apple"
_SUFFIXES = (".so", ".dylib")
_HEAD = """\
# Symbols that Apple's libraries are known to have on macOS 13.3: each is imported, from the library
# that heads its list, by a released arm64 binary that promises to run there. Only what the stubs
# list is here, and of that what no wheel above shows. Written by
# `python -m tests.surface.evidence wheels`.
"""
_SYSTEM_HEAD = """\
# Symbols of libSystem that a build imports and the official binaries do not: each is imported by a
# released arm64 binary that promises to run on macOS 13.3. Of each wheel only what no wheel above
# shows. Written by `python -m tests.surface.evidence system`.
"""


def read_wheel(path: Path, stubs: Iterable[Stub]) -> Evidence:
    """Return which symbols of some stubs a wheel's arm64 binaries import, from the same libraries.

    Raises
    ------
    WheelError
        It is no wheel, or holds no binary for arm64 macOS.
    """
    listed = {stub.install_name: stub.symbols for stub in stubs}
    found: dict[str, set[str]] = {library: set() for library in listed}
    oldest: list[str] = []
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(_SUFFIXES):
                    symbols = read_symbols(archive.read(name), name)
                    oldest.append(symbols.minimum)
                    _collect(symbols, found)
    except (OSError, zipfile.BadZipFile) as error:
        raise WheelError(f"{path} is no wheel: {error}", hint="name a .whl file") from error
    if not oldest:
        raise WheelError(f"{path.name} holds no binary", hint="name a wheel for macOS")
    return Evidence(
        file=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        minimum=max(oldest, key=lambda text: [int(part) for part in text.split(".")]),
        imports={name: frozenset(symbols & listed[name]) for name, symbols in found.items()},
    )


def _collect(symbols: MachSymbols, found: dict[str, set[str]]) -> None:
    for symbol, library in symbols.undefined.items():
        if library in found:
            found[library].add(symbol)


def evidence_text(wheels: Iterable[Evidence], *, head: str = _HEAD) -> str:
    """Return a table such as ``evidence.toml``, without what is shown twice."""
    lines, shown = [head], set[tuple[str, str]]()
    for wheel in wheels:
        lines += ["[[wheel]]", f'file = "{wheel.file}"', f'sha256 = "{wheel.sha256}"']
        lines += [f'minimum = "{wheel.minimum}"', "", "[wheel.imports]"]
        for library, symbols in sorted(wheel.imports.items()):
            fresh = sorted(s for s in symbols if (library, s) not in shown)
            shown |= {(library, symbol) for symbol in fresh}
            if fresh:
                lines += [f'"{library}" = [', *(f'  "{symbol}",' for symbol in fresh), "]"]
        lines.append("")
    return "\n".join(lines)


def prove(
    wanted: Iterable[tuple[str, str]], wheels: Iterable[Path]
) -> tuple[list[Evidence], set[tuple[str, str]]]:
    """Look in wheels, in this order, for binaries that prove imports.

    A binary proves one when it is for macOS 13.3 or older and imports the symbol from that very
    library without marking it weak: dyld would refuse it otherwise.

    Parameters
    ----------
    wanted : iterable of (str, str)
        Library and symbol.
    wheels : iterable of Path
        Released wheels.

    Returns
    -------
    proofs : list of Evidence
        The wheels that prove something, each with what none before it does.
    remaining : set of (str, str)
        What nothing proves.
    """
    remaining, proofs = set(wanted), []
    for path in wheels:
        shown: dict[str, set[str]] = {}
        minimum = (0, 0)
        for image in _old_enough(path):
            strong = {
                (library, symbol)
                for symbol, library in image.imports.items()
                if symbol not in image.weak_imports
            }
            for library, symbol in strong & remaining:
                shown.setdefault(library, set()).add(symbol)
                minimum = max(minimum, image.minimum_os)
            remaining -= strong
        if shown:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            imports = {library: frozenset(symbols) for library, symbols in shown.items()}
            oldest = ".".join(str(part) for part in minimum)
            proofs.append(Evidence(file=path.name, sha256=digest, minimum=oldest, imports=imports))
    return proofs, remaining


def _old_enough(wheel: Path) -> Iterator[Image]:
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(_SUFFIXES):
                try:
                    image = read_image(archive.read(name), name)
                except MachOUnreadable:
                    continue  # for another architecture
                if image.platform == "macOS" and image.minimum_os <= MINIMUM_OS:
                    yield image


def _print_system(wheel: Path, official: Path, wheels: Sequence[Path]) -> int:
    """Print ``libsystem.toml`` for a wheel; 1 when a symbol stays without proof."""
    proof = (
        official_imports(read_binaries(official)) | load_published(MINIMUM_OS, TABLES[:1]).keys()
    )
    wanted = {each for image in read_binaries(wheel).images for each in unproven(image, proof)}
    proofs, remaining = prove(wanted, wheels)
    sys.stdout.write(evidence_text(proofs, head=_SYSTEM_HEAD))
    for library, symbol in sorted(remaining):
        sys.stderr.write(f"nothing proves {symbol} of {library}\n")
    return 1 if remaining else 0


def _print_stub(stub: str, binaries: Sequence[Path]) -> None:
    old, read = read_stub(SURFACE / stub, SURFACE), map(read_file, binaries)
    wanted = {
        symbol
        for each in read
        for symbol, library in each.undefined.items()
        if library == old.install_name
        or (library == "" and symbol in old.symbols)
        or (library == FLAT and symbol.startswith("__Z") and "libc++" in old.file)
    }
    sys.stdout.write(stub_text(replace(old, symbols=frozenset(wanted))))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m tests.surface.evidence")
    modes = parser.add_subparsers(dest="mode", required=True)
    wheels = modes.add_parser("wheels", help="print evidence.toml")
    wheels.add_argument("wheel", type=Path, nargs="+")
    system = modes.add_parser("system", help="print recipes/evidence/libsystem.toml")
    system.add_argument("--wheel", type=Path, required=True, help="the wheel that was built")
    system.add_argument("--official", type=Path, required=True, help="the official macOS wheel")
    system.add_argument("evidence", type=Path, nargs="+", help="released wheels")
    stub = modes.add_parser("stub", help="print a stub that lists what binaries import")
    stub.add_argument("stub", help="the stub's file, relative to the surface")
    stub.add_argument("binary", type=Path, nargs="+")
    given = parser.parse_args(arguments)
    try:
        if given.mode == "system":
            return _print_system(given.wheel, given.official, given.evidence)
        if given.mode == "stub":
            _print_stub(given.stub, given.binary)
        else:
            stubs = read_stubs(SURFACE)
            sys.stdout.write(evidence_text(read_wheel(path, stubs) for path in given.wheel))
    except (BuildError, VerifyError) as error:
        sys.stderr.write(f"{error.problem}\n{error.hint}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
