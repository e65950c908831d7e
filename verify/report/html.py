"""The report: one HTML page, complete in itself and without scripts, from one ``verify.json``.

The page loads nothing: styles and pictures are inside, and its Content-Security-Policy forbids
both scripts and requests. The same document and history give the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..files import write_text
from . import view
from .charts import conversion_charts as conversion
from .charts import overview as charts
from .charts import time as charts_time
from .charts.graph_picture import Left, left_behind, legend, node_picture
from .document import Coverage, Document
from .first_screen import big_figures
from .frontier import COLUMNS, shown
from .known_faults import of_graphs
from .samples import Series, gate_series, latency_series
from .text import is_number, milliseconds, moment, seconds_text, value_text
from .two_runs import Comparison, compare

STATUSES = ("passed", "failed", "inconclusive", "not-run")
KINDS = {
    "GO": "passed",
    "GO-WITH-FALLBACK": "fallback",
    "NOT-EXECUTED": "fallback",
    "NO-GO": "failed",
    "INCONCLUSIVE": "inconclusive",
}
_MOST_RUNS = 12
_MOST_PICTURES = 24
_OPEN_PICTURES = 2
_LONG_WORD = re.compile(r"(\S{25,})")
_JOINT = re.compile(r"(?<=[-_+/=])(?=\w)")


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One graph's coverage with its picture."""

    found: Coverage
    cells: Markup
    left: tuple[Left, ...]
    legend: tuple[tuple[str, str], ...]

    @property
    def title(self) -> str:
        """Name and format."""
        return f"{self.found.graph} · {self.found.format}"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run in the comparison; ``differences`` compares an earlier one with this one."""

    document: Document
    gate: Series | None
    note: str
    differences: Comparison | None = None


def write_report(
    document: Document,
    path: Path,
    *,
    history: Sequence[Document] = (),
    frontier: Path | None = None,
) -> None:
    """Write the report of one run; the HTML file is replaced in one step.

    Earlier runs are compared in any order. ``frontier-MODEL.json`` is shown where it is about the
    same wheel and model.

    Raises
    ------
    VerifyError
        If the file cannot be written.
    """
    write_text(path, render(document, history=history, frontier=frontier))


def render(
    document: Document, *, history: Sequence[Document] = (), frontier: Path | None = None
) -> str:
    """Return the report's HTML; see :func:`write_report`."""
    environment = page_environment()
    verdict = document.verdict
    numbers = {status: sum(c.status == status for c in document.checks) for status in STATUSES}
    # The banner shows the word above the headline, which begins with it in plain text.
    headline = verdict.headline.removeprefix(f"{verdict.decision}: ")
    page = environment.get_template("report.html.j2").render(
        document=document,
        kind=KINDS[verdict.decision],
        headline=headline[:1].upper() + headline[1:],
        counts=[(status, number) for status, number in numbers.items() if number],
        five=big_figures(document, _gate(document)),
        notes=view.selection_notes(document.selection),
        latency=_latency(document),
        graphs=[_graph(entry, index) for index, entry in enumerate(document.coverage)],
        known_faults=of_graphs(document.coverage),
        open_pictures=_OPEN_PICTURES,
        half=conversion.section(document),
        runs=_runs(document, history),
        frontier=shown(frontier, document) if frontier else "",
        frontier_columns=COLUMNS,
        host=view.host_facts(document),
        wheel=view.wheel_facts(document),
        limits=view.facts(document.policy.limits),
        packages=view.facts(document.host.packages),
    )
    return page.encode("utf-8", "replace").decode("utf-8")


def page_environment(*packages: str) -> Environment:
    """Return what our pages are made with: escaping, the style sheet, the filters of our macros.

    Templates are looked for in these packages, then here.
    """
    loader = ChoiceLoader([PackageLoader(name) for name in (*packages, __package__)])
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        "ms": milliseconds,
        "moment": moment,
        "seconds": seconds_text,
        "value": value_text,
        "commands": _commands,
        "breakable": _breakable,
        "joints": _with_joints,
        "evidence": lambda check: view.evidence_view(check, drawn=conversion.drawn(check)),
    }
    environment.filters.update(filters)
    # Every page holds our style sheet whole.
    style = loader.get_source(environment, "style.css")[0]
    environment.globals["style"] = Markup(style)  # noqa: S704 - our own file
    return environment


def _commands(text: str) -> Markup:
    """Return escaped text with what stands between backticks set as code."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return _with_joints(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(_with_joints(piece)) if index % 2 else _with_joints(piece)
        for index, piece in enumerate(pieces)
    )


def _with_joints(text: str) -> Markup:
    """Return escaped text whose long words, file names mostly, may break behind their joints."""
    return Markup("").join(
        Markup("<wbr>").join(_JOINT.split(piece)) if index % 2 else Markup("{}").format(piece)
        for index, piece in enumerate(_LONG_WORD.split(text))
    )


def _breakable(name: str) -> Markup:
    """Return a name that a narrow column breaks behind its slashes, not inside a word."""
    return Markup("/<wbr>").join(name.split("/"))


def _budget(document: Document) -> float | None:
    limit = document.policy.limits.get("latency_p95_ms")
    return float(limit) if is_number(limit) and limit > 0 else None


def _gate(document: Document) -> tuple[Series, ...]:
    check = document.check("latency.p95")
    named = check.evidence.get("series") if check else None
    return gate_series(latency_series(document), str(named or ""))


def _latency(document: Document) -> dict[str, Any] | None:
    found = latency_series(document)
    if not found:
        return None
    judged = _gate(document)
    names = {one.name for one in judged}
    series = [*judged, *(one for one in found if one.name not in names)]
    budget = _budget(document)
    medians = {
        one.name: {stage: float(np.median(times)) for stage, times in one.stages.items()}
        for one in series
        if one.stages
    }
    return {
        "budget": budget,
        "series": series,
        "medians": medians,
        "stages": tuple(dict.fromkeys(stage for row in medians.values() for stage in row)),
        "histogram": charts.histogram(judged[:3], budget=budget, key="histogram"),
        "ecdf": charts.ecdf(series, budget=budget, key="ecdf"),
        "timelines": [
            (one.name, charts_time.timeline(one, budget=budget, key=f"timeline{index}"))
            for index, one in enumerate(judged[:4])
        ],
        "stage_bars": charts.stages(medians, key="stages"),
    }


def _graph(entry: Coverage, index: int) -> Graph:
    graph = Graph(
        found=entry, cells=Markup(""), left=left_behind(entry.nodes), legend=legend(entry.nodes)
    )
    if index >= _MOST_PICTURES:
        return graph
    return replace(graph, cells=node_picture(entry.nodes, title=graph.title))


def _runs(document: Document, history: Sequence[Document]) -> dict[str, Any] | None:
    earlier = sorted(history, key=lambda run: run.created)[-_MOST_RUNS:]
    if not earlier:
        return None
    here = document.host.fingerprint
    rows = [_run(each, document) for each in earlier]
    rows.append(Run(document=document, gate=next(iter(_gate(document)), None), note="this run"))
    points = [
        charts_time.RunPoint(
            label="this run" if row is rows[-1] else moment(row.document.created)[5:10],
            p95=row.gate.quantile(0.95),
            bound=row.gate.bound,
            same_host=row.document.host.fingerprint == here,
        )
        for row in rows
        if row.gate is not None
    ]
    return {
        "rows": rows[::-1],
        "trend": charts_time.trend(points, budget=_budget(document), key="trend"),
        "latest": next((row for row in reversed(rows) if row.differences is not None), None),
    }


def _run(earlier: Document, document: Document) -> Run:
    gate = next(iter(_gate(earlier)), None)
    if earlier.host.fingerprint != document.host.fingerprint:
        return Run(document=earlier, gate=gate, note="another host: not compared")
    found = compare(earlier, document)
    return Run(document=earlier, gate=gate, note=found.headline, differences=found)
