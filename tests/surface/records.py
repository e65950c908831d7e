"""What is known of Apple's types: the documentation's table and pyobjc's records."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.surface.encodings import split_encoding

TABLE_FILE = "encodings.toml"
ORACLE_FILE = "oracle.toml"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a documentation page says of one name."""

    page: str
    types: tuple[str, ...]
    encoding: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """The documentation, by name."""

    rows: Mapping[str, Row]
    constants: Mapping[str, tuple[str, int]]


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What pyobjc records of a method or function.

    Attributes
    ----------
    parts : Mapping[int, str]
        Encoded types by place: 0 the result, then the arguments, a method's first two being itself
        and the selector. Places that it says nothing about are left out.
    blocks : Mapping[int, tuple[str, ...]]
        A block's result and arguments, by the same places.
    pointers : tuple[int, ...]
        Places that it says are passed by reference.
    variadic : bool
        A function with ``...``.
    """

    parts: Mapping[int, str]
    blocks: Mapping[int, tuple[str, ...]]
    pointers: tuple[int, ...] = ()
    variadic: bool = False


@dataclass(frozen=True, kw_only=True)
class Oracle:
    """What the pyobjc wheels record, of the names in the table."""

    constants: Mapping[str, int]
    functions: Mapping[str, Recorded]
    methods: Mapping[str, Recorded]


def read_table(surface: Path) -> Table:
    """Return the surface's ``encodings.toml``."""
    data = tomllib.loads((surface / TABLE_FILE).read_text(encoding="utf-8"))
    rows = {
        name: Row(
            page=row["page"], types=tuple(row["types"]), encoding=tuple(row["encoding"].split())
        )
        for section in ("methods", "functions", "types")
        for name, row in data[section].items()
    }
    constants = {name: (row["page"], row["value"]) for name, row in data["constants"].items()}
    return Table(rows=rows, constants=constants)


def read_oracle(surface: Path) -> Oracle:
    """Return the surface's ``oracle.toml``."""
    data = tomllib.loads((surface / ORACLE_FILE).read_text(encoding="utf-8"))

    def recorded(row: Mapping[str, object]) -> Recorded:
        def places(key: str) -> Mapping[int, str]:
            found = row.get(key, {})
            return {int(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}

        pointers = row.get("pointers", [])
        return Recorded(
            parts=places("parts"),
            blocks={k: tuple(v.split()) for k, v in places("blocks").items()},
            pointers=tuple(pointers) if isinstance(pointers, list) else (),
            variadic=bool(row.get("variadic", False)),
        )

    return Oracle(
        constants=data["constants"],
        functions={name: recorded(row) for name, row in data["functions"].items()},
        methods={name: recorded(row) for name, row in data["methods"].items()},
    )


def check_table(table: Table) -> list[str]:
    """Return rows whose encoding is none, as sentences: a table with a slip proves nothing."""
    found = []
    for name, row in table.rows.items():
        try:
            whole = [split_encoding(part) for part in row.encoding if part != "..."]
        except ValueError as error:
            found.append(f"{TABLE_FILE}: {name}: {error}")
            continue
        if any(len(each) != 1 for each in whole):
            found.append(f"{TABLE_FILE}: {name}: a part of {row.encoding} is not one type")
        wanted = len(row.types) + (2 if name[0] in "+-" else 0)
        if len(row.encoding) != wanted:
            found.append(
                f"{TABLE_FILE}: {name} has {len(row.encoding)} encoded parts, not {wanted}"
            )
    return found
