"""What a source tree of ONNX Runtime says about itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import SourceError
from ..recipe.build_flags import flags_of_script
from ..recipe.format import PlatformName
from .cmake import declared

# Newer versions have the arguments in a file of their own.
_SCRIPTS = ("tools/ci_build/build_args.py", "tools/ci_build/build.py")
_DEFINE = re.compile(r"-D(\w+)=(ON|OFF)?")
# Neither built for nor on; a tree that knows them asks for what no recipe of ours needs.
_ELSEWHERE = ("WIN32", "MSVC", "MINGW", "ANDROID", "IOS", "EMSCRIPTEN", "GDK_PLATFORM", "CYGWIN")


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A line of ``cmake/deps.txt``."""

    url: str
    sha1: str


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A dependency that a build asks for.

    ``content`` is CMake's name of it; ``pairs`` are the build machines and targets that ask,
    ``patches`` those of the tree that are applied, each with the pairs that apply it.
    """

    content: str
    pairs: frozenset[tuple[PlatformName, PlatformName]]
    patches: Mapping[str, frozenset[tuple[PlatformName, PlatformName]]]


@dataclass(frozen=True, kw_only=True)
class TreeFacts:
    """``script`` is the file that names build.py's ``flags``; ``cmake_minimum`` may be empty."""

    version: str
    archives: Mapping[str, Archive]
    script: str
    flags: tuple[str, ...]
    cmake_minimum: str


def read_tree(tree: Path) -> TreeFacts:
    """Read a tree.

    Raises
    ------
    SourceError
        It lacks a file that ONNX Runtime's tree has.
    """
    lists = _text(tree / "cmake" / "CMakeLists.txt")
    cmake = re.search(r"cmake_minimum_required\s*\(\s*VERSION\s+([\d.]+)", lists, re.IGNORECASE)
    script = next((each for each in _SCRIPTS if (tree / each).exists()), _SCRIPTS[-1])
    return TreeFacts(
        version=_text(tree / "VERSION_NUMBER").strip(),
        archives=_archives(_text(tree / "cmake" / "deps.txt")),
        script=script,
        flags=flags_of_script(_text(tree / script)),
        cmake_minimum=cmake[1] if cmake else "",
    )


def asked_for(
    tree: Path,
    facts: TreeFacts,
    pairs: Sequence[tuple[PlatformName, PlatformName]],
    *,
    args: Sequence[str],
    defines: Mapping[str, bool | int | str],
) -> dict[str, Asked]:
    """Return the dependencies that a build may ask for, by their names in ``deps.txt``.

    ``pairs`` are the builds that there are, (build machine, target) each; ``args`` is what
    ``build.py`` is given, ``defines`` what CMake is told.
    """
    switches = _switches(tree / _SCRIPTS[-1], args) | {
        name: ("ON" if value else "OFF") if isinstance(value, bool) else str(value)
        for name, value in defines.items()
    }
    found: dict[str, Asked] = {}
    for host, target in pairs:
        known = _platform(host, target) | switches
        # build.py has a test of its own for it, of the processor, where it knows how not to.
        if "--no_kleidiai" in {*facts.flags} - {*args} and not target.endswith("x86_64"):
            known["onnxruntime_USE_KLEIDIAI"] = "ON"
        for content in declared(tree / "cmake", known):
            here = frozenset({(host, target)})
            before = found.get(content.dependency)
            patches = dict(before.patches if before else {})
            for file in content.patches:
                patches[file] = patches.get(file, frozenset()) | here
            asking = here | (before.pairs if before else frozenset())
            found[content.dependency] = Asked(content=content.name, pairs=asking, patches=patches)
    return found


def _platform(host: PlatformName, target: PlatformName) -> dict[str, str]:
    systems = {"linux": "Linux", "macos": "Darwin"}
    known = dict.fromkeys(_ELSEWHERE, "OFF") | {"UNIX": "ON", "Patch_FOUND": "ON"}
    for prefix, platform in (("CMAKE_HOST_", host), ("CMAKE_", target)):
        system, _, processor = platform.partition("-")
        known |= {f"{prefix}SYSTEM_NAME": systems[system], f"{prefix}SYSTEM_PROCESSOR": processor}
    mac, processor = target.startswith("macos"), target.partition("-")[2]
    return known | {
        "APPLE": "ON" if mac else "OFF",
        "CMAKE_HOST_APPLE": "ON" if host.startswith("macos") else "OFF",
        "CMAKE_CROSSCOMPILING": "ON" if host != target else "OFF",
        "onnxruntime_target_platform": processor,
    }


def _archives(text: str) -> dict[str, Archive]:
    rows = (line.split(";") for line in text.splitlines() if line and not line.startswith("#"))
    return {
        row[0].strip(): Archive(url=row[1].strip(), sha1=row[2].strip().lower())
        for row in rows
        if len(row) > 2
    }


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SourceError(
            f"the source tree has no {file.name} that can be read",
            hint="check that the repository and the tag are ONNX Runtime's",
            context={"file": str(file)},
        ) from error


def _switches(script: Path, args: Sequence[str]) -> dict[str, str]:
    """Return what ``build.py`` tells CMake for these arguments, as far as it says so plainly.

    Two forms count: ``"-DNAME=" + ("ON" if args.name else "OFF")``, and a ``-DNAME=ON`` below
    ``if args.name:``.
    """
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(_text(script))):
        match node:
            case ast.BinOp(
                left=ast.Constant(value=str(name)),
                right=ast.IfExp(
                    test=ast.Attribute(value=ast.Name(id="args"), attr=flag),
                    body=ast.Constant(value=str(given)),
                    orelse=ast.Constant(value=str(otherwise)),
                ),
            ) if define := _DEFINE.fullmatch(name):
                found[define[1]] = given if f"--{flag}" in args else otherwise
            case ast.If(test=ast.Attribute(value=ast.Name(id="args"), attr=flag), body=body) if (
                f"--{flag}" in args
            ):
                for each in (part for one in body for part in ast.walk(one)):
                    text = each.value if isinstance(each, ast.Constant) else None
                    define = _DEFINE.fullmatch(text) if isinstance(text, str) else None
                    if define and define[2]:
                        found[define[1]] = define[2]
    return found
