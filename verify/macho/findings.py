"""What the ``macho`` checks find: broken rules, and differences from the official binary.

A broken rule fails. A difference fails unless ``differences.toml`` explains that very difference:
one entry per file role, side and item, with a reason. There are no wildcards, so nothing is
explained in advance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..policy.result import CheckResult
from .image import Image

Role = Literal["extension", "library"]
Side = Literal["ours", "official"]
_SHOWN = 3
TABLE = Path(__file__).with_name("differences.toml")


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why one difference from the official binary is right.

    Parameters
    ----------
    check : str
        Id of the check that meets it.
    files : tuple of {"extension", "library"}
        In which of the wheel's two binaries it may appear.
    side : {"ours", "official"}
        Who has the item and the other has not.
    items : tuple of str
        The differences, written as the check writes them.
    reason : str
        The cause, from the sources.
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

    Parameters
    ----------
    check : str
        Its id.
    compared : str
        What was looked at, in a few words with numbers, for the summary of a pass.
    problems : list of str
        Broken rules: they cannot be explained away.
    differences : list of Difference
        Against the official binary.
    evidence : dict
        JSON values for the report.
    """

    check: str
    compared: str = ""
    problems: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict)

    def add_problems(self, image: Image, rules: Iterable[str]) -> None:
        """Add the rules that an image breaks."""
        self.problems.extend(f"{image.name}: {rule}" for rule in rules)

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

    def result(self, explanations: Explanations) -> CheckResult:
        """Judge: passed when no rule is broken and every difference has its reason."""
        explained: list[dict[str, str]] = []
        open_ones: list[dict[str, str]] = []
        for difference in self.differences:
            reason = explanations.get((self.check, difference), "")
            (explained if reason else open_ones).append(
                {
                    "file": difference.file,
                    "only_in": difference.side,
                    "item": difference.item,
                    "reason": reason,
                }
            )
        count = len(self.problems) + len(open_ones)
        listed = [
            *self.problems,
            *(
                f"{entry['item']} only in {entry['only_in']} ({entry['file']})"
                for entry in open_ones
            ),
        ]
        if count:
            more = f"; and {count - _SHOWN} more" if count > _SHOWN else ""
            summary = "; ".join(listed[:_SHOWN]) + more
        else:
            noun = "difference" if len(explained) == 1 else "differences"
            because = f", {len(explained)} {noun} explained" if explained else ""
            summary = f"{self.compared}{because}"
        return CheckResult(
            id=self.check,
            status="failed" if count else "passed",
            summary=summary,
            measured=count,
            limit=0,
            unit="findings",
            evidence={
                "problems": self.problems,
                "unexplained": open_ones,
                "explained": explained,
                **self.evidence,
            },
            hint="The evidence lists every finding. A difference that is right gets an entry with "
            "its reason in verify/macho/differences.toml."
            if count
            else "",
        )


def load_explanations(path: Path = TABLE) -> Explanations:
    """Read ``differences.toml`` strictly.

    Raises
    ------
    PolicyError
        When it has mistakes.
    """
    from ..policy import strict

    data = strict.read_toml(path, what="table of differences")
    return {
        (entry.check, Difference(file=file, side=entry.side, item=item)): entry.reason
        for entry in strict.load(_Table, data, where=f"The table {path.name}").difference
        for file in entry.files
        for item in entry.items
    }
