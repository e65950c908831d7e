"""Write ``oracle.toml``: what the pyobjc wheels record of the names in the surface.

::

    python -m tests.surface.oracle pyobjc_framework_coreml-….whl pyobjc_framework_cocoa-….whl

pyobjc's ``_metadata.py`` files are generated from Apple's SDK by its authors. They are Python, and
are read here as text: nothing of them is run.
"""

from __future__ import annotations

import ast
import hashlib
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from build.errors import BuildError, WheelError
from tests.surface.encodings import split_encoding
from tests.surface.records import Recorded, Table, read_table

SURFACE = Path(__file__).resolve().parents[2] / "recipes" / "overlays" / "apple"
_METADATA = "_metadata.py"
# A 64-bit process on Apple silicon: which of two alternatives each of pyobjc's helpers returns.
_CHOICES = {"sel32or64": 1, "selAorI": 0}
_HEAD = """\
# What pyobjc records from Apple's SDK of the names in encodings.toml. Written by
# `python -m tests.surface.oracle`, from the files named here. Places are those of an encoding: 0 is
# the result; of a method 1 is the object and 2 the selector. Z is pyobjc's letter for BOOL, ^t for
# text. A protocol's methods stand under NSObject there and under the protocol here.
"""


@dataclass(frozen=True)
class Metadata:
    """One or more ``_metadata.py`` files, as they are written."""

    constants: dict[str, int] = field(default_factory=dict)
    functions: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    methods: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)


class _Resolve(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in _CHOICES:
            return node.args[_CHOICES[node.func.id]]
        return node


def read_metadata(text: str, into: Metadata) -> None:
    """Add what one ``_metadata.py`` records.

    Raises
    ------
    WheelError
        It is not written the way that pyobjc's are.
    """
    try:
        tree = _Resolve().visit(ast.parse(text))
    except SyntaxError as error:
        raise WheelError(f"a {_METADATA} of pyobjc is no Python: {error}", hint="") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if node.targets[0].id == "enums":
                into.constants.update(_enums(node.value))
            elif node.targets[0].id == "functions" and isinstance(node.value, ast.Dict):
                into.functions.update(ast.literal_eval(node.value))
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "r"
            and len(node.args) == 3
        ):
            owner, selector, facts = (ast.literal_eval(each) for each in node.args)
            into.methods[(owner.decode(), selector.decode())] = facts


def _enums(value: ast.expr) -> Iterator[tuple[str, int]]:
    for entry in ast.literal_eval(value).split("$"):
        name, at, number = entry.partition("@")
        if at and number.lstrip("-").isdigit():  # the others are floating-point constants
            yield name, int(number)


def _letters(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def recorded_function(entry: tuple[Any, ...]) -> Recorded:
    """Return a function's entry: an encoding, a docstring, and facts about single arguments."""
    facts = entry[2] if len(entry) > 2 else {}
    parts = split_encoding(_letters(entry[0]))
    return Recorded(
        parts=dict(enumerate(parts)), blocks={}, variadic=bool(facts.get("variadic", False))
    )


def recorded_method(facts: Mapping[str, Any], selector: str) -> Recorded:
    """Return a method's entry.

    Arguments beyond those of the selector are left out: pyobjc merges entries of several SDKs, and
    one or two of them name an argument that no version has.
    """
    last = 1 + selector.count(":")
    parts, blocks, pointers = {}, {}, []
    if "type" in facts.get("retval", {}):
        parts[0] = _letters(facts["retval"]["type"])
    for place, fact in facts.get("arguments", {}).items():
        if place > last:
            continue
        if "type" in fact:
            parts[place + 1] = _letters(fact["type"])
        if "callable" in fact:
            inside = fact["callable"]
            types = [_letters(inside["retval"]["type"])]
            types += [_letters(inside["arguments"][n]["type"])
                      for n in sorted(inside["arguments"]) if n > 0]  # fmt: skip
            blocks[place + 1] = tuple(types)
        if _letters(fact.get("type_modifier", "")) in ("o", "N", "n"):
            pointers.append(place + 1)
    return Recorded(parts=parts, blocks=blocks, pointers=tuple(pointers))


def select(metadata: Metadata, table: Table, protocols: Iterable[str]) -> str:
    """Return the lines of ``oracle.toml`` for the names of a table.

    Parameters
    ----------
    metadata : Metadata
        What the wheels record.
    table : Table
        The names that matter.
    protocols : Iterable[str]
        Which owners are protocols: pyobjc keeps their methods under NSObject.
    """
    protocols = set(protocols)
    lines = ["[constants]"]
    lines += [f"{n} = {metadata.constants[n]}" for n in table.constants if n in metadata.constants]
    lines += ["", "[functions]"]
    for name in table.rows:
        if name in metadata.functions:
            lines += ["", f"[functions.{name}]"]
            lines += _lines(recorded_function(metadata.functions[name]))
    lines += ["", "[methods]"]
    for name in table.rows:
        if name[0] not in "+-":
            continue
        owner, selector = name[2:-1].split(" ", 1)
        key = ("NSObject" if owner in protocols else owner, selector)
        if key in metadata.methods:
            written = _lines(recorded_method(metadata.methods[key], selector))
            if written:
                lines += ["", f'[methods."{name}"]', *written]
    return "\n".join(lines) + "\n"


def _lines(recorded: Recorded) -> list[str]:
    lines = []
    if recorded.parts:
        inside = ", ".join(f"{k} = '{v}'" for k, v in sorted(recorded.parts.items()))
        lines.append(f"parts = {{ {inside} }}")
    if recorded.blocks:
        inside = ", ".join(f"{k} = '{' '.join(v)}'" for k, v in sorted(recorded.blocks.items()))
        lines.append(f"blocks = {{ {inside} }}")
    if recorded.pointers:
        lines.append(f"pointers = {sorted(recorded.pointers)}")
    if recorded.variadic:
        lines.append("variadic = true")
    return lines


def oracle_text(wheels: Sequence[Path], table: Table, protocols: Iterable[str]) -> str:
    """Return ``oracle.toml`` for some wheels.

    Raises
    ------
    WheelError
        A file is no wheel of pyobjc.
    """
    metadata, lines = Metadata(), [_HEAD]
    for wheel in wheels:
        try:
            with zipfile.ZipFile(wheel) as archive:
                names = [name for name in archive.namelist() if name.endswith(f"/{_METADATA}")]
                for name in sorted(names):
                    read_metadata(archive.read(name).decode(), metadata)
        except (OSError, zipfile.BadZipFile) as error:
            raise WheelError(f"{wheel} is no wheel: {error}", hint="name a .whl file") from error
        if not names:
            raise WheelError(f"{wheel.name} holds no {_METADATA}", hint="is it pyobjc's?")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines += ["[[wheel]]", f'file = "{wheel.name}"', f'sha256 = "{digest}"', ""]
    return "\n".join(lines) + "\n" + select(metadata, table, protocols)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print ``oracle.toml`` for the wheels named on the command line."""
    given = [Path(each) for each in (sys.argv[1:] if arguments is None else arguments)]
    if not given:
        sys.stderr.write("usage: python -m tests.surface.oracle WHEEL…\n")
        return 2
    try:
        sys.stdout.write(oracle_text(given, read_table(SURFACE), protocol_names(SURFACE)))
    except BuildError as error:
        sys.stderr.write(f"{error.problem}\n{error.hint}\n")
        return error.exit_code
    return 0


def protocol_names(surface: Path) -> set[str]:
    """Return the protocols of the headers, by their text: Clang is not needed to write a record."""
    return {
        line.split()[1]
        for header in surface.rglob("*.h")
        for line in header.read_text(encoding="utf-8").splitlines()
        if line.startswith("@protocol ")
    }


if __name__ == "__main__":
    raise SystemExit(main())
