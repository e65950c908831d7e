"""Write what released wheels show about Apple's libraries: ``evidence.toml`` and ``libc++.tbd``.

::

    python -m tests.surface.evidence wheels onnxruntime-1.21.0-….whl coremltools-9.0-….whl
    python -m tests.surface.evidence stub usr/lib/libc++.tbd onnxruntime_pybind11_state.so ….dylib

The first prints ``evidence.toml`` for the wheels, the second a stub without what none of the files
(objects and binaries of a whole build) wants, and with what the binaries import or bind flat.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from build.errors import BuildError, WheelError
from tests.surface.stubs import Evidence, Stub, read_stub, read_stubs, stub_text
from tests.surface.symbols import FLAT, MachSymbols, read_file, read_symbols

SURFACE = Path(__file__).resolve().parents[2] / "recipes" / "overlays" / "apple"
_SUFFIXES = (".so", ".dylib")
_HEAD = """\
# Symbols that Apple's libraries are known to have on macOS 13.3: each is imported, from the library
# that heads its list, by a released arm64 binary that promises to run there. Only what the stubs
# list is here, and of that what no wheel above shows. Written by
# `python -m tests.surface.evidence wheels`.
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


def evidence_text(wheels: Iterable[Evidence]) -> str:
    """Return ``evidence.toml``, without what is shown twice."""
    lines, shown = [_HEAD], set[tuple[str, str]]()
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m tests.surface.evidence")
    modes = parser.add_subparsers(dest="mode", required=True)
    wheels = modes.add_parser("wheels", help="print evidence.toml")
    wheels.add_argument("wheel", type=Path, nargs="+")
    stub = modes.add_parser("stub", help="print a stub that lists what binaries import")
    stub.add_argument("stub", help="the stub's file, relative to the surface")
    stub.add_argument("binary", type=Path, nargs="+")
    given = parser.parse_args(arguments)
    try:
        if given.mode == "wheels":
            stubs = read_stubs(SURFACE)
            sys.stdout.write(evidence_text(read_wheel(path, stubs) for path in given.wheel))
        else:
            old, read = read_stub(SURFACE / given.stub, SURFACE), map(read_file, given.binary)
            wanted = {
                symbol
                for each in read
                for symbol, library in each.undefined.items()
                if library == old.install_name
                or (library == "" and symbol in old.symbols)
                or (library == FLAT and symbol.startswith("__Z") and "libc++" in old.file)
            }
            sys.stdout.write(stub_text(replace(old, symbols=frozenset(wanted))))
    except BuildError as error:
        sys.stderr.write(f"{error.problem}\n{error.hint}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
