"""The frontier as a table on a terminal, and as one HTML page with a chart."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..files import write_text
from ..report.frontier import COLUMNS, Frontier, FrontierRun
from ..report.html import page_environment

_NARROW = 120


def show(frontier: Frontier, console: Console) -> None:
    """Print the table, or a line for each form where it would not fit."""
    title = f"{frontier.encoder}, {frontier.tokens} tokens"
    if console.width < _NARROW:
        console.print(title, markup=False)
        for point in frontier.points:
            told = zip(COLUMNS, point.cells, strict=True)
            words = ", ".join(f"{name} {cell}" for name, cell in told if cell)
            console.print(f"{point.form}: {words}", markup=False)
    else:
        console.print(_table(frontier, title))
    for line in (*frontier.fastest_words, f"saturation: {frontier.saturation_words}"):
        console.print(line, markup=False)


def _table(frontier: Frontier, title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("form", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for point in frontier.points:
        table.add_row(escape(point.form), *point.cells)
    return table


def write_page(run: FrontierRun, path: Path) -> None:
    """Write the page."""
    template = page_environment(__package__).get_template("frontier.html.j2")
    page = template.render(run=run, columns=COLUMNS)
    write_text(path, page)
