"""The frontier as a table on a terminal, and as one HTML page with a chart."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from ..files import write_text
from ..report.frontier import COLUMNS, Frontier, FrontierRun
from ..report.html import page_environment
from ..report.terminal import print_rows

_NARROW = 120


def show(frontier: Frontier, console: Console) -> None:
    """Print the table, or a line for each form where it would not fit."""
    title = f"{frontier.encoder}, {frontier.tokens} tokens"
    rows = [(point.form, point.cells) for point in frontier.points]
    print_rows(console, title, COLUMNS, rows, first="form", narrow=_NARROW)
    for line in (*frontier.fastest_words, f"saturation: {frontier.saturation_words}"):
        console.print(line, markup=False)


def write_page(run: FrontierRun, path: Path) -> None:
    """Write the page."""
    template = page_environment(__package__).get_template("frontier.html.j2")
    page = template.render(run=run, columns=COLUMNS)
    write_text(path, page)
