"""The table, the JSON document, the chart and the page of one measurement."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.paths.measure import Samples
from tests.paths.result import Row

HEAD = (
    "path", "executes here", "P50 ms", "P95 ms", "P95 at most", "claimed ms", "lowest cosine",
    "peak memory MB", "start-up ms", "to deploy MB", "verdict",
)  # fmt: skip

_PAGE = """\
<!doctype html><html lang="en"><meta charset="utf-8"><title>The four paths</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<style>
body {{font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem}}
div {{overflow-x: auto}}
table {{border-collapse: collapse}}
td, th {{padding: .3rem .6rem; border-bottom: 1px solid #8888; text-align: right}}
td:nth-child(-n+2), th:nth-child(-n+2) {{text-align: left}}
svg {{max-width: 100%; height: auto}}
</style>
<h1>The four paths</h1><p>{advice}</p><p>{about}</p>{chart}{table}{reasons}</html>
"""


def cells(row: Row) -> tuple[str, ...]:
    """Return a row's cells as text."""

    def number(value: float | None, form: str, by: float = 1.0) -> str:
        return "" if value is None else format(value / by, form)

    return (
        f"{row.key} {row.name}",
        row.provider,
        number(row.p50_ms, ".2f"),
        number(row.p95_ms, ".2f"),
        number(row.bound_ms, ".2f"),
        f"{row.claimed} (the plan's)",
        number(row.cosine_min, ".7f"),
        number(row.peak_bytes, ".0f", 1e6),
        number(row.start_ms, ".0f"),
        number(row.deployed_bytes, ".0f", 1e6),
        row.verdict,
    )


def markdown(rows: Sequence[Row]) -> str:
    """Return the table for docs/paths.md."""
    lines = [HEAD, tuple("---" for _ in HEAD), *(cells(row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def chart(rows: Sequence[Row], samples: dict[str, Samples], budget_ms: float) -> str:
    """Return an SVG: every sample of every path, its P95, the bound, the budget, and the claims."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(9, 0.9 * len(rows) + 1.2), layout="constrained")
    axes = drawn.subplots()
    for place, row in enumerate(reversed(rows)):
        times = [each / 1e6 for each in samples[row.key].times]
        axes.plot(times, [place] * len(times), "|", color="#4477aa", alpha=0.35, markersize=12)
        if row.p95_ms is not None and row.bound_ms is not None:
            axes.plot([row.p95_ms], [place], "o", color="#aa3377", label="P95 here")
            axes.plot([row.p95_ms, row.bound_ms], [place, place], "-", color="#aa3377", linewidth=3)
        low, _, high = row.claimed.partition(" to ")
        claim = [float(low), float(high or low)]
        axes.plot(claim, [place - 0.25] * 2, "D-", color="#997700", label="claimed by the plan")
    axes.axvline(budget_ms, color="#bb0000", linestyle="--", label=f"budget {budget_ms:g} ms")
    axes.set_yticks(range(len(rows)), [f"{row.key} {row.name}" for row in reversed(rows)])
    axes.set_xlabel("milliseconds, text in to vector out")
    axes.set_xlim(left=0)
    names = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(names.values(), names.keys(), loc="upper right", fontsize="small")
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "paths", "svg.fonttype": "none"}):
        drawn.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def write(
    folder: Path,
    rows: Sequence[Row],
    samples: dict[str, Samples],
    *,
    budget_ms: float,
    about: dict[str, object],
    advice: str,
) -> None:
    """Write ``paths.json`` with every sample, ``paths.md``, ``paths.svg`` and ``paths.html``."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "schema": 1,
        "budget_ms": budget_ms,
        "advice": advice,
        "about": about,
        "paths": [
            {
                **asdict(row),
                "deployed_bytes": row.deployed_bytes,
                "times_ns": samples[row.key].times,
                "cosines": samples[row.key].cosines,
                "starts_seconds": samples[row.key].starts,
            }
            for row in rows
        ],
    }
    picture = chart(rows, samples, budget_ms)
    (folder / "paths.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    (folder / "paths.md").write_text(markdown(rows), "utf-8")
    (folder / "paths.svg").write_text(picture, "utf-8")
    (folder / "paths.html").write_text(_page(rows, picture, about, advice), "utf-8")


def _page(rows: Sequence[Row], picture: str, about: dict[str, object], advice: str) -> str:
    def line(texts: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in texts) + "</tr>"

    body = "".join(line(cells(row), "td") for row in rows)
    reasons = "".join(f"<li>{row.key}: {html.escape(row.reason)}</li>" for row in rows)
    return _PAGE.format(
        advice=html.escape(advice),
        about=html.escape(", ".join(f"{name}: {value}" for name, value in about.items())),
        chart=picture,
        table=f"<div><table>{line(HEAD, 'th')}{body}</table></div>",
        reasons=f"<ul>{reasons}</ul>",
    )
