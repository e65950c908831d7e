"""From ``verify.json`` to what the page shows: text that is ready to print, and no logic after.

Every part of a document may be missing or damaged: a page is wanted most when a run went wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .text import MISSING, bytes_text, is_number, moment, pretty, seconds_text, value_text

STATUSES = ("passed", "failed", "inconclusive", "not-run")
STATUS_WORDS = {
    "passed": "passed",
    "failed": "failed",
    "inconclusive": "inconclusive",
    "not-run": "not run",
}
DECISIONS = {
    "GO": "passed",
    "GO-WITH-FALLBACK": "fallback",
    "NOT-EXECUTED": "fallback",
    "NO-GO": "failed",
    "INCONCLUSIVE": "inconclusive",
}
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
class CheckRow:
    """One check, ready to print."""

    id: str
    title: str
    required: bool
    status: str
    word: str
    summary: str
    hint: str
    measured: str
    limit: str
    seconds: str
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, kw_only=True)
class VerdictView:
    """The banner."""

    decision: str
    kind: str
    headline: str
    paragraph: str
    proven: tuple[str, ...]
    not_proven: tuple[str, ...]
    next: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A name and a value; ``code`` values are set in a fixed-width face."""

    name: str
    text: str
    code: bool = False


def part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a part of a document that should be an object, or an empty one."""
    found = document.get(name)
    return found if isinstance(found, Mapping) else {}


def entries(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Return the objects of a list; anything else gives an empty tuple."""
    if not isinstance(value, list | tuple):
        return ()
    return tuple(entry for entry in value if isinstance(entry, Mapping))


def verdict_view(document: Mapping[str, Any]) -> VerdictView:
    """Read the verdict; a document without one says so in the banner."""
    verdict = part(document, "verdict")
    decision = str(verdict.get("decision") or "NO VERDICT")
    return VerdictView(
        decision=decision,
        kind=DECISIONS.get(decision, "not-run"),
        # The banner shows the word above the headline, which begins with it in plain text.
        headline=_capital(
            str(verdict.get("headline") or "This document holds no verdict.").removeprefix(
                f"{decision}: "
            )
        ),
        paragraph=str(verdict.get("paragraph") or ""),
        proven=_lines(verdict.get("proven")),
        not_proven=_lines(verdict.get("not_proven")),
        next=_lines(verdict.get("next")),
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def check_rows(document: Mapping[str, Any]) -> tuple[CheckRow, ...]:
    """Read the checks in the document's order."""
    rows = []
    for check in entries(document.get("checks")):
        status = str(check.get("status") or "not-run")
        unit = str(check.get("unit") or "")
        evidence = check.get("evidence")
        rows.append(
            CheckRow(
                id=str(check.get("id") or "unnamed"),
                title=str(check.get("title") or check.get("id") or "unnamed"),
                required=check.get("required") is True,
                status=status if status in STATUSES else "not-run",
                word=STATUS_WORDS.get(status, status),
                summary=str(check.get("summary") or ""),
                hint=str(check.get("hint") or ""),
                measured=value_text(check.get("measured"), unit, room=80),
                limit=value_text(check.get("limit"), unit, room=80),
                seconds=seconds_text(check.get("seconds")),
                evidence=evidence_view(evidence if isinstance(evidence, Mapping) else {}),
            )
        )
    return tuple(rows)


def counts(rows: Sequence[CheckRow]) -> tuple[tuple[str, str, int], ...]:
    """Count the checks by status: (status, word, number), statuses without a check left out."""
    numbers = {status: sum(row.status == status for row in rows) for status in STATUSES}
    return tuple((key, STATUS_WORDS[key], number) for key, number in numbers.items() if number)


def evidence_view(evidence: Mapping[str, Any]) -> tuple[Evidence, ...]:
    """Turn free-form evidence into lines, small tables and blocks."""
    return tuple(_evidence(str(name), value) for name, value in evidence.items())


def _evidence(name: str, value: Any) -> Evidence:
    rows = entries(value)
    if rows and len(rows) == len(value):
        columns = tuple(dict.fromkeys(str(key) for row in rows for key in row))
        if len(columns) <= _MOST_COLUMNS:
            return Evidence(
                name=name,
                columns=columns,
                rows=tuple(
                    tuple(value_text(row.get(column), room=120) for column in columns)
                    for row in rows[:_MOST_ROWS]
                ),
                more=max(0, len(rows) - _MOST_ROWS),
            )
    if isinstance(value, Mapping) and value and all(_flat(item) for item in value.values()):
        columns = tuple(dict.fromkeys(str(key) for item in value.values() for key in item))
        if len(columns) < _MOST_COLUMNS:
            return Evidence(
                name=name,
                columns=("", *columns),
                rows=tuple(
                    (str(key), *(value_text(item.get(column), room=120) for column in columns))
                    for key, item in list(value.items())[:_MOST_ROWS]
                ),
                more=max(0, len(value) - _MOST_ROWS),
            )
    if isinstance(value, str) and ("\n" in value or len(value) > _ONE_LINE):
        room = 3000
        cut = value if len(value) <= room else value[:room] + "\n… (whole in verify.json)"
        return Evidence(name=name, block=cut)
    line = value_text(value, room=_ONE_LINE + 1)
    nested = isinstance(value, list | tuple | Mapping)
    if nested and (len(line) > _ONE_LINE or _depth(value) > 1):
        return Evidence(name=name, block=pretty(value))
    return Evidence(name=name, line=line)


def _flat(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and _depth(value) == 1


def _depth(value: Any) -> int:
    if isinstance(value, Mapping):
        return 1 + max((_depth(item) for item in value.values()), default=0)
    if isinstance(value, list | tuple):
        return 1 + max((_depth(item) for item in value), default=0)
    return 0


def host_facts(document: Mapping[str, Any]) -> tuple[Fact, ...]:
    """List what is known of the host; fields that this version does not know come last."""
    host = part(document, "host")
    known = {
        "kind": Fact(name="Host", text=value_text(host.get("kind"))),
        "cpu": Fact(name="Processor", text=value_text(host.get("cpu"))),
        "cores": Fact(name="Cores", text=value_text(host.get("cores"))),
        "memory_bytes": Fact(name="Memory", text=bytes_text(host.get("memory_bytes"))),
        "governor": Fact(name="Frequency governor", text=value_text(host.get("governor"))),
        "load": Fact(name="Load at the start", text=_load(host.get("load"))),
        "os": Fact(name="System", text=value_text(host.get("os"))),
        "python": Fact(name="Python", text=value_text(host.get("python"))),
        "fingerprint": Fact(
            name="Fingerprint", text=value_text(host.get("fingerprint")), code=True
        ),
    }
    extra = [
        Fact(name=str(name).replace("_", " "), text=value_text(value))
        for name, value in host.items()
        if name not in known and name != "packages"
    ]
    return (*(fact for name, fact in known.items() if name in host), *extra)


def wheel_facts(document: Mapping[str, Any]) -> tuple[Fact, ...]:
    """List what is known of the wheel."""
    wheel = part(document, "wheel")
    facts = {
        "file": Fact(name="File", text=value_text(wheel.get("file")), code=True),
        "version": Fact(name="Version", text=value_text(wheel.get("version")), code=True),
        "size": Fact(name="Size", text=bytes_text(wheel.get("size"))),
        "sha256": Fact(name="sha256", text=value_text(wheel.get("sha256")), code=True),
        "manifest_sha256": Fact(
            name="Manifest's sha256",
            text=value_text(wheel.get("manifest_sha256") or "no manifest beside the wheel"),
            code=bool(wheel.get("manifest_sha256")),
        ),
    }
    return tuple(fact for name, fact in facts.items() if name in wheel)


def policy_facts(document: Mapping[str, Any]) -> tuple[Fact, ...]:
    """List the policy's limits."""
    limits = part(part(document, "policy"), "limits")
    return tuple(
        Fact(name=str(name), text=value_text(value), code=False) for name, value in limits.items()
    )


def packages(document: Mapping[str, Any]) -> tuple[Fact, ...]:
    """List the package versions."""
    found = part(part(document, "host"), "packages")
    return tuple(Fact(name=str(name), text=value_text(value)) for name, value in found.items())


def selection_notes(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Say what the user left out of the run, in sentences."""
    selection = part(document, "selection")
    notes = []
    if selection.get("quick") is True:
        notes.append("A quick run: fewer samples and fewer texts than the full one.")
    only = _lines(selection.get("only"))
    if only:
        notes.append(f"Limited to {', '.join(only)}.")
    notes += [
        f"{name} was left out: {reason or 'no reason given'}."
        for name, reason in part(selection, "skip").items()
    ]
    return tuple(notes)


def meta_line(document: Mapping[str, Any]) -> str:
    """One line under the title: wheel, policy, when, how long."""
    wheel, policy = part(document, "wheel"), part(document, "policy")
    parts = [
        f"onnxruntime {wheel['version']}" if wheel.get("version") else "",
        f"policy {policy['name']}" if policy.get("name") else "",
        moment(document.get("created")),
        seconds_text(document.get("seconds")),
    ]
    return " · ".join(text for text in parts if text and text != MISSING)


def _load(value: Any) -> str:
    if isinstance(value, list | tuple) and value and all(is_number(item) for item in value):
        return ", ".join(f"{item:.2f}" for item in value)
    return value_text(value)


def _lines(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(str(item) for item in value) if isinstance(value, list | tuple) else ()
