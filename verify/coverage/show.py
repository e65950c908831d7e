"""The answers as tables on a terminal and as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..files import write_text
from ..report.charts.graph_picture import legend, node_picture
from ..report.document import GraphNode
from ..report.html import page_environment
from .nodes import Shape
from .partitions import Answer, Left, Limits


def shape_text(shapes: Sequence[Shape]) -> str:
    """Return shapes as ``[1, 128], [384]``."""
    return ", ".join("[" + ", ".join(str(dim) for dim in shape) + "]" for shape in shapes)


def verdict_text(answer: Answer, limits: Limits) -> str:
    """Return what the limits say about one answer."""
    if not answer.judged:
        failure = answer.coverage.failure
        return f"no session: {failure}" if failure else "to compare"
    return "; ".join(answer.problems(limits)) or "within limits"


def show(answers: Sequence[Answer], limits: Limits, console: Console) -> None:
    """Print the table of graphs, then what each left behind."""
    table = Table(title="What CoreML takes", title_justify="left")
    for name in ("graph", "format"):
        table.add_column(name, overflow="fold")
    for name in ("partitions", "nodes taken", "share"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("limits", overflow="fold")
    for answer in answers:
        found = answer.coverage
        table.add_row(
            escape(found.graph),
            found.format,
            str(found.partitions),
            f"{found.nodes_taken} of {found.nodes_total}",
            f"{100 * found.share:.1f} %",
            "no session" if found.failure else verdict_text(answer, limits),
            style="red" if answer.problems(limits) else None,
        )
    console.print(table)
    for warning in dict.fromkeys(each for answer in answers for each in answer.warnings):
        graphs = [each.coverage.graph for each in answers if warning in each.warnings]
        line = f"warning: {', '.join(dict.fromkeys(graphs))}: {warning}"
        console.print(line, markup=False, soft_wrap=True, style="yellow")
    for answer in answers:
        _show_failure(answer, console)
    shown: dict[object, tuple[str, tuple[Left, ...], list[str]]] = {}
    for answer in answers:
        merged, name = _without_shapes(answer.left), answer.coverage.format
        # Graphs of several lengths differ in shapes alone: shown once, with the first's shapes.
        key = (name, tuple((left.op, left.reason, left.advice, left.names) for left in merged))
        shown.setdefault(key, (name, merged, []))[2].append(answer.coverage.graph)
    for model_format, left, graphs in shown.values():
        if left:
            title = f"{', '.join(graphs)} as {model_format}: left on the CPU"
            console.print(f"\n{title}", markup=False, style="bold", soft_wrap=True)
        for entry in left:
            line = f"  {len(entry.names)} x {entry.op}: {entry.reason or 'no reason given'}"
            console.print(line, markup=False, soft_wrap=True)
            names = ", ".join(entry.names[:3]) + (" …" if len(entry.names) > 3 else "")
            console.print(f"      {names}", markup=False, soft_wrap=True, style="dim")
            if entry.shapes:
                console.print(f"      inputs {shape_text(entry.shapes)}", markup=False, style="dim")
            if entry.advice:
                console.print(f"      advice: {entry.advice}", markup=False, soft_wrap=True)


def _show_failure(answer: Answer, console: Console) -> None:
    """Print why there is no session, whole, and what is known to go wrong."""
    found = answer.coverage
    told = [f"no session: {found.failure}"] if found.failure else []
    told += [f"hint: {answer.hint}"] if answer.hint else []
    for line in told:
        console.print(f"{found.graph} as {found.format}: {line}", markup=False, soft_wrap=True)


def write_page(answers: Sequence[Answer], limits: Limits, path: Path, *, wheel: str) -> None:
    """Write the HTML page, with a picture of each graph coloured by provider.

    Raises
    ------
    VerifyError
        When the file cannot be written.
    """
    write_text(path, render(answers, limits, wheel=wheel))


def render(answers: Sequence[Answer], limits: Limits, *, wheel: str) -> str:
    """Return the page; the same answers give the same bytes."""
    page = page_environment(__package__).get_template("coverage.html.j2")
    graphs = graph_views(answers, limits)
    return page.render(graphs=graphs, limits=limits, wheel=wheel, shape_text=shape_text)


def graph_views(answers: Sequence[Answer], limits: Limits) -> list[dict[str, Any]]:
    """Return what ``graphs.html.j2`` shows of each answer."""
    graphs = []
    for answer in answers:
        nodes = [GraphNode(**node) for node in answer.coverage.nodes]
        title = f"{answer.coverage.graph} · {answer.coverage.format}"
        graphs.append(
            {
                "title": title,
                "found": answer.coverage,
                "share": f"{100 * answer.coverage.share:.1f} %",
                "verdict": verdict_text(answer, limits),
                "axes": answer.dynamic_axes,
                "cells": _picture(answer, nodes, title),
                "legend": _legend(answer, nodes),
                "left": answer.left,
                "warnings": answer.warnings,
            }
        )
    return graphs


def _placeless(answer: Answer, nodes: Sequence[GraphNode]) -> bool:
    """Return whether there are several partitions and the log does not say which node is where."""
    return answer.coverage.partitions > 1 and all(node.partition is None for node in nodes)


def _picture(answer: Answer, nodes: Sequence[GraphNode], title: str) -> Markup:
    picture = node_picture(nodes, title=title)
    if _placeless(answer, nodes):  # the picture's own words count one partition then
        words = f"in {answer.coverage.partitions} partitions;"
        picture = picture.replace("in 1 partition;", words, 1)
    return picture


def _legend(answer: Answer, nodes: Sequence[GraphNode]) -> tuple[tuple[str, str], ...]:
    """Return the picture's legend; it names no partition where the log does not say which."""
    entries = legend(nodes)
    if _placeless(answer, nodes):
        number = answer.coverage.partitions
        taken = f"CoreML, {number} partitions that the log does not tell apart"
        entries = (("p1", taken), *(entry for entry in entries if entry[0] == "left"))
    return entries


def _without_shapes(left: Sequence[Left]) -> tuple[Left, ...]:
    """Merge groups that differ in shapes only; the shapes of the first are kept as example."""
    merged: dict[tuple[str, str, str], Left] = {}
    for entry in left:
        key = (entry.op, entry.reason, entry.advice)
        before = merged.get(key)
        merged[key] = Left(
            op=entry.op,
            shapes=before.shapes if before else entry.shapes,
            reason=entry.reason,
            advice=entry.advice,
            names=(*(before.names if before else ()), *entry.names),
        )
    return tuple(merged.values())
