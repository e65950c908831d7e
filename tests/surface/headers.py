"""Read what the Apple surface declares, out of Clang's syntax tree of its headers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from build.errors import SourceError
from tests.surface.clang import Node, SurfaceCompiler, umbrella
from tests.surface.model import Declaration, Surface

OBJECTIVE_CXX = ("-x", "objective-c++", "-std=gnu++20", "-fobjc-arc", "-")
_AVAILABLE = re.compile(r"API_AVAILABLE\(macos\(([\d.]+)\)\)")
_STATED = re.compile(r"^\s*(Documentation|Availability):\s*(.*?)\s*$")
_MACRO = re.compile(r"\bAPI_AVAILABLE\([^()]*\([^()]*\)\)\s*")
# A struct that is only named, or that has its name from a typedef, says nothing by itself.
_SILENT = ("CXXRecordDecl", "RecordDecl", "EmptyDecl")
_OWNERS = {"ObjCInterfaceDecl": "class", "ObjCProtocolDecl": "protocol"}


@dataclass
class _Place:
    """Where the dump is: a file and a line are printed only when they change."""

    file: str = ""
    line: int = 0

    def see(self, location: Node) -> None:
        for key, value in location.items():
            if key in ("spellingLoc", "expansionLoc", "begin", "end"):
                self.see(value)
            elif key == "file":
                self.file = value
            elif key == "line":
                self.line = value


@dataclass(frozen=True)
class _Seen:
    node: Node
    file: str
    line: int
    children: list[_Seen]


def read_surface(compiler: SurfaceCompiler) -> Surface:
    """Return what the headers of the surface declare.

    Raises
    ------
    ToolchainError
        Clang refuses a header.
    """
    text = umbrella(compiler.surface)
    return surface_from_tree(compiler.tree(OBJECTIVE_CXX, text=text), compiler.surface)


def surface_from_tree(tree: list[Node], surface: Path) -> Surface:
    """Return the declarations in a syntax tree whose files lie in ``surface``."""
    texts: dict[str, bytes] = {}
    found: list[Declaration] = []
    place, runtime = _Place(), set[str]()
    for document in tree:
        for child in _located(document, place).children:
            if child.file.startswith(f"{surface.as_posix()}/"):
                found += _declarations(child, surface, texts)
            else:
                runtime |= _runtime(child)
    # `typedef enum X : T {…} X` is one declaration of X; the attribute stands on the typedef.
    named = {each.name for each in found if each.kind == "type" and each.result}
    kept = [d for d in found if d.kind != "type" or d.result or d.name not in named]
    return Surface(declarations=tuple(kept), runtime_selectors=frozenset(runtime))


def _runtime(seen: _Seen) -> set[str]:
    """Return the methods of NSObject, which the runtime's open header declares."""
    if seen.node["kind"] == "LinkageSpecDecl":
        return {name for child in seen.children for name in _runtime(child)}
    if seen.node.get("name") != "NSObject":
        return set()
    return {c.node["name"] for c in seen.children if "Method" in c.node["kind"]}


def _located(node: Node, place: _Place) -> _Seen:
    file, line, children = place.file, place.line, []
    for key, value in node.items():
        if key == "loc":
            place.see(value)
            file, line = place.file, place.line
        elif key == "range":
            place.see(value)
        elif key == "inner":
            children = [_located(child, place) for child in value if child]
    return _Seen(node, file, line, children)


def _text(seen: _Seen, texts: dict[str, bytes]) -> bytes:
    if seen.file not in texts:
        texts[seen.file] = Path(seen.file).read_bytes()
    return texts[seen.file]


def _offset(location: Node) -> int:
    inner: Node = location.get("expansionLoc", location)
    return int(inner.get("offset", 0))


def _is_definition(seen: _Seen, texts: dict[str, bytes]) -> bool:
    """Tell ``@interface X`` from ``@class X``: Clang's dump prints the same for both."""
    start = _offset(seen.node["range"]["begin"])
    return _text(seen, texts)[start:].lstrip().startswith((b"@interface", b"@protocol"))


def _bare(seen: _Seen, surface: Path, texts: dict[str, bytes], kind: str) -> Declaration:
    """Return what all kinds of declarations have in common."""
    name = seen.node.get("name", "")
    documentation, stated = _comment(seen)
    return Declaration(
        kind=kind,
        name=name,
        member=name,
        file=Path(seen.file).relative_to(surface).as_posix(),
        line=seen.line,
        documentation=documentation,
        stated=stated,
        available=_availability(seen, texts),
    )


def _declarations(seen: _Seen, surface: Path, texts: dict[str, bytes]) -> Iterator[Declaration]:
    node, kind = seen.node, seen.node["kind"]
    if kind in _OWNERS:
        if _is_definition(seen, texts):
            yield from _owner(seen, surface, texts)
    elif kind == "LinkageSpecDecl":
        for child in seen.children:
            yield from _declarations(child, surface, texts)
    elif kind == "FunctionDecl":
        yield replace(
            _bare(seen, surface, texts, "function"),
            result=_spelt(node["type"]).split("(", 1)[0].strip(),
            parameters=_parameters(seen),
            variadic=bool(node.get("variadic")),
        )
    elif kind == "TypedefDecl":
        yield replace(_bare(seen, surface, texts, "type"), result=_spelt(node["type"]))
    elif kind == "EnumDecl":
        if node.get("name"):
            yield _bare(seen, surface, texts, "type")
        for child in seen.children:
            if child.node["kind"] == "EnumConstantDecl":
                yield _constant(child, node.get("name", ""), surface, texts)
    elif kind not in _SILENT or (node.get("name") and node.get("completeDefinition")):
        raise SourceError(
            f"{seen.file}:{seen.line} declares a {kind}, which the surface's reader does not know",
            hint="teach tests/surface/headers.py to read it",
        )


def _owner(seen: _Seen, surface: Path, texts: dict[str, bytes]) -> Iterator[Declaration]:
    node = seen.node
    bases = [node["super"]["name"]] if "super" in node else []
    bases += [each["name"] for each in node.get("protocols", [])]
    params = [c.node["name"] for c in seen.children if c.node["kind"] == "ObjCTypeParamDecl"]
    yield replace(
        _bare(seen, surface, texts, _OWNERS[node["kind"]]),
        bases=tuple(bases),
        generics=tuple(params),
    )
    for child in seen.children:
        if child.node.get("isImplicit"):
            continue
        if child.node["kind"] == "ObjCMethodDecl":
            yield _method(child, node["name"], surface, texts)
        elif child.node["kind"] == "ObjCPropertyDecl":
            yield _property(child, node["name"], surface, texts)


def _method(seen: _Seen, owner: str, surface: Path, texts: dict[str, bytes]) -> Declaration:
    selector, class_level = seen.node["name"], not seen.node.get("instance", False)
    return replace(
        _bare(seen, surface, texts, "method"),
        name=f"{'+' if class_level else '-'}[{owner} {selector}]",
        owner=owner,
        class_level=class_level,
        result=_spelt(seen.node["returnType"]),
        parameters=_parameters(seen),
        selectors=(selector,),
    )


def _property(seen: _Seen, owner: str, surface: Path, texts: dict[str, bytes]) -> Declaration:
    name, writable = seen.node["name"], bool(seen.node.get("readwrite"))
    getter = seen.node.get("getter", {}).get("name", name)
    setter = f"set{name[0].upper()}{name[1:]}:"
    return replace(
        _bare(seen, surface, texts, "property"),
        name=f"{owner}.{name}",
        owner=owner,
        class_level=bool(seen.node.get("class")),
        result=_spelt(seen.node["type"]),
        selectors=(getter, setter) if writable else (getter,),
    )


def _constant(seen: _Seen, owner: str, surface: Path, texts: dict[str, bytes]) -> Declaration:
    values = [c.node["value"] for c in seen.children if c.node["kind"] == "ConstantExpr"]
    return replace(
        _bare(seen, surface, texts, "constant"),
        owner=owner,
        value=int(values[0]) if values else None,
    )


def _spelt(kind: Mapping[str, str]) -> str:
    """Return a type as it was written, without the macro that Clang counts as part of it."""
    return " ".join(_MACRO.sub("", kind["qualType"]).split())


def _parameters(seen: _Seen) -> tuple[str, ...]:
    return tuple(_spelt(c.node["type"]) for c in seen.children if c.node["kind"] == "ParmVarDecl")


def _comment(seen: _Seen) -> tuple[str, str]:
    """Return the documentation page and the macOS version that a comment states."""
    stated = {"Documentation": "", "Availability": ""}
    for comment in (child for child in seen.children if child.node["kind"] == "FullComment"):
        for paragraph in comment.children:
            for line in paragraph.children:
                match = _STATED.match(line.node.get("text", ""))
                if match:
                    stated[match[1]] = match[2]
    return stated["Documentation"], stated["Availability"].removeprefix("macOS ")


def _availability(seen: _Seen, texts: dict[str, bytes]) -> str:
    """Return the macOS version of the attribute; Clang's dump leaves it out, its place not."""
    for child in seen.children:
        if child.node["kind"] == "AvailabilityAttr":
            start = _offset(child.node["range"]["begin"])
            match = _AVAILABLE.match(_text(seen, texts)[start : start + 80].decode())
            if match:
                return match[1]
    return ""
