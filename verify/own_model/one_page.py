"""The examination on a terminal of 80 columns, and as one page that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .. import coverage
from ..coverage.show import graph_views, shape_text
from ..latency.series import SeriesSamples
from ..report.charts import conversion_charts
from ..report.charts import overview as charts
from ..report.document import CheckEntry
from ..report.html import page_environment
from ..report.samples import Series
from ..report.terminal import STYLES
from .examine import Asked, Examined
from .summary import KINDS, entries
from .timing import summary

WIDTH = 80


def show(document: dict[str, Any], checks: list[CheckEntry], page: Path, console: Console) -> None:
    """Print the verdict, a line for each part, what to do next, and where the page is."""
    width = min(WIDTH, console.width) if console.is_terminal else WIDTH
    verdict = document["verdict"]
    style = STYLES[KINDS[verdict["exit_code"]]]
    console.print(f"[{style}]{verdict['decision']}[/]  {escape(verdict['headline'])}", width=width)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        party = check.evidence.get("party", "")
        blame = f" [bold]({escape(str(party))})[/]" if party and check.status != "passed" else ""
        text = f"{check.id}{blame}\n{escape(' '.join(check.summary.split()))}"
        table.add_row(f"[{STYLES[check.status]}]{check.status}[/]", text)
    console.print(table, width=width)
    for step in dict.fromkeys(verdict["next"]):
        console.print(f"next: {step}", markup=False, soft_wrap=True)
    console.print(f"page: {page}", markup=False, soft_wrap=True)


def render(document: dict[str, Any], asked: Asked, examined: Examined) -> str:
    """Return the page; the same findings give the same bytes."""
    environment = page_environment(__package__, coverage.__name__)
    series = [_series(each) for each in examined.timing.series] if examined.timing else []
    half = next((each for each in entries(examined) if each.id == "conversion.half"), None)
    found = conversion_charts.packages(half) if half else ()
    limit = half.limit if half and isinstance(half.limit, float) else None
    return environment.get_template("one_page.html.j2").render(
        document=document,
        checks=entries(examined),
        kind=KINDS[document["verdict"]["exit_code"]],
        graphs=graph_views(examined.answers, asked.limits),
        limits=asked.limits,
        shape_text=shape_text,
        half=conversion_charts.distribution(found, limit=limit, key="half"),
        series=series,
        spread=charts.ecdf(series, budget=asked.options.budget_ms, key="ecdf"),
    )


def _series(samples: SeriesSamples) -> Series:
    judged = summary(samples)
    return Series(
        name=samples.spec.workload,
        role="candidate",
        provider="cpu",
        precision="fp32",
        workload=samples.spec.workload,
        values=np.asarray(samples.values, dtype=np.float64) / 1e6,
        process=np.asarray(samples.process, dtype=np.int64),
        tokens=np.asarray(samples.tokens, dtype=np.int64),
        warmup=np.asarray(samples.warmup, dtype=np.float64) / 1e6,
        bound=judged.upper_bound,
    )
