"""Text stubs of the Apple surface (.tbd): read, written and held beside what the objects want.

A stub names a library, by the path under which macOS finds it, and the symbols that the linker may
bind to it. The format is that of LLVM's TextAPI, version 4.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from build.errors import SourceError
from tests.surface.check import apple_symbols
from tests.surface.model import Surface
from tests.surface.symbols import FLAT, MachSymbols

EVIDENCE_FILE = "evidence.toml"
LIBCXX = "/usr/lib/libc++.1.dylib"
LIBOBJC = "/usr/lib/libobjc.A.dylib"
LIBSYSTEM = "/usr/lib/libSystem.B.dylib"
_CLASS = "_OBJC_CLASS_$_"
_WIDTH = 98
_LIST = re.compile(r"^\s+(symbols|weak-symbols|objc-classes):\s*\[(.*?)\]", re.S | re.M)
_FIELD = re.compile(
    r"^(install-name|current-version|compatibility-version):\s*'?([^'\n]+)'?$", re.M
)
# What Python's interpreter supplies at run time, by dynamic look-up.
_PYTHON = ("_Py", "__Py")


@dataclass(frozen=True, kw_only=True)
class Stub:
    """One library.

    Attributes
    ----------
    file : str
        The stub's file, relative to the surface.
    install_name : str
        Where macOS has the library.
    current, compatibility : str
        The library's versions.
    symbols : frozenset[str]
        Linker symbols, those of classes included (``_OBJC_CLASS_$_…``).
    weak : frozenset[str]
        Those among them that the library defines weakly, so that a program may replace them:
        ``operator new``, say. What binds to one asks all loaded libraries, not this one alone.
    head : tuple[str, ...]
        Comment lines.
    """

    file: str
    install_name: str
    current: str
    compatibility: str = "1"
    symbols: frozenset[str] = frozenset()
    weak: frozenset[str] = frozenset()
    head: tuple[str, ...] = ()


def read_stub(path: Path, surface: Path) -> Stub:
    """Return a stub as it stands in its file.

    Raises
    ------
    SourceError
        The file names no library.
    """
    text = path.read_text(encoding="utf-8")
    fields = dict(_FIELD.findall(text))
    if "install-name" not in fields:
        raise SourceError(f"{path} is no text stub: it has no install-name", hint="correct it")
    lists = {
        key: {item.strip().strip("'") for item in inside.split(",") if item.strip()}
        for key, inside in _LIST.findall(text)
    }
    classes = {f"{_CLASS}{name}" for name in lists.get("objc-classes", ())}
    return Stub(
        file=path.relative_to(surface).as_posix(),
        install_name=fields["install-name"],
        current=fields.get("current-version", "1"),
        compatibility=fields.get("compatibility-version", "1"),
        symbols=frozenset(lists.get("symbols", set()) | lists.get("weak-symbols", set()) | classes),
        weak=frozenset(lists.get("weak-symbols", ())),
        head=tuple(line[2:] for line in text.splitlines() if line.startswith("# ")),
    )


def read_stubs(surface: Path) -> list[Stub]:
    """Return all stubs of a surface, in the order of their paths."""
    return [read_stub(path, surface) for path in sorted(surface.rglob("*.tbd"))]


def stub_text(stub: Stub) -> str:
    """Return a stub as its file has it; equal stubs give equal bytes."""
    classes = sorted(s.removeprefix(_CLASS) for s in stub.symbols if s.startswith(_CLASS))
    weak = sorted(stub.weak & stub.symbols)
    plain = sorted(s for s in stub.symbols - stub.weak if not s.startswith(_CLASS))
    lines = ["--- !tapi-tbd", *(f"# {line}" for line in stub.head), "tbd-version:     4"]
    lines += ["targets:         [ arm64-macos ]", f"install-name:    '{stub.install_name}'"]
    lines.append(f"current-version: {stub.current}")
    if stub.compatibility != "1":
        lines.append(f"compatibility-version: {stub.compatibility}")
    if plain or weak or classes:
        lines += ["exports:", "  - targets:         [ arm64-macos ]"]
    lines += _wrapped("symbols:", plain) + _wrapped("weak-symbols:", weak)
    lines += _wrapped("objc-classes:", classes)
    return "\n".join([*lines, "..."]) + "\n"


def _wrapped(key: str, items: list[str]) -> list[str]:
    if not items:
        return []
    lines, line = [], f"    {key:<16} [ "
    indent = " " * len(line)
    for number, item in enumerate(items):
        quoted = f"'{item}'" if "$" in item else item
        word = quoted + (", " if number < len(items) - 1 else " ]")
        if len(line) + len(word.rstrip()) > _WIDTH and line.strip() not in ("", indent):
            lines.append(line.rstrip())
            line = indent
        line += word
    return [*lines, line.rstrip()]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A released wheel that shows which symbols a macOS has.

    Attributes
    ----------
    file, sha256 : str
        The wheel.
    minimum : str
        The oldest macOS that its binaries promise to run on.
    imports : Mapping[str, frozenset[str]]
        Symbols by the library that they are bound to; those of wheels listed earlier are left out.
    """

    file: str
    sha256: str
    minimum: str
    imports: Mapping[str, frozenset[str]]


def read_evidence(surface: Path) -> list[Evidence]:
    """Return the wheels in the surface's ``evidence.toml``."""
    data = tomllib.loads((surface / EVIDENCE_FILE).read_text(encoding="utf-8"))
    return [
        Evidence(
            file=each["file"], sha256=each["sha256"], minimum=each["minimum"],
            imports={name: frozenset(found) for name, found in each["imports"].items()},
        )
        for each in data["wheel"]
    ]  # fmt: skip


def check_stubs(
    surface: Surface,
    stubs: Iterable[Stub],
    objects: Iterable[MachSymbols],
    evidence: Iterable[Evidence],
    *,
    oldest: str = "13.3",
) -> list[str]:
    """Return what is wrong with the stubs, as sentences.

    The frameworks' stubs and libobjc's list exactly what the objects of the Apple sources refer
    to; every symbol of every stub is imported from the same library by a released wheel that runs
    on ``oldest``.

    Parameters
    ----------
    surface : Surface
        The declarations, which say what functions are Apple's.
    stubs, objects, evidence
        The stubs, the symbols of the compiled Apple sources, the released wheels.
    oldest : str
        The oldest macOS that the build promises.
    """
    stubs, objects, evidence = list(stubs), list(objects), list(evidence)
    wanted = apple_symbols(surface, objects)
    wanted |= {s for each in objects for s in each.undefined if s.startswith("_objc_")}
    exact = [each for each in stubs if "/Frameworks/" in each.install_name
             or each.install_name == LIBOBJC]  # fmt: skip
    listed = {symbol: each for each in exact for symbol in each.symbols}
    found = [f"no stub lists {symbol}, which an object wants" for symbol in
             sorted(wanted - set(listed))]  # fmt: skip
    found += [
        f"{listed[symbol].file} lists {symbol}, which no object wants"
        for symbol in sorted(set(listed) - wanted)
    ]
    for each in evidence:
        if _version(each.minimum) > _version(oldest):
            found.append(
                f"{each.file} runs on macOS {each.minimum} and later, which says nothing about "
                f"{oldest}"
            )
    for stub in stubs:
        known = frozenset[str]().union(
            *(each.imports.get(stub.install_name, frozenset()) for each in evidence)
        )
        found += [
            f"{stub.file} lists {symbol}, and no wheel in {EVIDENCE_FILE} shows that "
            f"{stub.install_name} has it"
            for symbol in sorted(stub.symbols - known)
        ]
    return found


def check_linked(
    stubs: Iterable[Stub], linked: Mapping[str, MachSymbols], objects: Iterable[MachSymbols] = ()
) -> list[str]:
    """Return what the linked binaries bind otherwise than the stubs say, as sentences.

    Parameters
    ----------
    stubs : Iterable[Stub]
        All stubs.
    linked : Mapping[str, MachSymbols]
        The binaries of one build, by name.
    objects : Iterable[MachSymbols]
        All objects of the build. The linker must find what they want even where it then leaves
        the code out, so a stub may list a symbol that an object wants and no binary imports.
    """
    found = []
    bound: dict[str, set[str]] = {}
    for name, each in linked.items():
        for symbol, library in sorted(each.undefined.items()):
            bound.setdefault(library, set()).add(symbol)
            if library == FLAT and not symbol.startswith(_PYTHON):
                found.append(
                    f"{name} looks for {symbol} in every library: no stub lists it, and it is not "
                    "Python's"
                )
    wanted = {symbol for each in objects for symbol in each.undefined}
    for stub in stubs:
        unused = stub.symbols - bound.pop(stub.install_name, set()) - wanted
        found += [
            f"{stub.file} lists {symbol}, which nothing in the build wants"
            for symbol in sorted(unused)
        ]
    for library in sorted(set(bound) - {FLAT, LIBSYSTEM}):
        if not library.startswith("@rpath/"):
            found.append(f"the binaries import from {library}, for which there is no stub")
    return found


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
