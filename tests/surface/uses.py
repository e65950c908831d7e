"""Find what ONNX Runtime's sources use of the Apple surface, in Clang's syntax trees of them."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from build.errors import SourceError
from build.tree.patch import parse_patch
from tests.surface.clang import Node, SurfaceCompiler

SOURCES_FILE = "sources.toml"
NINJA_FILE = "build/Release/build.ninja"
_INCLUDE = re.compile(r"^\s*#\s*(?:include|import)\s*<(\w+)/", re.M)
_WORD = re.compile(r"[A-Za-z_]\w*")
_TYPE_WORDS = frozenset({"const", "volatile", "id", "API_AVAILABLE", "macos"})
_KEPT_FLAGS = ("-D", "-I", "-std=", "-U")
_COMPILE = re.compile(r"build \S+: (?:C|CXX|OBJC|OBJCXX)_COMPILER__\S+ (\S+)")
_VARIABLE = re.compile(r"  (?:DEFINES|FLAGS|INCLUDES) = (.*)")

# Objective-C nodes that use nothing beyond what their children and their types say.
_PLAIN = frozenset(
    {
        "ObjCAutoreleasePoolStmt", "ObjCAvailabilityCheckExpr", "ObjCBoolLiteralExpr",
        "ObjCIndirectCopyRestoreExpr", "ObjCPropertyRefExpr", "ObjCSubscriptRefExpr",
        "ObjCBridgedCastExpr", "ObjCAtTryStmt", "ObjCAtCatchStmt", "ObjCAtThrowStmt",
        "ObjCObjectType", "ObjCObjectPointerType", "ObjCInterfaceType",
    }
)  # fmt: skip
_CLASS_MESSAGE = re.compile(rb"\[([A-Z]\w+) (\w+:)")
_ENUMERATION = "countByEnumeratingWithState:objects:count:"


@dataclass(frozen=True, kw_only=True)
class AppleSource:
    """A source that includes a header of Apple's frameworks, and how it is compiled.

    Attributes
    ----------
    file : Path
        The source.
    within : str
        A namespace that holds all of its code: Clang prints the tree of this alone.
    flags : tuple[str, ...]
        Macros, include folders and the language's version.
    """

    file: Path
    within: str
    flags: tuple[str, ...]

    @property
    def arguments(self) -> tuple[str, ...]:
        """Flags and file, for Clang; ARC as ONNX Runtime's CMake asks for."""
        arc = ("-fobjc-arc",) if self.file.suffix == ".mm" else ()
        return (*self.flags, *arc, str(self.file))


@dataclass(frozen=True, order=True, kw_only=True)
class Use:
    """One use: a message, a function, a constant or a type.

    Attributes
    ----------
    kind : str
        "message", "function", "constant" or "type".
    name : str
        A selector, or the name of the function, constant or type.
    receiver : str
        The static class or protocol that a message is sent to; "" for ``id``.
    class_level : bool
        A message to the class itself.
    source : str
        The file's name.
    """

    kind: str
    name: str
    receiver: str = ""
    class_level: bool = False
    source: str = ""


def read_sources(surface: Path, tree: Path, *, build: str = NINJA_FILE) -> list[AppleSource]:
    """Return the sources of an unpacked tree that use the surface, with their flags.

    Parameters
    ----------
    surface : Path
        The surface, whose ``sources.toml`` names the files.
    tree : Path
        A prepared and configured tree. One that was configured for another platform does not
        compile the Objective-C++ files; they then get the flags of the neighbour that
        ``sources.toml`` names.
    build : str
        Ninja's file, relative to the tree.

    Raises
    ------
    SourceError
        A file is missing, or its flags are.
    """
    named = tomllib.loads((surface / SOURCES_FILE).read_text(encoding="utf-8"))["source"]
    if not (tree / build).is_file():
        raise SourceError(
            f"{tree} has not been configured: it has no {build}",
            hint="build it first, with `nox -s build -- --platform macos-arm64`",
        )
    flags = ninja_flags((tree / build).read_text(encoding="utf-8"))
    found = []
    for entry in named:
        file, neighbour = tree / entry["file"], tree / entry["like"]
        if not file.is_file():
            raise SourceError(
                f"{entry['file']} is not in {tree}",
                hint=f"does {SOURCES_FILE} of the surface belong to this version?",
            )
        if str(file) not in flags and str(neighbour) not in flags:
            raise SourceError(
                f"nothing says how {entry['file']} is compiled",
                hint=f"{build} names neither it nor {entry['like']}",
            )
        # CMake asks for C++20 on macOS; a neighbour's flags may be another platform's.
        chosen = flags.get(str(file)) or (*flags[str(neighbour)], "-std=gnu++20")
        found.append(AppleSource(file=file, within=entry["within"], flags=chosen))
    return found


def unnamed_sources(surface: Path, tree: Path, *, build: str = NINJA_FILE) -> list[str]:
    """Return the compiled sources that include a framework and are not in ``sources.toml``.

    The answers are sentences, as those of the checks.
    """
    named = tomllib.loads((surface / SOURCES_FILE).read_text(encoding="utf-8"))["source"]
    frameworks = {path.stem for path in (surface / "System/Library/Frameworks").iterdir()}
    known = {tree / entry["file"] for entry in named}
    found = []
    for name in ninja_flags((tree / build).read_text(encoding="utf-8")):
        file = Path(name)
        if file in known or not file.is_file():
            continue
        included = set(_INCLUDE.findall(file.read_text(encoding="utf-8", errors="replace")))
        found += [
            f"{file.name} includes <{framework}/…>, and {SOURCES_FILE} does not name it"
            for framework in sorted(included & frameworks)
        ]
    return found


def ninja_flags(text: str) -> dict[str, tuple[str, ...]]:
    """Return the macros, include folders and language version of each source in a Ninja file."""
    found: dict[str, tuple[str, ...]] = {}
    source = ""
    for line in text.splitlines():
        match = _COMPILE.match(line)
        if match:
            source = match[1]
            found[source] = ()
        elif not line.startswith("  "):
            source = ""
        elif source and (variable := _VARIABLE.match(line)):
            found[source] += _kept(shlex.split(variable[1].replace("$$", "$")))
    return found


def _kept(words: list[str]) -> tuple[str, ...]:
    kept, place = [], 0
    while place < len(words):
        if words[place] == "-isystem" and place + 1 < len(words):
            kept += words[place : place + 2]
            place += 1
        elif words[place].startswith(_KEPT_FLAGS):
            kept.append(words[place])
        place += 1
    return tuple(kept)


def read_uses(compiler: SurfaceCompiler, source: AppleSource) -> set[Use]:
    """Return what one source uses, whichever declarations there are.

    Raises
    ------
    ToolchainError
        Clang refuses the source.
    SourceError
        It holds a construct of Objective-C that this walk does not know.
    """
    tree = compiler.tree(source.arguments, within=source.within)
    if not tree:
        raise SourceError(
            f"{source.file.name} has nothing in the namespace {source.within}",
            hint=f"correct `within` in {SOURCES_FILE}",
        )
    return set(uses_in_tree(tree, source.file.name))


def uses_in_tree(tree: Iterable[Node], source: str) -> Iterator[Use]:
    """Yield the uses in syntax trees; a name that is not Apple's is yielded as well."""
    for node in tree:
        kind = node.get("kind", "")
        for key in ("type", "returnType", "callReturnType", "argType"):
            if key in node:
                for word in type_words(node[key]):
                    yield Use(kind="type", name=word, source=source)
        if kind == "ObjCMessageExpr":
            yield _message(node, source)
        elif kind == "ObjCForCollectionStmt":
            collection = node["inner"][1]
            yield Use(
                kind="message", name=_ENUMERATION, receiver=_class(collection["type"]),
                source=source,
            )  # fmt: skip
        elif kind == "ObjCStringLiteral":
            yield Use(kind="type", name="NSString", source=source)
        elif kind == "DeclRefExpr":
            yield from _reference(node["referencedDecl"], source)
        elif kind.startswith("ObjC") and kind not in _PLAIN and not kind.endswith("Decl"):
            raise SourceError(
                f"{source} holds a {kind}, and the walk does not know what that uses",
                hint="teach tests/surface/uses.py what it uses, or list it as using nothing",
            )
        yield from uses_in_tree((child for child in node.get("inner", ()) if child), source)


def _message(node: Node, source: str) -> Use:
    if "classType" in node:
        receiver, class_level = node["classType"]["qualType"], True
        if node.get("receiverKind") == "super (class)":
            receiver = ""
    else:
        receiver, class_level = _class(node["inner"][0]["type"]) if node.get("inner") else "", False
    return Use(
        kind="message", name=node["selector"], receiver=_class_word(receiver),
        class_level=class_level, source=source,
    )  # fmt: skip


def _reference(declared: Node, source: str) -> Iterator[Use]:
    kinds = {"FunctionDecl": "function", "EnumConstantDecl": "constant", "VarDecl": "constant"}
    if declared["kind"] in kinds and declared.get("name"):
        yield Use(kind=kinds[declared["kind"]], name=declared["name"], source=source)


def _class(kind: Node) -> str:
    return _class_word(kind.get("desugaredQualType") or kind["qualType"])


def _class_word(spelt: str) -> str:
    """Return the class or the protocol of an object type: ``id<P>`` gives P, ``id`` gives ""."""
    protocol = re.search(r"\bid<(\w+)", spelt)
    if protocol:
        return protocol[1]
    words = [word for word in _WORD.findall(spelt) if word not in _TYPE_WORDS]
    return words[0] if words else ""


def type_words(kind: Node) -> set[str]:
    """Return the names in a type as it was written and as it resolves."""
    spelt = f"{kind.get('qualType', '')} {kind.get('desugaredQualType', '')}"
    return set(_WORD.findall(spelt)) - _TYPE_WORDS


def replaced_uses(patches: Path) -> list[Use]:
    """Return the messages to classes in what our patches replace: a build without one sends them.

    Parameters
    ----------
    patches : Path
        The folder of the recipes' patches.
    """
    return sorted(
        Use(
            kind="message",
            name=selector.decode(),
            receiver=receiver.decode(),
            class_level=True,
            source=file.name,
        )
        for file in patches.rglob("*.patch")
        for part in parse_patch(file.read_bytes())
        for hunk in part.hunks
        for line in set(hunk.old) - set(hunk.new)
        for receiver, selector in _CLASS_MESSAGE.findall(line)
    )
