"""The report's pictures of latency: how it spreads, and where the time goes.

Each function returns markup with a wide and a narrow drawing (see ``svg.picture``), or empty
markup where there is nothing to draw. Meaning is never left to colour alone: lines differ in
their dashes, points in their shape, bars are labelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from ..samples import Series
from ..text import milliseconds
from .figures import MOST_CURVES, budget_words, facts, figure, legend, mark, short, view_limit
from .svg import Form, paint, picture, series_paint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.6)), (0, (7, 2, 1.5, 2)), (0, (3, 1)))
_SHARED_AXIS = 3.0
_BINS = {"wide": 48, "narrow": 30}


def histogram(curves: Sequence[Series], *, budget: float | None, key: str) -> Markup:
    """Draw one histogram per gate series with the budget, the P95 and its upper bound."""
    if not curves:
        return Markup("")
    ends = [view_limit(curve.values, budget) for curve in curves]
    # One axis for all is best to read, unless it would squeeze one of them into a few bars.
    shared = max(ends) <= _SHARED_AXIS * min(ends)
    spans = []
    for curve, end in zip(curves, ends, strict=True):
        limit = max(ends) if shared else end
        least = min(float(one.values.min()) for one in (curves if shared else [curve]))
        start = max(0.0, least - 0.04 * limit)
        spans.append((0.0 if start < 0.25 * limit else start, limit))

    def build(form: Form) -> Figure:
        drawn, rows = figure(form, heights=[178.0] * len(curves), sharex=shared)
        for axes, curve, (start, limit) in zip(rows, curves, spans, strict=True):
            values = curve.values
            counts, edges = np.histogram(values, bins=_BINS[form.name], range=(start, limit))
            axes.stairs(counts, edges, fill=True, color=paint("s1"), alpha=0.35, linewidth=0)
            axes.stairs(counts, edges, color=paint("s1"), linewidth=1.2)
            top = max(1.0, float(counts.max()))
            axes.set(xlim=(start, limit), ylim=(0, top * 1.62))
            axes.set_ylabel("calls")
            axes.set_yticks([0, _round_tick(top)])
            axes.set_title(short(curve.name), loc="left", fontsize=form.font, pad=8)
            marks = [
                (curve.quantile(0.95), "P95", paint("ink"), (0, (1.5, 1.6)), 1.06),
                (curve.bound, "upper bound", paint("s2"), (0, (5, 2)), 1.24),
                (budget, "budget", paint("bad"), "-", 1.42),
            ]
            for at, word, colour, dashes, height in marks:
                if at is not None:
                    mark(
                        axes,
                        at,
                        f"{word} {milliseconds(at)}",
                        colour=colour,
                        dashes=dashes,
                        height=top * height,
                    )
        rows[-1].set_xlabel("milliseconds per call")
        return drawn

    said = "; ".join(facts(curve) for curve in curves)
    return picture(
        build, key=key, label="Histogram of latency", description=f"{said}{budget_words(budget)}."
    )


def ecdf(curves: Sequence[Series], *, budget: float | None, key: str) -> Markup:
    """Draw the share of calls that took at most so long, for every series."""
    curves = curves[:MOST_CURVES]
    if not curves:
        return Markup("")
    limit = max(view_limit(curve.values, budget) for curve in curves)

    def build(form: Form) -> Figure:
        below = 21.0 * (len(curves) if form.narrow else (len(curves) + 1) // 2)
        drawn, (axes,) = figure(form, heights=[268.0 + below])
        axes.grid(axis="y")
        for index, curve in enumerate(curves):
            ordered = np.sort(curve.values)
            axes.step(
                np.concatenate([[0.0], ordered, [max(limit, ordered[-1])]]),
                np.concatenate([[0.0], np.arange(1, ordered.size + 1) / ordered.size, [1.0]]),
                where="post",
                color=series_paint(index),
                linestyle=_DASHES[index % len(_DASHES)],
                linewidth=1.8,
                label=short(curve.name),
            )
        first = curves[0]
        if first.bound is not None:
            axes.plot(
                [first.quantile(0.95), first.bound], [0.95, 0.95],
                color=paint("ink"), linewidth=2.2, solid_capstyle="butt", marker="|",
                markersize=9, markeredgewidth=1.6, zorder=5,
            )  # fmt: skip
        axes.set(xlim=(0, limit), ylim=(0, 1.16))
        axes.set_yticks([0, 0.25, 0.5, 0.75, 0.95], ["0", "25 %", "50 %", "75 %", "95 %"])
        if budget is not None:
            mark(
                axes,
                budget,
                f"budget {milliseconds(budget)}",
                colour=paint("bad"),
                dashes="-",
                height=1.06,
            )
        axes.set_xlabel("milliseconds per call")
        axes.set_ylabel("share of calls")
        legend(drawn, 1 if form.narrow else 2, columnspacing=1.6)
        return drawn

    said = "; ".join(facts(curve) for curve in curves)
    return picture(
        build,
        key=key,
        label="Share of calls that took at most a given time",
        description=f"{said}{budget_words(budget)}.",
    )


def stages(medians: Mapping[str, Mapping[str, float]], *, key: str) -> Markup:
    """Draw the median time of each stage as stacked bars, one bar per series.

    ``medians`` maps a series to its stages, each in milliseconds.
    """
    medians = dict(list(medians.items())[:8])
    if not medians:
        return Markup("")
    names = list(dict.fromkeys(stage for row in medians.values() for stage in row))
    longest = max(sum(row.values()) for row in medians.values())

    def build(form: Form) -> Figure:
        below = 21.0 * (2 if form.narrow else 1)
        drawn, (axes,) = figure(form, heights=[44.0 * len(medians) + 52.0 + below])
        for row, (series, parts) in enumerate(medians.items()):
            left = 0.0
            for index, stage in enumerate(names):
                width = parts.get(stage, 0.0)
                axes.barh(
                    row, width, left=left, height=0.4, color=series_paint(index),
                    edgecolor=paint("panel"), linewidth=0.8, label=stage if row == 0 else "",
                )  # fmt: skip
                left += width
            axes.text(0, row - 0.3, short(series), va="bottom", ha="left", fontsize=form.font)
            axes.text(
                left + 0.012 * longest, row, milliseconds(left), va="center", ha="left",
                fontsize=form.font - 0.5, color=paint("muted"),
            )  # fmt: skip
        axes.set(xlim=(0, longest * 1.14), ylim=(len(medians) - 0.6, -0.85))
        axes.set_yticks([])
        axes.set_xlabel("median milliseconds")
        legend(drawn, 3 if form.narrow else 5, handlelength=1.0, columnspacing=1.2)
        return drawn

    said = "; ".join(
        f"{series}: " + ", ".join(f"{stage} {milliseconds(ms)} ms" for stage, ms in row.items())
        for series, row in medians.items()
    )
    return picture(build, key=key, label="Median time per stage", description=f"{said}.")


def _round_tick(value: float) -> float:
    magnitude = 10.0 ** np.floor(np.log10(max(value, 1.0)))
    for step in (5, 2, 1):
        if value >= step * magnitude:
            return float(step * magnitude)
    return 1.0
