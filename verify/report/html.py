"""The report: one HTML page that stands alone, without scripts, from one ``verify.json``.

The page loads nothing: styles and pictures are inside, and its Content-Security-Policy forbids
both scripts and requests. The same document and history give the same bytes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..errors import VerifyError
from ..statistics.gate import judge_p95
from . import view
from .charts import conversion_charts as conversion
from .charts import overview as charts
from .charts import time as charts_time
from .charts.figures import Curve
from .charts.graph_picture import Left, left_behind, legend, node_picture, read_nodes
from .samples import Series, gate_series, latency_series
from .text import MISSING, is_number, milliseconds, moment, value_text
from .two_runs import Comparison, compare

_MOST_RUNS = 12
_MOST_PICTURES = 24
_OPEN_PICTURES = 2


@dataclass(frozen=True, kw_only=True)
class LatencyRow:
    """One line of the latency table; times in milliseconds, as text."""

    name: str
    gate: bool
    calls: int
    processes: int
    warmups: int
    median: str
    p95: str
    bound: str
    p99: str
    largest: str
    stages: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class GraphView:
    """One graph's coverage."""

    title: str
    partitions: str
    taken: str
    share: str
    cells: Markup
    left: tuple[Left, ...]
    nodes: int
    legend: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class RunView:
    """One earlier run; ``differences`` compares it with this one."""

    when: str
    version: str
    decision: str
    p95: str
    note: str
    differences: Comparison | None


def write_report(
    document: Mapping[str, Any],
    path: Path,
    *,
    history: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write the report of one run.

    Parameters
    ----------
    document : Mapping[str, Any]
        Parsed ``verify.json``. Missing parts are left out of the page.
    path : Path
        The HTML file; replaced in one step.
    history : sequence of Mapping, optional
        Earlier documents, in any order, for the comparison across runs.

    Raises
    ------
    VerifyError
        If the file cannot be written.
    """
    text = render(document, history=history)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".report-", suffix=".html")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise VerifyError(
            f"The report cannot be written to {path}: {error.strerror or error}.",
            hint="Give a path in a directory that you may write to.",
        ) from error


def _commands(text: str) -> Markup:
    """Return escaped text with what stands between backticks set as code."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return Markup("{}").format(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if index % 2 else Markup("{}").format(piece)
        for index, piece in enumerate(pieces)
    )


def render(document: Mapping[str, Any], *, history: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return the report's HTML; see :func:`write_report`."""
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["ms"] = milliseconds
    environment.filters["commands"] = _commands
    rows = conversion.without_cosines(view.check_rows(document))
    page = environment.get_template("report.html.j2").render(
        style=Markup(_style(environment)),  # noqa: S704 - our own file
        verdict=view.verdict_view(document),
        meta=view.meta_line(document),
        rows=rows,
        counts=view.counts(rows),
        notes=view.selection_notes(document),
        latency=_latency(document),
        graphs=_graphs(document),
        open_pictures=_OPEN_PICTURES,
        half=conversion.section(document),
        runs=_history(document, history),
        host=view.host_facts(document),
        wheel=view.wheel_facts(document),
        limits=view.policy_facts(document),
        packages=view.packages(document),
        ortmill=value_text(document.get("ortmill")),
        schema=value_text(document.get("schema")),
    )
    return page.encode("utf-8", "replace").decode("utf-8")


def _style(environment: Environment) -> str:
    if environment.loader is None:  # pragma: no cover - it is given above
        return ""
    return environment.loader.get_source(environment, "style.css")[0]


def _budget(document: Mapping[str, Any]) -> float | None:
    limit = view.part(view.part(document, "policy"), "limits").get("latency_p95_ms")
    if not is_number(limit):
        limit = next(
            (
                check.get("limit")
                for check in view.entries(document.get("checks"))
                if check.get("id") == "latency.p95"
            ),
            None,
        )
    return float(limit) if is_number(limit) and limit > 0 else None


def _curve(series: Series, document: Mapping[str, Any]) -> Curve:
    """Compute the upper bound as the gate does, from the raw samples."""
    limits = view.part(view.part(document, "policy"), "limits")
    confidence = limits.get("latency_confidence")
    judgement = judge_p95(
        series.values * 1e6,
        budget_ms=_budget(document) or 1.0,
        min_samples=1,
        confidence=confidence if is_number(confidence) and 0 < confidence < 1 else 0.95,
        processes=[int(label) for label in series.process],
    )
    return Curve(series=series, bound=judgement.upper_bound)


def _gate_name(document: Mapping[str, Any]) -> str:
    for check in view.entries(document.get("checks")):
        if check.get("id") == "latency.p95":
            named = view.part(check, "evidence").get("series")
            return named if isinstance(named, str) else ""
    return ""


def _latency(document: Mapping[str, Any]) -> dict[str, Any] | None:
    found = latency_series(document)
    if not found:
        return None
    gate = gate_series(found, _gate_name(document))
    budget = _budget(document)
    ordered = [*gate, *(one for one in found if one not in gate)]
    curves = [_curve(one, document) for one in ordered]
    judged = curves[: len(gate)]
    medians = {
        one.name: {stage: float(np.median(times)) for stage, times in one.stages.items()}
        for one in ordered
        if one.stages
    }
    return {
        "budget": budget,
        "stages": tuple(dict.fromkeys(stage for row in medians.values() for stage in row)),
        "rows": [_latency_row(curve, curve is curves[0], medians) for curve in curves],
        "histogram": charts.histogram(judged[:3], budget=budget, key="histogram"),
        "ecdf": charts.ecdf(curves, budget=budget, key="ecdf"),
        "timelines": [
            (
                curve.series.name,
                charts_time.timeline(curve, budget=budget, key=f"timeline{index}"),
            )
            for index, curve in enumerate(judged[:4])
        ],
        "stage_bars": charts.stages(medians, key="stages"),
    }


def _latency_row(
    curve: Curve, gate: bool, medians: Mapping[str, Mapping[str, float]]
) -> LatencyRow:
    series = curve.series
    row = medians.get(series.name, {})
    names = dict.fromkeys(stage for each in medians.values() for stage in each)
    return LatencyRow(
        name=series.name,
        gate=gate,
        calls=int(series.values.size),
        processes=series.processes,
        warmups=int(series.warmup.size),
        median=milliseconds(series.quantile(0.5)),
        p95=milliseconds(series.quantile(0.95)),
        bound=milliseconds(curve.bound),
        p99=milliseconds(series.quantile(0.99)),
        largest=milliseconds(float(series.values.max())),
        stages=tuple(f"{row[stage]:.3f}" if stage in row else MISSING for stage in names),
    )


def _graphs(document: Mapping[str, Any]) -> list[GraphView]:
    graphs = []
    for index, entry in enumerate(view.entries(document.get("coverage"))):
        nodes = read_nodes(entry)
        title = (
            " · ".join(str(entry[name]) for name in ("graph", "format") if entry.get(name))
            or "unnamed graph"
        )
        total, taken = entry.get("nodes_total"), entry.get("nodes_taken")
        share = MISSING
        if is_number(total) and is_number(taken) and total > 0:
            share = f"{100 * taken / total:.1f} %"
        graphs.append(
            GraphView(
                title=title,
                partitions=value_text(entry.get("partitions")),
                taken=f"{value_text(taken)} of {value_text(total)}",
                share=share,
                cells=node_picture(nodes, title=title) if index < _MOST_PICTURES else Markup(""),
                left=left_behind(nodes),
                nodes=len(nodes),
                legend=legend(nodes),
            )
        )
    return graphs


def _history(
    document: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    runs = sorted(history, key=lambda run: str(run.get("created") or ""))[-_MOST_RUNS:]
    if not runs:
        return None
    budget, here = _budget(document), view.part(document, "host").get("fingerprint")
    points, rows = [], []
    for run in [*runs, document]:
        gate = gate_series(latency_series(run), _gate_name(run))
        curve = _curve(gate[0], run) if gate else None
        this = run is document
        same = this or view.part(run, "host").get("fingerprint") == here
        when = moment(run.get("created"))
        if curve is not None:
            points.append(
                charts_time.RunPoint(
                    label="this run" if this else when[5:10],
                    p95=curve.series.quantile(0.95),
                    bound=curve.bound,
                    same_host=same,
                )
            )
        note, found = "", None
        if this:
            note = "this run"
        elif not same:
            note = "another host: not compared"
        else:
            try:
                found = compare(run, document)
                note = found.headline
            except VerifyError as error:
                note = error.problem
        verdict = view.verdict_view(run)
        rows.append(
            RunView(
                when=when,
                version=value_text(view.part(run, "wheel").get("version")),
                decision=verdict.decision,
                p95=milliseconds(curve.series.quantile(0.95)) if curve else MISSING,
                note=note,
                differences=found,
            )
        )
    latest = next((row for row in reversed(rows) if row.differences is not None), None)
    return {
        "rows": rows[::-1],
        "trend": charts_time.trend(points, budget=budget, key="trend"),
        "latest": latest,
    }
