"""The conversion proof in the report: how far from 1 the cosines are, and which text is worst."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from ..document import CheckEntry, Document
from ..text import is_number, mapping, number
from .figures import cosine_at, figure, short, words_beside
from .svg import Form, paint, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HALF = "conversion.half"
_COSINES = "cosines"
_NEAREST = 1e-9
"""A cosine is kept to nine decimals; whatever is nearer to 1 is drawn here."""
_MOST_PACKAGES = 16


@dataclass(frozen=True, kw_only=True)
class Package:
    """One package's cosines in half precision, and what is known of the worst."""

    name: str
    cosines: npt.NDArray[np.float64]
    worst_case: str
    accumulate: float | None

    @property
    def worst(self) -> float:
        """The lowest cosine."""
        return float(self.cosines.min())

    @property
    def median(self) -> float:
        """The cosine that half of the cases reach."""
        return float(np.median(self.cosines))


def packages(check: CheckEntry) -> tuple[Package, ...]:
    """Read the cosines of ``conversion.half``; packages without any are left out."""
    known = mapping(check.evidence.get("packages"))
    rough = mapping(check.evidence.get("accumulate"))
    found = []
    for name, values in mapping(check.evidence.get(_COSINES)).items():
        listed = values if isinstance(values, list) else ()
        numbers = [float(value) for value in listed if is_number(value)]
        if numbers:
            lowest = rough.get(name)
            found.append(
                Package(
                    name=name,
                    cosines=np.asarray(numbers, dtype=np.float64),
                    worst_case=str(mapping(known.get(name)).get("worst_name") or ""),
                    accumulate=float(lowest) if is_number(lowest) else None,
                )
            )
    return tuple(found)


def drawn(check: CheckEntry) -> tuple[str, ...]:
    """Return which pieces of a check's evidence the picture shows in their place."""
    return (_COSINES,) if check.id.startswith("conversion.") else ()


def section(document: Document) -> dict[str, Any] | None:
    """Return what the page shows of the proof, or ``None`` where no cosine was kept."""
    check = document.check(HALF)
    found = packages(check) if check else ()
    if check is None or not found:
        return None
    limit = check.limit
    return {
        "packages": found,
        "chart": distribution(
            found[:_MOST_PACKAGES], limit=float(limit) if is_number(limit) else None, key="half"
        ),
    }


def distribution(found: Sequence[Package], *, limit: float | None, key: str) -> Markup:
    """Draw each case's distance from 1 on a logarithmic axis, a row for each package.

    The tall mark is the median, the ringed point the worst case, the line the limit.
    """
    if not found:
        return Markup("")
    gaps = [np.clip(1.0 - entry.cosines, _NEAREST, 2.0) for entry in found]
    ends = [float(each.max()) for each in gaps] + [float(each.min()) for each in gaps]
    if limit is not None and limit < 1:
        ends.append(1.0 - limit)
    low, high = 10.0 ** math.floor(math.log10(min(ends))), 10.0 ** math.ceil(math.log10(max(ends)))

    def build(form: Form) -> Figure:
        drawn, (axes,) = figure(form, heights=[40.0 * len(found) + 66.0])
        for row, (entry, values) in enumerate(zip(found, gaps, strict=True)):
            axes.plot(
                values, np.full(values.size, row), linestyle="", marker="o", markersize=5,
                color=paint("s1"), alpha=0.35, markeredgewidth=0,
            )  # fmt: skip
            middle = float(np.median(values))
            axes.plot([middle, middle], [row - 0.22, row + 0.22], color=paint("ink"), linewidth=2)
            axes.plot(
                [float(values.max())], [row], marker="o", markersize=9, fillstyle="none",
                color=paint("s2"), markeredgewidth=1.6,
            )  # fmt: skip
            axes.text(
                low, row - 0.34, short(entry.name), va="bottom", ha="left", fontsize=form.font
            )
        axes.set_xscale("log")
        axes.set(xlim=(low / 1.5, high * 1.5), ylim=(len(found) - 0.5, -1.15))
        steps = range(round(math.log10(low)), round(math.log10(high)) + 1)
        shown = [step for step in steps if not form.narrow or step % 2 == 0 or len(steps) < 4]
        axes.set_xticks([10.0**step for step in shown], [cosine_at(step) for step in shown])
        axes.minorticks_off()
        axes.set_yticks([])
        axes.set_xlabel("cosine with the CPU provider in single precision")
        if limit is not None and limit < 1:
            at = 1.0 - limit
            axes.plot([at, at], [-0.72, len(found) - 0.5], color=paint("bad"), linewidth=1.5)
            words_beside(axes, at, -0.85, f"limit {limit:g}", colour=paint("bad"))
        return drawn

    said = "; ".join(
        f"{entry.name}: {entry.cosines.size} cases, worst {number(entry.worst)}"
        f"{f' ({entry.worst_case})' if entry.worst_case else ''}, median {number(entry.median)}"
        for entry in found
    )
    bound = "" if limit is None else f"; limit {limit:g}"
    return picture(build, key=key, label="Cosines in half precision", description=f"{said}{bound}.")
