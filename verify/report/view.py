"""What the page shows of ``verify.json``: free-form evidence and facts as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..sentence import ended_once
from .document import CheckEntry, Document, Selection
from .text import bytes_text, objects, pretty, value_text

_MOST_ROWS = 20
_MOST_COLUMNS = 6
_ONE_LINE = 160


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One piece of evidence: a line of text, a block of text, or a small table."""

    name: str
    line: str = ""
    block: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    more: int = 0


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A name and a value; ``code`` values are set in a fixed-width face."""

    name: str
    text: str
    code: bool = False


def evidence_view(check: CheckEntry, *, drawn: tuple[str, ...] = ()) -> tuple[Evidence, ...]:
    """Turn free-form evidence into lines, small tables and blocks, without what is ``drawn``."""
    return tuple(
        _evidence(name, value) for name, value in check.evidence.items() if name not in drawn
    )


def _evidence(name: str, value: Any) -> Evidence:
    rows = objects(value)
    if rows and len(rows) == len(value):
        columns = tuple(dict.fromkeys(str(key) for row in rows for key in row))
        if len(columns) <= _MOST_COLUMNS:
            return _table(name, columns, [[row.get(key) for key in columns] for row in rows])
    if isinstance(value, Mapping) and value and all(_flat(item) for item in value.values()):
        columns = tuple(dict.fromkeys(str(key) for item in value.values() for key in item))
        if len(columns) < _MOST_COLUMNS:
            cells = [[key, *(item.get(one) for one in columns)] for key, item in value.items()]
            return _table(name, ("", *columns), cells)
    if isinstance(value, str) and ("\n" in value or len(value) > _ONE_LINE):
        return Evidence(name=name, block=pretty(value))
    line = value_text(value, room=_ONE_LINE + 1)
    nested = isinstance(value, list | Mapping)
    if nested and (len(line) > _ONE_LINE or _depth(value) > 1):
        return Evidence(name=name, block=pretty(value))
    return Evidence(name=name, line=line)


def _table(name: str, columns: tuple[str, ...], cells: list[list[Any]]) -> Evidence:
    return Evidence(
        name=name,
        columns=columns,
        rows=tuple(tuple(value_text(one, room=120) for one in row) for row in cells[:_MOST_ROWS]),
        more=max(0, len(cells) - _MOST_ROWS),
    )


def _flat(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and _depth(value) == 1


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, Mapping) else value
    if not isinstance(value, Mapping | list):
        return 0
    return 1 + max((_depth(item) for item in inner), default=0)


def host_facts(document: Document) -> tuple[Fact, ...]:
    """List what is known of the host; fields that this version does not know come last."""
    host = document.host
    extra = host.model_extra or {}
    return (
        Fact(name="Host", text=host.kind),
        Fact(name="Processor", text=value_text(host.cpu)),
        Fact(name="Cores", text=value_text(host.cores)),
        Fact(name="Memory", text=bytes_text(host.memory_bytes)),
        Fact(name="Frequency governor", text=value_text(host.governor)),
        Fact(name="Load at the start", text=_load(host.load)),
        Fact(name="System", text=value_text(host.os)),
        Fact(name="Python", text=value_text(host.python)),
        Fact(name="Fingerprint", text=host.fingerprint, code=True),
        *(Fact(name=key.replace("_", " "), text=value_text(item)) for key, item in extra.items()),
    )


def _load(averages: list[float] | None) -> str:
    return ", ".join(f"{each:.2f}" for each in averages) if averages else value_text(averages)


def wheel_facts(document: Document) -> tuple[Fact, ...]:
    """List what is known of the wheel."""
    wheel = document.wheel
    manifest = wheel.manifest_sha256
    return (
        Fact(name="File", text=wheel.file, code=True),
        Fact(name="Version", text=wheel.version, code=True),
        Fact(name="Size", text=bytes_text(wheel.size)),
        Fact(name="sha256", text=wheel.sha256, code=True),
        Fact(
            name="Manifest's sha256",
            text=manifest or "no manifest beside the wheel",
            code=manifest is not None,
        ),
    )


def facts(values: Mapping[str, Any]) -> tuple[Fact, ...]:
    """List values by their names."""
    return tuple(Fact(name=name, text=value_text(value)) for name, value in values.items())


def selection_notes(selection: Selection) -> tuple[str, ...]:
    """Say what the user left out of the run, in sentences."""
    notes = []
    if selection.quick:
        notes.append("A quick run: fewer samples and fewer texts than the full one.")
    if selection.only:
        notes.append(f"Limited to {', '.join(selection.only)}.")
    skips = selection.skip.items()
    notes += [ended_once(f"{name} was left out: {reason}.") for name, reason in skips]
    return tuple(notes)
