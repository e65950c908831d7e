"""The verdict for people: a table on the terminal, plain lines elsewhere, Markdown for CI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .document import CheckEntry, Document
from .text import milliseconds
from .two_runs import Comparison

STYLES = {
    "passed": "green",
    "failed": "bold red",
    "inconclusive": "yellow",
    "not-run": "bright_black",
}
_DECISIONS = {"GO": "bold green", "GO-WITH-FALLBACK": "bold yellow", "NO-GO": "bold red"}
_NARROW = 100


def show(document: Document, console: Console) -> None:
    """Print headline, paragraph, checks and next steps."""
    verdict = document.verdict
    style = _DECISIONS.get(verdict.decision, "bold yellow")
    console.print()
    console.print(verdict.headline, style=style, markup=False, soft_wrap=not console.is_terminal)
    console.print()
    console.print(verdict.paragraph, markup=False, soft_wrap=not console.is_terminal)
    console.print()
    if not console.is_terminal:
        for check in document.checks:
            console.print(plain_line(check), markup=False, soft_wrap=True)
    else:
        narrow = console.width < _NARROW
        console.print(_narrow_table(document) if narrow else _table(document))
    steps = verdict.next
    if steps:
        console.print()
        console.print("Next:", style="bold")
        for step in steps:
            console.print(f"  - {step}", markup=False, soft_wrap=not console.is_terminal)


def print_rows(
    console: Console,
    title: str,
    columns: Sequence[str],
    rows: Sequence[tuple[str, Sequence[str]]],
    *,
    first: str = "",
    narrow: int,
) -> None:
    """Print a table of names with their cells, or a line for each on a narrow console.

    ``first`` is what the names are called, ``narrow`` the width below which no table fits.
    """
    if console.width < narrow:
        console.print(title, markup=False)
        for name, cells in rows:
            told = zip(columns, cells, strict=True)
            words = ", ".join(f"{column} {cell}" for column, cell in told if cell)
            console.print(f"{name}: {words}", markup=False)
        return
    table = Table(title=title, title_justify="left")
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right")
    for name, cells in rows:
        table.add_row(escape(name), *map(escape, cells))
    console.print(table)


def plain_line(check: CheckEntry) -> str:
    """Return one line for logs."""
    need = "required" if check.required else "optional"
    return f"{check.status:<12} {check.id:<20} {need}  {_result(check)}"


def markdown(document: Document) -> str:
    """Return the step summary of a CI run."""
    verdict = document.verdict
    lines = [
        f"## {verdict.headline}",
        "",
        verdict.paragraph,
        "",
        "| check | required | status | result | measured | limit |",
        "|---|---|---|---|---|---|",
    ]
    for check in document.checks:
        cells = (
            f"`{check.id}`",
            "yes" if check.required else "no",
            f"**{check.status}**" if check.status != "passed" else "passed",
            _result(check),
            _number(check.measured, check.unit),
            _number(check.limit, ""),
        )
        escaped = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
        lines.append("| " + " | ".join(escaped) + " |")
    lines += ["", *(f"- {step}" for step in verdict.next)]
    return "\n".join(lines) + "\n"


def show_comparison(found: Comparison, console: Console) -> None:
    """Print what differs between two runs, as a table below the headline."""
    if not console.is_terminal:
        console.width = max(console.width, 120)
    console.print(found.headline, markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("", overflow="fold")
    for name in ("before", "after"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("finding", overflow="fold")
    for one in found.latency:
        between = "" if one.low is None else f" ({one.low:.3f} to {one.high:.3f})"
        table.add_row(
            escape(f"{one.series} {one.statistic}"),
            f"{milliseconds(one.before)} ms",
            f"{milliseconds(one.after)} ms",
            f"{one.outcome}: ratio {one.ratio:.3f}{between}",
            style="bold" if one.real else None,
        )
    for change in found.statuses:
        table.add_row(escape(change.id), change.before or "absent", change.after or "absent", "")
    for drift in found.drift:
        name = f"{drift.check} {drift.quantity}"
        table.add_row(escape(name), f"{drift.before:.9g}", f"{drift.after:.9g}", drift.unit)
    if table.row_count:
        console.print(table)


def _narrow_table(document: Document) -> Table:
    """Return the checks in two columns, which fit into 80."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in document.checks:
        table.add_row(
            f"[{STYLES[check.status]}]{check.status}[/]", escape(f"{check.id}\n{_result(check)}")
        )
    return table


def _table(document: Document) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("limit", justify="right", no_wrap=True)
    table.add_column("result", overflow="fold")
    for check in document.checks:
        need = "" if check.required else " [bright_black](optional)[/]"
        table.add_row(
            escape(check.id),
            f"[{STYLES[check.status]}]{check.status}[/]{need}",
            escape(_number(check.measured, "")),
            escape(_number(check.limit, "")),
            escape(_result(check)),
        )
    return table


def _result(check: CheckEntry) -> str:
    return " ".join(str(check.summary).split())


def _number(value: Any, unit: str) -> str:
    if value is None or isinstance(value, (dict, list)):
        return ""
    text = f"{value:.7g}" if isinstance(value, float) else str(value)
    return f"{text} {unit}".strip()
