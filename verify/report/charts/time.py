"""The report's pictures over time: every call of a run, and the P95 across runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from ..samples import Series
from ..text import milliseconds
from .figures import MOST_CURVES, budget_line, budget_words, facts, figure, legend, view_limit
from .svg import Form, paint, picture, series_paint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class RunPoint:
    """One run in the comparison across runs; times in milliseconds.

    ``bound`` is the upper confidence bound of the P95; ``same_host`` is whether the run comes from
    this document's host.
    """

    label: str
    p95: float
    bound: float | None
    same_host: bool


def timeline(series: Series, *, budget: float | None, key: str) -> Markup:
    """Draw every call in the order measured; warm-ups are kept apart on the left."""
    limit = view_limit(series.values, budget)
    warm = series.warmup
    n = series.values.size
    lead = min(max(float(warm.size), 0.06 * n), 0.2 * n) if warm.size else 0.0
    beyond = int((series.values > limit).sum()) + int((warm > limit).sum())

    def build(form: Form) -> Figure:
        labels = np.unique(series.process)
        named = min(labels.size, MOST_CURVES)
        rows = -(-(named + bool(warm.size)) // (2 if form.narrow else 4))
        drawn, (axes,) = figure(form, heights=[226.0 + 21.0 * rows])
        span = series.values.size + lead
        axes.set(xlim=(-lead - 0.01 * span, series.values.size * 1.01), ylim=(0, limit * 1.06))
        axes.grid(axis="y")
        size = (0.0055 * span * (1.6 if form.narrow else 1.0), 0.011 * limit)
        if warm.size:
            axes.axvline(-0.004 * span, color=paint("rule"), linewidth=1)
            at = np.linspace(-lead, -0.02 * span, warm.size)
            _points(axes, at, warm, limit, size, shape=4, colour=paint("muted"), label="warm-up")
        for index, process in enumerate(labels):
            chosen = np.flatnonzero(series.process == process)
            name = f"process {process}" if index < MOST_CURVES else ""
            _points(
                axes, chosen.astype(float), series.values[chosen], limit, size,
                shape=index, colour=series_paint(index), label=name,
            )  # fmt: skip
        budget_line(axes, budget, form, right=True)
        axes.set_xticks([at for at in axes.get_xticks() if 0 <= at <= n])
        axes.set_xlabel("call, in the order measured")
        axes.set_ylabel("milliseconds")
        legend(drawn, 2 if form.narrow else 4, handlelength=1.0, columnspacing=1.4)
        return drawn

    cut = f" {beyond} calls beyond the axis are drawn at its top edge." if beyond else ""
    return picture(
        build,
        key=key,
        label=f"Latency of every call over time, {series.name}",
        description=f"{facts(series)}; {series.processes} processes; {warm.size} warm-up calls"
        f"{budget_words(budget)}.{cut}",
    )


def trend(points: Sequence[RunPoint], *, budget: float | None, key: str) -> Markup:
    """Draw the P95 and its bound of several runs, oldest first."""
    if len(points) < 2:
        return Markup("")
    top = max([p.bound or p.p95 for p in points] + [p.p95 for p in points] + [budget or 0.0])

    def build(form: Form) -> Figure:
        drawn, (axes,) = figure(form, heights=[240.0])
        axes.grid(axis="y")
        at = np.arange(len(points))
        here = [index for index, point in enumerate(points) if point.same_host]
        axes.plot(
            here, [points[index].p95 for index in here], color=paint("s1"), linewidth=1.2, alpha=0.6
        )
        for index, point in enumerate(points):
            colour = paint("s1") if point.same_host else paint("muted")
            if point.bound is not None:
                axes.plot(
                    [index, index], [point.p95, point.bound], color=colour, linewidth=1.6,
                    marker="_", markersize=10, markevery=[1],
                )  # fmt: skip
            axes.plot(
                [index], [point.p95], marker="o" if point.same_host else "D", markersize=7,
                color=colour, markerfacecolor=colour if point.same_host else paint("panel"),
                markeredgewidth=1.5, linestyle="none",
            )  # fmt: skip
        budget_line(axes, budget, form, right=False)
        axes.set(xlim=(-0.5, len(points) - 0.5), ylim=(0, top * 1.14))
        step = max(1, -(-len(points) // (4 if form.narrow else 7)))
        shown = at[::-1][::step][::-1]
        axes.set_xticks(shown, [points[index].label for index in shown])
        axes.set_ylabel("P95, milliseconds")
        return drawn

    said = "; ".join(
        f"{p.label}: {milliseconds(p.p95)} ms" + ("" if p.same_host else " on another host")
        for p in points
    )
    return picture(
        build, key=key, label="P95 across runs", description=f"{said}{budget_words(budget)}."
    )


def _points(
    axes: Axes,
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    limit: float,
    size: tuple[float, float],
    *,
    shape: int,
    colour: str,
    label: str,
) -> None:
    """Draw many points as one path, which keeps a page of thousands of samples small."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    dx, dy = size
    strokes: tuple[tuple[float, float, float, float], ...] = (
        ((0, 0, 0, 0),),
        ((0, -dy, 0, dy),),
        ((-dx, 0, dx, 0),),
        ((-dx, -dy, dx, dy),),
        ((-dx, -dy, dx, dy), (-dx, dy, dx, -dy)),
    )[shape % 5]
    centre = np.column_stack([x, np.minimum(y, limit * 1.03)])
    ends = [centre + stroke[2 * half : 2 * half + 2] for stroke in strokes for half in (0, 1)]
    vertices = np.stack(ends, axis=1).reshape(-1, 2)
    codes = np.tile([Path.MOVETO, Path.LINETO], vertices.shape[0] // 2)
    width = 3.4 if shape % 5 == 0 else 1.5
    axes.add_patch(
        PathPatch(
            Path(vertices, codes), fill=False, edgecolor=colour, linewidth=width,
            capstyle="round", alpha=0.75,
        )
    )  # fmt: skip
    if label:
        slash: Any = (2, 0, -45)
        axes.plot(
            [], [], linestyle="none", color=colour, label=label, markersize=6,
            marker=("o", "|", "_", slash, "x")[shape % 5], markeredgewidth=1.6,
        )  # fmt: skip
