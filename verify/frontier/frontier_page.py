"""The frontier as a table on a terminal, and as one HTML page with a chart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .. import report
from ..environment.host import describe
from ..files import write_text
from ..report.charts.figures import figure
from ..report.charts.svg import Form, paint, picture, series_paint
from .measured_forms import Frontier, Point, Share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = (
    "worst cosine",
    "mean cosine",
    "recall@10",
    "answered",
    "P50 ms",
    "P95 ms",
    "P95 share",
    "P50 share",
    "MiB",
    "memory MiB",
)
_NARROW = 120
_LEAST_ERROR = 1e-7
"""Below this, what is left of a cosine is float32's rounding."""


def show(frontier: Frontier, console: Console) -> None:
    """Print the table, or a line for each form where it would not fit."""
    title = f"{frontier.encoder}, {frontier.tokens} tokens"
    if console.width < _NARROW:
        console.print(title, markup=False)
        for point in frontier.points:
            told = zip(COLUMNS, cells(point), strict=True)
            words = ", ".join(f"{name} {cell}" for name, cell in told if cell)
            console.print(f"{point.form}: {words}", markup=False)
    else:
        console.print(_table(frontier, title))
    for limit in (0.999, 0.99):
        best = frontier.fastest(limit)
        words = "none" if best is None else f"{best.form}, P95 {best.p95:.2f} ms"
        console.print(f"fastest with worst cosine >= {limit}: {words}", markup=False)
    console.print(f"saturation: {saturation_words(frontier)}", markup=False)


def _table(frontier: Frontier, title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("form", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for point in frontier.points:
        table.add_row(escape(point.form), *cells(point))
    return table


def cells(point: Point) -> list[str]:
    """Return a point's columns in the order of :data:`COLUMNS`."""
    kept = point.kept
    return [
        "" if kept is None else f"{kept.worst:.5f}",
        "" if kept is None else f"{kept.mean:.5f}",
        "" if kept is None or kept.recall is None else f"{kept.recall:.4f}",
        "" if kept is None or kept.answered is None else f"{kept.answered:.3f}",
        f"{point.p50:.2f}",
        f"{point.p95:.2f}",
        _share(point.p95_share),
        _share(point.p50_share),
        "" if point.size_mib is None else f"{point.size_mib:.1f}",
        "" if point.memory_mib is None else f"{point.memory_mib:.0f}",
    ]


def _share(found: Share) -> str:
    if found.share is None:
        return ""
    ends = "" if found.low is None else f" ({found.low:.3f} to {found.high:.3f})"
    return f"{found.share:.3f}{ends}"


def saturation_words(frontier: Frontier) -> str:
    """Say which products of bytes are wrong on this machine."""
    wrong = [name for name, found in frontier.saturates.items() if found]
    if wrong:
        return f"products of {', '.join(wrong)} saturate here; the prepared forms use u8u8"
    return "no product of bytes saturates here"


def write_page(frontier: Frontier, path: Path, *, wheel: str) -> None:
    """Write the page."""
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # A style sheet of our own: nothing of a user's goes through it, and escaping would break it.
    reports = Environment(loader=PackageLoader(report.__name__), autoescape=False)  # noqa: S701
    page = environment.get_template("frontier.html.j2").render(
        frontier=frontier,
        wheel=wheel,
        machine=describe()["cpu"],
        saturation=saturation_words(frontier),
        style=reports.get_template("style.css").render(),
        columns=COLUMNS,
        rows=[(point.form, point.summary, cells(point)) for point in frontier.points],
        chart=chart(frontier),
    )
    write_text(path, page)


def chart(frontier: Frontier) -> Markup:
    """Draw what is lost of the worst cosine against P95."""
    points = [(p.form, p.p95, 1 - p.kept.worst) for p in frontier.points if p.kept is not None]

    def build(form: Form) -> Figure:
        drawn, (axes,) = figure(form, heights=[300.0])
        axes.set(yscale="log", xlim=(0, 1.25 * max(time for _, time, _ in points)))
        axes.set(xlabel="P95, ms", ylabel="1 - worst cosine")
        for limit in (1e-3, 1e-2):
            axes.axhline(limit, color=paint("bad"), linewidth=1.0, linestyle=(0, (4, 3)))
        for number, (name, time, lost) in enumerate(points):
            place = (time, max(lost, _LEAST_ERROR))
            axes.plot(*place, marker="o", color=series_paint(number), markersize=6)
            axes.annotate(name, place, (7, 0), textcoords="offset points", va="center")
        axes.grid(axis="both")
        return drawn

    words = "; ".join(f"{name}: P95 {time:.2f} ms, {lost:.2g} lost" for name, time, lost in points)
    return picture(
        build,
        key="frontier",
        label="What is lost of the worst cosine, against P95",
        description=words,
    )
