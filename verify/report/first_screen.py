"""The five figures of the report's first screen, each from the check that measured it.

A figure that no check measured says so with the check's own words; it never borrows a pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .document import CheckEntry, Document
from .samples import Series
from .text import MISSING, is_number, mapping, milliseconds, objects, value_text

_ROOM = 96
_DECIMALS = 6


@dataclass(frozen=True, kw_only=True)
class BigFigure:
    """One figure: its name, the value set large, what it is judged by, and the check's status."""

    name: str
    value: str
    note: str
    status: str


def big_figures(document: Document, gate: tuple[Series, ...]) -> tuple[BigFigure, ...]:
    """Return the five figures of the first screen.

    Parameters
    ----------
    document : Document
        The run.
    gate : tuple of Series
        The latency series that the gate judges, the first one leading.

    Returns
    -------
    tuple of BigFigure
        P95 with its bound, worst cosine, partitions, speed against the official wheel, and how
        much was not proven; always five, in this order.
    """

    def latency(check: CheckEntry) -> tuple[str, str]:
        p95 = gate[0].quantile(0.95) if gate else check.evidence.get("p95")
        bound = gate[0].bound if gate else check.measured
        budget = document.policy.limits.get("latency_p95_ms", check.limit)
        if not is_number(p95):
            return MISSING, check.summary
        form = document.policy.cpu_precision
        told = f", in {form}" if form != "fp32" else ""
        upper = f"upper bound {milliseconds(bound)} ms" if is_number(bound) else "no upper bound"
        return f"{milliseconds(p95)} ms", f"{upper}, budget {value_text(budget)} ms{told}"

    def cosine(check: CheckEntry) -> tuple[str, str]:
        if not is_number(check.measured):
            return MISSING, check.summary
        form = document.policy.cpu_precision
        note = f"to the float64 reference; at least {check.limit}"
        agreement = document.check("embedding.agreement")
        if form != "fp32" and agreement and is_number(agreement.measured):
            note = f"fp32 {note}; {form} keeps {_rounded_down(agreement.measured)}"
        return _rounded_down(check.measured), note

    def partitions(check: CheckEntry) -> tuple[str, str]:
        if not is_number(check.measured):
            return MISSING, check.summary
        nodes = document.check("coverage.nodes")
        share = nodes.measured if nodes and is_number(nodes.measured) else None
        taken = f", {100 * share:.1f} % of the nodes" if share is not None else ""
        return value_text(check.measured), f"at most {value_text(check.limit)}{taken}"

    def speed(check: CheckEntry) -> tuple[str, str]:
        for one in objects(check.evidence.get("comparisons")):
            found = mapping(one.get("median"))
            ratio = found.get("ratio")
            if one.get("name") == "candidate over official" and is_number(ratio):
                low, high = found.get("low"), found.get("high")
                interval = (
                    f"{low:.2f} to {high:.2f}" if is_number(low) and is_number(high) else "alone"
                )
                return f"{ratio:.2f} ×", f"ratio of medians on the CPU, {interval}"
        unmeasured = mapping(check.evidence.get("not_measured"))
        why = unmeasured.get("candidate over official", check.summary)
        return MISSING, f"not measured: {why}"

    rows: tuple[tuple[str, str, Callable[[CheckEntry], tuple[str, str]]], ...] = (
        ("P95 of one query", "latency.p95", latency),
        ("worst cosine", "embedding.reference", cosine),
        ("partitions", "coverage.partitions", partitions),
        ("speed against the official wheel", "latency.speedup", speed),
    )
    return (*(_figure(document, *row) for row in rows), _open(document))


def _figure(
    document: Document, name: str, check_id: str, read: Callable[[CheckEntry], tuple[str, str]]
) -> BigFigure:
    check = document.check(check_id)
    if check is None:
        return BigFigure(
            name=name, value=MISSING, note="not among the checks of this run", status="not-run"
        )
    value, note = read(check)
    # Without its figure a check's status would colour a dash.
    status = check.status if value != MISSING else "not-run"
    return BigFigure(name=name, value=value, note=_short(note), status=status)


def _open(document: Document) -> BigFigure:
    lines = document.verdict.not_proven
    note = "every check of this run was settled" if not lines else "each is named below"
    return BigFigure(
        name="not proven",
        value=str(len(lines)),
        note=note,
        status="inconclusive" if lines else "passed",
    )


def _rounded_down(cosine: float) -> str:
    """Write six decimals, never rounded up: only equal vectors read as 1."""
    if not -1 <= cosine <= 1:
        return value_text(cosine)
    scale = 10**_DECIMALS
    text = f"{math.floor(cosine * scale) / scale:.{_DECIMALS}f}"
    return text.rstrip("0").rstrip(".") or "0"


def _short(text: str) -> str:
    return text if len(text) <= _ROOM else text[: _ROOM - 2].rstrip() + " …"
