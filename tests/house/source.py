"""The modules of `build` and `verify` and what each imports, read with `ast` and never run."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path

PACKAGES = ("build", "verify")


class When(Enum):
    """When an import happens."""

    LOAD = "as the module is loaded"
    CALL = "inside a function"
    TYPES = "for the type checker alone"


@dataclass(frozen=True)
class Import:
    """One imported name: ``target`` is a module of ours where it is one, else as written."""

    source: str
    target: str
    line: int
    when: When

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


@dataclass(frozen=True)
class Module:
    """A file of Python and its dotted name (that of the folder for an ``__init__``)."""

    name: str
    file: Path
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed source."""
        return ast.parse(self.text, str(self.file))

    @property
    def is_folder(self) -> bool:
        """Whether this is the ``__init__`` of a folder."""
        return self.file.name == "__init__.py"

    @property
    def package(self) -> str:
        """`build` or `verify`."""
        return self.name.partition(".")[0]

    @property
    def room(self) -> str:
        """The folder directly under the package; a module beside it is a room of its own."""
        return ".".join(self.name.split(".")[:2])


@dataclass(frozen=True)
class House:
    """Both packages of one checkout."""

    root: Path

    @cached_property
    def modules(self) -> Mapping[str, Module]:
        """Every module by its dotted name."""
        found = {}
        for package in PACKAGES:
            for file in sorted((self.root / package).rglob("*.py")):
                parts = file.relative_to(self.root).with_suffix("").parts
                name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                found[name] = Module(name, file, file.read_text(encoding="utf-8"))
        return found

    @cached_property
    def imports(self) -> Mapping[str, tuple[Import, ...]]:
        """What each module imports, in the order of its source."""
        return {name: tuple(self._imports(module)) for name, module in self.modules.items()}

    def _imports(self, module: Module) -> Iterator[Import]:
        for node, when in _statements(module.tree, When.LOAD):
            for target in self._targets(module, node):
                yield Import(module.name, target, node.lineno, when)

    def _targets(self, module: Module, node: ast.AST) -> Iterator[str]:
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                base = node.module or ""
                if node.level:
                    parts = module.name.split(".")
                    kept = parts[: len(parts) - node.level + module.is_folder]
                    base = ".".join([*kept, *([node.module] if node.module else [])])
                for alias in node.names:
                    inner = f"{base}.{alias.name}"
                    yield inner if inner in self.modules else base
            case ast.Call(args=[ast.Constant(value=str(name)), *_]):
                yield name

    def edges(self, *moments: When) -> Mapping[str, frozenset[str]]:
        """Return which modules of ours each module names at one of these moments."""
        return {
            name: frozenset(
                each.target
                for each in found
                if each.when in moments and each.target in self.modules and each.target != name
            )
            for name, found in self.imports.items()
        }


def _statements(node: ast.AST, when: When) -> Iterator[tuple[ast.stmt | ast.Call, When]]:
    """Yield imports, and calls of ``import_module`` with a name written out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom) or (
            isinstance(child, ast.Call) and _last_name(child.func) == "import_module"
        ):
            yield child, when
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _statements(child, When.CALL if when is When.LOAD else when)
        elif isinstance(child, ast.If) and _last_name(child.test) == "TYPE_CHECKING":
            for each in child.body:
                yield from _statements(ast.Module([each], []), When.TYPES)
            for each in child.orelse:
                yield from _statements(ast.Module([each], []), when)
        else:
            yield from _statements(child, when)


def _last_name(node: ast.AST) -> str:
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return node.attr
    return ""


def circles(edges: Mapping[str, frozenset[str]]) -> list[list[str]]:
    """Return the groups of nodes that reach each other (Tarjan's components of two or more)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            place = stack.index(node)
            group = stack[place:]
            del stack[place:]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return sorted(found)
