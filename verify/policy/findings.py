"""What the checks of a wheel's bytes find: broken rules, and differences from the official binary.

A broken rule fails its check. A difference fails the comparison unless a table explains that very
difference: one entry per file role, side and item, with a reason, for the versions that the table
names. There are no wildcards, so nothing is explained in advance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .result import CheckResult, Status

Role = Literal["extension", "library"]
Side = Literal["ours", "official"]
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why one difference from the official binary is right; the reason is from the sources.

    ``side`` has the items, written as the check writes them, and the other one has not. They may
    appear in those of the wheel's two binaries that ``files`` names.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic, not a field

    check: str
    files: tuple[Role, ...]
    side: Side
    items: tuple[str, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class _Table:
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic, not a field

    schema: Literal[1]
    versions: tuple[str, ...] = ()
    difference: tuple[Explanation, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One item that only one side has."""

    file: Role
    side: Side
    item: str


Explanations = Mapping[tuple[str, Difference], str]
"""Check and difference to the reason why it is right."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one check found in all of the wheel's binaries; it grows while the check looks.

    ``compared`` is what was looked at, in a few words with numbers, for the summary of a pass.
    ``problems`` are broken rules: they cannot be explained away as differences from the official
    binary can. ``evidence`` holds JSON values for the report.
    """

    check: str
    compared: str = ""
    problems: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict)

    def add_problems(self, name: str, rules: Iterable[str]) -> None:
        """Add the rules that a file breaks."""
        self.problems.extend(f"{name}: {rule}" for rule in rules)

    def compare(self, file: Role, ours: Iterable[str], official: Iterable[str]) -> None:
        """Add what only one of two sets holds, sorted."""
        mine, theirs = set(ours), set(official)
        sides: tuple[tuple[Side, set[str]], ...] = (
            ("ours", mine - theirs),
            ("official", theirs - mine),
        )
        self.differences.extend(
            Difference(file=file, side=side, item=item)
            for side, only in sides
            for item in sorted(only)
        )

    def result(self, *, broken: Status = "failed", hint: str = "") -> CheckResult:
        """Judge by the rules alone: passed when none is broken, else ``broken``."""
        count = len(self.problems)
        return CheckResult(
            id=self.check,
            status=broken if count else "passed",
            summary=_some(self.problems) if count else self.compared,
            measured=count,
            limit=0,
            unit="findings",
            evidence={"problems": self.problems, **self.evidence},
            hint=(hint or "The evidence lists every finding.") if count else "",
        )


def compare_all(check: str, outcomes: Iterable[Outcome], explanations: Explanations) -> CheckResult:
    """Judge the differences of several checks: passed when every one has its reason."""
    explained: list[dict[str, str]] = []
    open_ones: list[dict[str, str]] = []
    for outcome in outcomes:
        for difference in outcome.differences:
            reason = explanations.get((outcome.check, difference), "")
            (explained if reason else open_ones).append(
                {
                    "check": outcome.check,
                    "file": difference.file,
                    "only_in": difference.side,
                    "item": difference.item,
                    "reason": reason,
                }
            )
    count = len(open_ones)
    listed = [
        f"{entry['item']} only in {entry['only_in']} ({entry['file']})" for entry in open_ones
    ]
    noun = "difference" if len(explained) == 1 else "differences"
    because = f", {len(explained)} {noun} explained" if explained else ""
    return CheckResult(
        id=check,
        status="failed" if count else "passed",
        summary=_some(listed) if count else f"no difference without a reason{because}",
        measured=count,
        limit=0,
        unit="differences",
        evidence={"unexplained": open_ones, "explained": explained},
        hint="The evidence lists every difference. One that is right gets an entry with its reason "
        "in the table of its version, such as verify/macho/differences.toml."
        if count
        else "",
    )


def _some(listed: Sequence[str]) -> str:
    count = len(listed)
    more = f"; and {count - _SHOWN} more" if count > _SHOWN else ""
    return "; ".join(listed[:_SHOWN]) + more


def load_explanations(path: Path, version: str) -> Explanations:
    """Read a table of differences strictly; for a version that it is not about, it is empty.

    Raises
    ------
    PolicyError
        When it has mistakes.
    """
    from . import strict

    data = strict.read_toml(path, what="table of differences")
    table = strict.load(_Table, data, where=f"The table {path.name}")
    return {
        (entry.check, Difference(file=file, side=entry.side, item=item)): entry.reason
        for entry in table.difference
        if version in table.versions
        for file in entry.files
        for item in entry.items
    }
