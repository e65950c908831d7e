"""What the report's pictures share: axes, marks, names and words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..samples import Series
from ..text import MISSING, SUPERSCRIPT, milliseconds
from .svg import Form, paint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

MOST_CURVES = 6
_LABEL_ROOM = 38
_OUTLIER_FACTOR = 1.6


def view_limit(values: npt.NDArray[np.float64], budget: float | None) -> float:
    """Return the end of a latency axis, so that single outliers do not flatten the rest.

    Parameters
    ----------
    values : ndarray of float64 [n]
        Milliseconds, at least one.
    budget : float or None
        Milliseconds; always inside the axis.

    Returns
    -------
    float
        The largest value where it is near the bulk; else somewhat beyond P99 and the budget.
    """
    largest = float(values.max())
    bulk = max(float(np.quantile(values, 0.99)) * 1.08, (budget or 0.0) * 1.12)
    return largest * 1.04 if largest <= bulk * _OUTLIER_FACTOR and largest > bulk else bulk


def figure(
    form: Form, *, heights: Sequence[float], sharex: bool = False
) -> tuple[Figure, list[Axes]]:
    """Make a figure of stacked axes; heights in points."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(form.width / 72, sum(heights) / 72), dpi=72, layout="constrained")
    drawn.patch.set_visible(False)
    grid = drawn.subplots(len(heights), 1, squeeze=False, sharex=sharex)
    rows: list[Axes] = list(grid[:, 0])
    for axes in rows:
        axes.patch.set_visible(False)
    return drawn, rows


def mark(axes: Axes, at: float, text: str, *, colour: str, dashes: Any, height: float) -> None:
    """Draw a vertical line of the given height with its words beside the top end."""
    axes.plot([at, at], [0, height], color=colour, linestyle=dashes, linewidth=1.5)
    words_beside(axes, at, height, text, colour=colour)


def words_beside(axes: Axes, at: float, height: float, text: str, *, colour: str) -> None:
    """Write words beside a point, on the side that has more room."""
    left = (axes.transScale + axes.transLimits).transform((at, height))[0] > 0.6
    axes.annotate(
        text, (at, height), (-5 if left else 5, 0), textcoords="offset points",
        ha="right" if left else "left", va="center", color=colour,
    )  # fmt: skip


def log_ticks(axis: Axis) -> None:
    """Label a logarithmic axis in plain numbers: matplotlib's own labels are mathematics."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def cosine_at(step: int) -> str:
    """Return the cosine at a distance of ten to the ``step`` from 1, as ``0.9999``."""
    if step >= 0:
        return "0" if step == 0 else MISSING
    return (
        f"0.{'9' * -step}"
        if step > -7
        else f"1 \N{MINUS SIGN} 10{str(step).translate(SUPERSCRIPT)}"
    )


def short(name: str) -> str:
    """Cut a series name to what fits, without control characters."""
    clean = "".join(letter if letter.isprintable() else " " for letter in name)
    return clean if len(clean) <= _LABEL_ROOM else clean[: _LABEL_ROOM - 1] + "…"


def budget_line(axes: Axes, budget: float | None, form: Form, *, right: bool) -> None:
    """Draw the budget across the axes, with its words at one end."""
    if budget is None:
        return
    axes.axhline(budget, color=paint("bad"), linewidth=1.3)
    axes.annotate(
        f"budget {milliseconds(budget)}", (float(right), budget), (0, 3),
        xycoords=("axes fraction", "data"), textcoords="offset points",
        ha="right" if right else "left", va="bottom", color=paint("bad"), fontsize=form.font - 0.5,
    )  # fmt: skip


def legend(drawn: Figure, columns: int, **more: float) -> None:
    """Put the legend below the axes."""
    drawn.legend(
        loc="outside lower left", ncols=columns, borderaxespad=0.2, labelspacing=0.35, **more
    )


def facts(series: Series) -> str:
    """Say a series' numbers in words, for a text alternative."""
    bound = "" if series.bound is None else f", upper bound {milliseconds(series.bound)} ms"
    return (
        f"{series.name}: {series.values.size} calls, median "
        f"{milliseconds(series.quantile(0.5))} ms, P95 {milliseconds(series.quantile(0.95))} ms"
        f"{bound}"
    )


def budget_words(budget: float | None) -> str:
    """Say the budget, or nothing."""
    return "" if budget is None else f"; budget {milliseconds(budget)} ms"
