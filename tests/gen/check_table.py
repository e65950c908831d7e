"""The list of checks on ``docs/verification.md``, from the table that the runs use."""

from __future__ import annotations

from verify.checks.table import CHECKS
from verify.policy.limits import Limits

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
