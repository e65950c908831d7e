"""The frontier of forms for the CPU: its numbers, and how both pages show them.

``python -m verify frontier`` measures it and leaves ``frontier-MODEL.json`` among the reports. The
page of a verification shows it where it is about the same wheel and model, with its date, its
command and its machine; one of another wheel is named and not shown.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from pydantic import TypeAdapter, ValidationError

from ..statistics.ratio import RatioInterval
from .charts.figures import cosine_at, figure
from .charts.svg import Form, paint, picture, series_paint
from .document import Document, Host

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = 1
LIMITS = (0.999, 0.99)
"""Worst cosines for which the fastest form is named."""
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
_LEAST_ERROR = 1e-7
"""Below this, what is left of a cosine is float32's rounding."""
_HEIGHT = 250.0
"""Of the chart's axes, about, in points."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """A form's quantile as a share of fp32's in the same run, with its interval."""

    share: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, found: RatioInterval) -> Share:
        """Turn ``fp32 / form`` round."""
        return cls(
            share=None if found.ratio is None else 1 / found.ratio,
            low=None if found.high is None else 1 / found.high,
            high=None if found.low is None else 1 / found.low,
        )

    @property
    def text(self) -> str:
        """The share and its interval; empty where there is none."""
        if self.share is None:
            return ""
        ends = "" if self.low is None else f" ({self.low:.3f} to {self.high:.3f})"
        return f"{self.share:.3f}{ends}"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a form keeps of fp32's vectors: cosines over the reference texts, and neighbours.

    ``recall`` is the share of fp32's ten nearest passages that are among the form's ten nearest,
    ``answered`` the share of queries whose own passage is among these.
    """

    worst: float
    mean: float
    worst_text: str
    recall: float | None
    answered: float | None


@dataclass(frozen=True, kw_only=True)
class Point:
    """One form: what it keeps and what it costs; times in ms, sizes in MiB."""

    form: str
    summary: str
    kept: Kept | None
    size_mib: float | None
    memory_mib: float | None
    p50: float
    p95: float
    p50_share: Share
    p95_share: Share

    @property
    def cells(self) -> list[str]:
        """The columns in the order of :data:`COLUMNS`."""
        kept = self.kept
        return [
            "" if kept is None else f"{kept.worst:.5f}",
            "" if kept is None else f"{kept.mean:.5f}",
            "" if kept is None or kept.recall is None else f"{kept.recall:.4f}",
            "" if kept is None or kept.answered is None else f"{kept.answered:.3f}",
            f"{self.p50:.2f}",
            f"{self.p95:.2f}",
            self.p95_share.text,
            self.p50_share.text,
            "" if self.size_mib is None else f"{self.size_mib:.1f}",
            "" if self.memory_mib is None else f"{self.memory_mib:.0f}",
        ]


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """All points of one run, and under what they were measured."""

    encoder: str
    tokens: int
    instructions: tuple[str, ...]
    saturates: Mapping[str, bool]
    points: tuple[Point, ...]

    def fastest(self, worst: float) -> Point | None:
        """Return the form with the lowest P95 whose worst cosine is at least ``worst``."""
        good = [p for p in self.points if p.kept is not None and p.kept.worst >= worst]
        return min(good, key=lambda point: point.p95, default=None)

    @property
    def fastest_words(self) -> list[str]:
        """A sentence for each of :data:`LIMITS`."""
        lines = []
        for limit in LIMITS:
            best = self.fastest(limit)
            words = "none" if best is None else f"{best.form}, P95 {best.p95:.2f} ms"
            lines.append(f"fastest with worst cosine >= {limit}: {words}")
        return lines

    @property
    def saturation_words(self) -> str:
        """Which products of bytes are wrong on this machine."""
        wrong = [name for name, found in self.saturates.items() if found]
        if wrong:
            return f"products of {', '.join(wrong)} saturate here; the prepared forms use u8u8"
        return "no product of bytes saturates here"

    def chart(self) -> Markup:
        """Draw what is lost of the worst cosine against P95."""
        points = [(p.form, p.p95, 1 - p.kept.worst) for p in self.points if p.kept is not None]

        def build(form: Form) -> Figure | None:
            if not points:
                return None
            drawn, (axes,) = figure(form, heights=[_HEIGHT + 50.0])
            axes.set(
                yscale="log",
                ylim=(_LEAST_ERROR / 2, 1.0),
                xlim=(0, 1.25 * max(time for _, time, _ in points)),
            )
            axes.set(xlabel="P95, ms", ylabel="worst cosine")
            nines = range(round(-math.log10(_LEAST_ERROR)) + 1)
            axes.set_yticks(
                [10.0**-count for count in nines], [cosine_at(-count) for count in nines]
            )
            axes.set_yticks([], minor=True)
            for limit in LIMITS:
                axes.axhline(1 - limit, color=paint("bad"), linewidth=1.0, linestyle=(0, (4, 3)))
            used = 0.0
            for number, (name, time, lost) in sorted(enumerate(points), key=lambda p: p[1][2]):
                place = (time, max(lost, _LEAST_ERROR))
                axes.plot(*place, marker="o", color=series_paint(number), markersize=6)
                # Names stand one above the other where their points are near.
                height = _HEIGHT * (1 - math.log10(place[1]) / math.log10(_LEAST_ERROR / 2))
                used = max(height, used + form.font + 2)
                away = (7, used - height)
                axes.annotate(name, place, away, textcoords="offset points", va="center")
            axes.grid(axis="both")
            return drawn

        said = "; ".join(
            f"{name}: P95 {time:.2f} ms, {lost:.2g} lost" for name, time, lost in points
        )
        label = "What is lost of the worst cosine, against P95"
        return picture(build, key="frontier", label=label, description=said)


@dataclass(frozen=True, kw_only=True)
class FrontierRun:
    """A frontier, and when (in UTC), how and where it was measured."""

    created: str
    command: str
    wheel: str
    wheel_sha256: str
    host: Host
    frontier: Frontier

    def to_json(self) -> dict[str, Any]:
        """Return the run as JSON values."""
        best = {str(limit): self.frontier.fastest(limit) for limit in LIMITS}
        fastest = {limit: point.form for limit, point in best.items() if point is not None}
        found = TypeAdapter(FrontierRun).dump_python(self, mode="json")
        return {"schema": SCHEMA, **found, "fastest": fastest}


def shown(path: Path, document: Document) -> FrontierRun | str:
    """Return the run of ``frontier-MODEL.json`` that the page may show, or why it shows none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        known = {name: data[name] for name in FrontierRun.__dataclass_fields__}
        run = TypeAdapter(FrontierRun).validate_python(known)
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, TypeError, KeyError, ValidationError):
        return f"{path.name} cannot be read, so it is not shown."
    if run.wheel_sha256 != document.wheel.sha256:
        return f"{path.name} is of another wheel ({run.wheel}), so it is not shown."
    if run.frontier.encoder != document.model:
        return f"{path.name} is of another model ({run.frontier.encoder}), so it is not shown."
    return run
