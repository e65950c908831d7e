"""Check the Apple surface against ONNX Runtime's sources, its documentation and pyobjc's records.

The surface, ``recipes/overlays/apple``, is a small SDK of our own: what the sources use, declared
from Apple's public documentation. Here are the two checks of it that need the compiler; what they
are made of stands in the modules beside this one. From the command line::

    python -m tests.surface --tree TREE [--linked BINARY…] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from build.errors import BuildError, ToolchainError, UsageError
from build.fetch.cache import default_cache_root
from tests.surface.check import (
    check_availability,
    check_declarations,
    check_object,
    check_uses,
    summary,
)
from tests.surface.clang import SurfaceCompiler, zig_compiler
from tests.surface.encodings import signatures
from tests.surface.headers import read_surface
from tests.surface.records import check_table, read_oracle, read_table
from tests.surface.stubs import check_linked, check_stubs, read_evidence, read_stubs
from tests.surface.symbols import MachSymbols, read_file
from tests.surface.types import compare_documented, compare_recorded
from tests.surface.uses import (
    AppleSource,
    Use,
    read_sources,
    read_uses,
    replaced_uses,
    unnamed_sources,
)

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
SURFACE = RECIPES / "overlays" / "apple"
PATCHES = RECIPES / "patches"
MINIMUM_MACOS = "13.3"
_COMPILE = (
    *("-O2", "-fno-sized-deallocation", "-c"),
    *("-Wno-everything", "-Werror=unguarded-availability"),
)


@dataclass(frozen=True, kw_only=True)
class SourceUses:
    """What one source uses, and what its object refers to."""

    source: AppleSource
    uses: frozenset[Use]
    symbols: MachSymbols


@dataclass(frozen=True, kw_only=True)
class SurfaceReport:
    """The outcome of both checks.

    Attributes
    ----------
    problems : tuple[str, ...]
        Sentences; empty where all is well.
    counts : Mapping[str, int]
        Declarations by kind, sources, and how many names pyobjc records.
    read : tuple[SourceUses, ...]
        What each source uses.
    """

    problems: tuple[str, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    read: tuple[SourceUses, ...] = ()


def find_zig(cache: Path, env: Mapping[str, str]) -> Path:
    """Return the program ``zig`` that the cross build unpacked, or that ORTMILL_ZIG names.

    Raises
    ------
    UsageError
        There is none.
    """
    named = env.get("ORTMILL_ZIG")
    if named:
        if not Path(named).is_file():
            raise UsageError(
                f"ORTMILL_ZIG names {named}, which is no file", hint="name the program zig itself"
            )
        return Path(named)
    found = sorted((cache / "toolchains").glob("*/ziglang/zig"), key=lambda p: p.stat().st_mtime)
    if not found:
        raise UsageError(
            "no cross compiler is unpacked yet",
            hint="`nox -s build -- --platform macos-arm64` unpacks it, or name a ziglang "
            "wheel's program with ORTMILL_ZIG",
        )
    return found[-1]


def find_tree(cache: Path) -> Path:
    """Return the tree of the last build for macOS; UsageError where there is none."""
    found = sorted((cache / "trees").glob("onnxruntime-*-macos-arm64"), key=_modified)
    if not found:
        raise UsageError(
            "there is no tree of a build for macOS",
            hint="run `nox -s build -- --platform macos-arm64` first, or name one with --tree",
        )
    return found[-1]


def _modified(path: Path) -> float:
    return path.stat().st_mtime


def linked_binaries(tree: Path) -> list[Path]:
    """Return the libraries of a finished build of a tree, none where it is not finished."""
    release = tree / "build" / "Release"
    found = [*release.glob("libonnxruntime.*.dylib"), *release.glob("onnxruntime_*.so")]
    return sorted(path for path in found if not path.is_symlink())


def read_all(compiler: SurfaceCompiler, sources: Sequence[AppleSource]) -> list[SourceUses]:
    """Compile the sources against the surface and return what they use.

    Raises
    ------
    ToolchainError
        A source does not compile: something that it uses is not declared, or it is newer than
        macOS 13.3 and not guarded.
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="ortmill-surface-") as folder:
        for source in sources:
            uses = read_uses(compiler, source)
            made = Path(folder) / "source.o"
            compiler.run([*_COMPILE, *source.arguments, "-o", str(made)])
            found.append(SourceUses(source=source, uses=frozenset(uses), symbols=read_file(made)))
    return found


def all_objects(tree: Path) -> list[Path]:
    """Return the object files of a tree that has been compiled."""
    return sorted((tree / "build").rglob("*.o"))


def check_read(
    *,
    compiler: SurfaceCompiler,
    read: Sequence[SourceUses],
    linked: Sequence[Path] = (),
    objects: Sequence[Path] = (),
) -> list[str]:
    """Return what is wrong with the surface, as sentences; an empty list where nothing is.

    Every class, selector, function and constant that the sources use is declared once, and nothing
    else is; each declaration names its documentation page and its availability; the stubs list
    exactly what the objects refer to.

    Parameters
    ----------
    compiler : SurfaceCompiler
        Clang, set up for the surface.
    read : sequence of SourceUses
        See :func:`read_all`.
    linked, objects : sequence of Path
        The binaries of a finished build, and all objects that they are of. With them the stub of
        libc++ is checked as well, which all objects share.
    """
    surface, stubs = read_surface(compiler), read_stubs(compiler.surface)
    found = check_declarations(surface) + check_availability(surface, MINIMUM_MACOS)
    uses = [use for each in read for use in each.uses]
    found += check_uses(surface, [*uses, *replaced_uses(PATCHES)])
    for each in read:
        found += check_object(surface, each.source.file.name, each.uses, each.symbols)
    found += check_stubs(
        surface, stubs, [each.symbols for each in read], read_evidence(compiler.surface),
        oldest=MINIMUM_MACOS,
    )  # fmt: skip
    if linked:
        named = {path.name: read_file(path) for path in linked}
        found += check_linked(stubs, named, [read_file(path) for path in objects])
    return found


def compare_types(compiler: SurfaceCompiler) -> list[str]:
    """Return where a declared type differs from what is known of Apple's, as sentences.

    Clang's type encoding of every method, function and type, the types as they are spelt, and every
    constant's value are held beside ``encodings.toml`` (the documentation) and ``oracle.toml``
    (pyobjc's records of the SDK).

    Raises
    ------
    BuildError
        The headers do not compile.
    """
    surface = read_surface(compiler)
    table = read_table(compiler.surface)
    slips = check_table(table)
    if slips:
        return slips
    encoded = signatures(compiler, surface)
    return [
        *compare_documented(surface, encoded, table),
        *compare_recorded(surface, encoded, read_oracle(compiler.surface)),
    ]


def report_surface(
    *, zig: Path, surface: Path, tree: Path, linked: Sequence[Path] = ()
) -> SurfaceReport:
    """Run both checks and count what they looked at; for the command line.

    Parameters
    ----------
    zig : Path
        The program ``zig`` of a ziglang wheel.
    surface : Path
        ``recipes/overlays/apple``, or a folder laid out in the same way.
    tree : Path
        A prepared and configured tree of ONNX Runtime.
    linked : Sequence[Path]
        The binaries of a finished build.
    """
    compiler, problems = zig_compiler(zig, surface), list[str]()
    try:
        problems += compare_types(compiler)
        read = read_all(compiler, read_sources(surface, tree))
        problems += unnamed_sources(surface, tree)
        objects = all_objects(tree) if linked else []
        problems += check_read(compiler=compiler, read=read, linked=linked, objects=objects)
    except ToolchainError as error:
        # A source that does not compile is a finding about the surface as any other.
        return SurfaceReport(problems=(*problems, error.problem))
    oracle, declared = read_oracle(surface), read_surface(compiler)
    counts = {
        **summary(declared),
        "sources": len(read),
        "recorded by pyobjc": len(oracle.constants) + len(oracle.functions) + len(oracle.methods),
    }
    return SurfaceReport(problems=tuple(problems), counts=counts, read=tuple(read))


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the repository's surface; 0 where it is in order, 1 where it is not."""
    parser = argparse.ArgumentParser(prog="nox -s surface --")
    parser.add_argument("--tree", type=Path, help="a tree configured for macOS; default: the last")
    parser.add_argument("--surface", type=Path, default=SURFACE, help="default: the repository's")
    parser.add_argument("--zig", type=Path, help="default: what a build unpacked into the cache")
    parser.add_argument("--linked", type=Path, nargs="*", default=[], help="binaries of a build")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    given = parser.parse_args(arguments)
    try:
        cache = default_cache_root(os.environ)
        tree = (given.tree or find_tree(cache)).resolve()
        report = report_surface(
            zig=given.zig or find_zig(cache, os.environ),
            surface=given.surface.resolve(),
            tree=tree,
            linked=given.linked or linked_binaries(tree),
        )
    except BuildError as error:
        sys.stderr.write(f"{error.problem}\n{error.hint}\n")
        return error.exit_code
    if given.json:
        outcome = {"problems": list(report.problems), "counts": dict(report.counts)}
        sys.stdout.write(json.dumps(outcome, indent=2) + "\n")
    else:
        lines = [f"{number} {kind}" for kind, number in report.counts.items()]
        sys.stderr.write("".join(f"{line}\n" for line in [*report.problems, ", ".join(lines)]))
    return 1 if report.problems else 0
