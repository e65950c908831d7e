"""What was measured as tables on a terminal, as JSON, and as one HTML page with charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from rich.console import Console

from ..environment.host import describe
from ..files import write_text
from ..report.charts.figures import figure, legend, log_ticks
from ..report.charts.svg import Form, picture, series_paint
from ..report.html import page_environment
from ..report.terminal import print_rows
from ..statistics.ratio import RatioInterval
from .compared import LOADS, MOST_SLOWER, Comparison, Row
from .curves import Curve
from .operators import rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NARROW = 140
_FACTS = {
    "worst": ("worst cosine", ".6f"), "mean": ("mean", ".6f"), "import_ms": ("import ms", ".0f"),
    "start_ms": ("start ms", ".0f"), "peak_mib": ("peak MiB", ".0f"),
}  # fmt: skip
_RUNS = {
    "wall": "P50 ms", "processor": "processor ms", "rest": "busy after, ms", "run": "profiled ms",
    "between": "between nodes ms",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a command measured: one of the three parts, and with which wheel of ours."""

    wheel: str
    comparison: Comparison | None = None
    curves: Sequence[Curve] = ()
    profiles: Sequence[Mapping[str, Any]] = ()
    asked: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "schema": 1,
            "wheel": self.wheel,
            "comparison": self.comparison and self.comparison.to_json(),
            "curves": [each.to_json() for each in self.curves],
            "profile": [{**each, "slower": asdict(each["slower"])} for each in self.profiles],
            "asked": dict(self.asked),
            "host": describe(),
        }

    @property
    def axes(self) -> list[list[Curve]]:
        """The curves, by axis."""
        axes = dict.fromkeys(each.axis for each in self.curves)
        return [[each for each in self.curves if each.axis == axis] for axis in axes]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table for both the terminal and the page."""

    title: str
    columns: Sequence[str]
    lines: Sequence[tuple[str, Sequence[str]]]
    notes: Sequence[str] = ()


def tables(measured: Measured) -> list[Table]:
    """Return every table."""
    found = [_against(curves) for curves in measured.axes]
    if measured.comparison:
        found += [_sides(measured.comparison), *_loads(measured.comparison)]
    return found + (_operators(measured) if measured.profiles else [])


def show(measured: Measured, console: Console) -> None:
    """Print the tables, each of its lines by itself where they would not fit."""
    for table in tables(measured):
        print_rows(console, table.title, table.columns, table.lines, narrow=_NARROW)
        for note in table.notes:
            console.print(note, markup=False)


def _sides(comparison: Comparison) -> Table:
    def cells(row: Row) -> list[str]:
        facts = row.facts
        found = [f"{facts[name]:{form}}" if facts else "" for name, (_, form) in _FACTS.items()]
        versions = (f"{name} {what}" for name, what in facts.get("versions", {}).items())
        return [*found, f"not measured: {row.missing}" if row.missing else ", ".join(versions)]

    machine = comparison.machine
    return Table(
        title=f"{comparison.encoder}: start is up to the first vector, peak after a batch of 32",
        columns=[*(name for name, _ in _FACTS.values()), "versions"],
        lines=[(row.title, cells(row)) for row in comparison.rows],
        notes=[f"other programs kept {machine.others:.2f} cores busy"] if machine else (),
    )


def _loads(comparison: Comparison) -> list[Table]:
    def cells(row: Row, load: str) -> list[str]:
        found = row.loads[load]
        ends = ("none" if end is None else f"{end:.2f}" for end in (found.p95_low, found.p95_high))
        return [
            f"{found.p50:.2f}", f"{found.p95:.2f}", " to ".join(ends),
            f"{found.texts_per_second:.1f}", str(found.calls), _ratio(found.ours),
        ]  # fmt: skip

    columns = ("P50", "P95", "bounds of P95", "texts/s", "calls", "ours / this")
    goal = f"ours / official of the same version, at most {MOST_SLOWER:g}"
    return [
        Table(
            title=f"{load.name}: ms for a call of {load.batch}",
            columns=columns,
            lines=[(row.title, cells(row, load.name)) for row in comparison.rows if row.loads],
            notes=[f"{goal}: {', '.join(comparison.goal(load.name))}"],
        )
        for load in LOADS
    ]


def _ratio(found: RatioInterval) -> str:
    ends = "" if found.low is None else f" ({found.low:.3f} to {found.high:.3f})"
    return "" if found.ratio is None else f"{found.ratio:.3f}{ends}"


def _against(curves: Sequence[Curve]) -> Table:
    names = ("P50 ms", "P95 ms", "ktok/s")
    columns = [column for each in curves for column in (each.p50, each.p95, each.rate)]
    return Table(
        title=f"against {curves[0].axis}: {curves[0].held}",
        columns=[f"{each.form} {name}" for each in curves for name in names],
        lines=[
            (str(x), [f"{column[row]:.2f}" for column in columns])
            for row, x in enumerate(curves[0].x)
        ],
        notes=[each.words for each in curves],
    )


def _operators(measured: Measured) -> list[Table]:
    asked = ", ".join(f"{name} {value}" for name, value in measured.asked.items())
    found = [
        Table(
            title=f"runs of {asked}",
            columns=[*_RUNS.values(), "P50 over the first"],
            lines=[
                (each["title"], [*(f"{each[name]:.2f}" for name in _RUNS), _ratio(each["slower"])])
                for each in measured.profiles
            ],
        )
    ]
    for what, most in (("operators", None), ("kernels", 12)):
        lines = [
            (name, [f"{time:.3f} ({nodes})" for time, nodes in times])
            for name, times in rows(measured.profiles, what)[:most]
        ]
        title = f"{what}: ms in a run (nodes), largest difference first"
        columns = [each["title"] for each in measured.profiles]
        found.append(Table(title=title, columns=columns, lines=lines))
    return found


def write_page(measured: Measured, path: Path) -> None:
    """Write the page."""
    charts = [_lines(curves) for curves in measured.axes]
    if measured.comparison:
        charts += [_bars(measured.comparison, load.name) for load in LOADS]
    page = (
        page_environment(__package__)
        .get_template("beside.html.j2")
        .render(
            wheel=measured.wheel, machine=describe()["cpu"], tables=tables(measured), charts=charts
        )
    )
    write_text(path, page)


def _bars(comparison: Comparison, load: str) -> Markup:
    known = [(row.title, row.loads[load]) for row in comparison.rows if row.loads]

    def build(form: Form) -> Figure:
        drawn, (axes,) = figure(form, heights=[70.0 + 26.0 * len(known)])
        for row, (_, found) in enumerate(known):
            axes.plot([found.p50, found.p95], [row, row], color=series_paint(row), linewidth=2)
            axes.plot(found.p50, row, marker="o", color=series_paint(row), markersize=7)
        axes.set_yticks(range(len(known)), [name for name, _ in known])
        axes.set(xlim=(0, None), ylim=(len(known) - 0.4, -0.6), xlabel=f"{load}, ms a call")
        axes.grid(axis="x")
        return drawn

    words = "; ".join(f"{name}: {each.p50:.2f} to {each.p95:.2f} ms" for name, each in known)
    key = "load" + "".join(letter for letter in load if letter.isalnum())
    return picture(build, key=key, label=f"P50 (dots) to P95: {load}", description=words)


def _lines(curves: Sequence[Curve]) -> Markup:
    first = curves[0]

    def build(form: Form) -> Figure:
        drawn, (above, below) = figure(form, heights=[200.0, 200.0], sharex=True)
        for number, each in enumerate(curves):
            colour = series_paint(number)
            above.plot(each.x, each.p50, marker="o", markersize=4, color=colour, label=each.form)
            above.fill_between(each.x, each.p50, each.p95, color=colour, alpha=0.25)
            below.plot(each.x, each.rate, marker="o", markersize=4, color=colour)
        above.set(xscale="log", yscale="log", ylabel="ms a call, P50 to P95")
        log_ticks(above.yaxis)
        below.set(ylabel="thousand tokens/s", xlabel=f"{first.axis} ({first.held})", ylim=(0, None))
        below.set_xticks(first.x, [str(each) for each in first.x])
        below.set_xticks([], minor=True)
        for axes in (above, below):
            axes.grid(axis="both")
        legend(drawn, len(curves))
        return drawn

    words = "; ".join(each.words for each in curves)
    label = f"Time and rate against {first.axis}"
    return picture(build, key=first.axis, label=label, description=words)
