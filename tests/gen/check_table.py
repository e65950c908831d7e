"""The list of checks on ``docs/verification.md``, from the table that the runs use."""

from __future__ import annotations

from verify.checks.table import CHECKS
from verify.policy.limits import Limits

MARKS = ("<!-- checks: begin (generated) -->", "<!-- checks: end -->")
_PLACES = {
    "target": "in the wheel's environment",
    "host": "on the host, which starts processes there",
    "wheel": "on the wheel's bytes, on any host",
}


def check_table() -> str:
    """Return the list of checks in Markdown."""
    rows = ["| check | a pass says that | by the limits | runs |", "|---|---|---|---|"]
    for check in CHECKS:
        limits = ", ".join(f"{Limits.relation(name)} `{name}`" for name in check.limits) or "–"
        rows.append(f"| `{check.id}` | {check.proves} | {limits} | {_PLACES[check.place]} |")
    return "\n".join(rows)


def page_with_checks(page: str) -> str:
    """Return the page with its list of checks renewed; the marks stay."""
    before, begin, rest = page.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not begin or not end:
        raise ValueError(f"docs/verification.md has lost the line {MARKS[0]} or {MARKS[1]}.")
    return f"{before}{begin}\n{check_table()}\n{end}{after}"
