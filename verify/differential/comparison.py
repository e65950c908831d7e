"""What the comparison of two wheels found, as text, as JSON and as check results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..policy.result import CheckResult
from .delta import Delta

#: Verdicts against a case's own expected outputs, from best to worst.
VERDICTS = ("passed", "failed", "error", "crash")
_WORST = 20
_LISTED = 50


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One case in which the two wheels disagree.

    Its group is ``node`` or ``generated``; ``detail`` says what the candidate gave and what the
    official wheel gave, and for ``outputs`` there are the distances.
    """

    case: str
    configuration: str
    group: str
    kind: str
    detail: str
    delta: Delta | None = None

    def text(self) -> str:
        """Return it in one line."""
        return f"{self.case} [{self.configuration}] {self.kind}: {self.detail}"

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        row = asdict(self)
        del row["delta"]
        return row | (self.delta.numbers() if self.delta is not None else {})


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one group of cases came to on both wheels.

    Parameters
    ----------
    cases : int
    official, candidate : Mapping[str, int]
        Cases by verdict against their own expected outputs (node tests), in the default
        configuration.
    ran : int
        Runs (case and configuration) that gave outputs on both wheels.
    refused : int
        Runs that both wheels refuse with the same kind of error.
    identical, within : int
        Of those that ran: outputs with the same bits, and others within the tolerance.
    """

    cases: int = 0
    official: Mapping[str, int] = field(default_factory=dict)
    candidate: Mapping[str, int] = field(default_factory=dict)
    ran: int = 0
    refused: int = 0
    identical: int = 0
    within: int = 0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The whole result.

    Parameters
    ----------
    versions : tuple[str, str]
        ``onnxruntime.__version__`` of the official wheel and of the candidate.
    sides : Mapping[str, Side]
        By group, ``node`` and ``generated``.
    differences : tuple[Difference, ...]
        Every disagreement, in the order of the cases.
    close : tuple[Difference, ...]
        Outputs that are not bitwise equal but within the tolerance, worst first.
    undefined : tuple[Difference, ...]
        Other outputs where the case says that their values are undefined; not a disagreement.
    messages : tuple[str, ...]
        Cases whose error has the same kind and another text; not a disagreement.
    seconds : tuple[float, float]
        Wall time of the two runs.
    """

    versions: tuple[str, str]
    sides: Mapping[str, Side]
    differences: tuple[Difference, ...]
    close: tuple[Difference, ...]
    undefined: tuple[Difference, ...]
    messages: tuple[str, ...]
    seconds: tuple[float, float]

    def text(self) -> str:
        """Summarise for a terminal."""
        lines = [f"official {self.versions[0]}, candidate {self.versions[1]}"]
        for group, side in self.sides.items():
            lines.append(
                f"{group}: {side.cases} cases; {side.ran} runs gave outputs on both "
                f"({side.identical} bitwise equal, {side.within} within the tolerance), "
                f"{side.refused} refused alike by both"
            )
            if any(side.official.values()):
                lines.append(f"  official  {_counts(side.official)}")
                lines.append(f"  candidate {_counts(side.candidate)}")
        lines.append(f"differences: {len(self.differences)}")
        lines += _listed(self.differences, _LISTED)
        if self.close:
            lines.append(f"within the tolerance, not bitwise equal: {len(self.close)}, worst first")
            lines += _listed(self.close, _WORST)
        if self.undefined:
            lines.append(f"other values where C++ leaves them undefined: {len(self.undefined)}")
            lines += _listed(self.undefined, _WORST)
        if self.messages:
            lines.append(f"same error, other words: {len(self.messages)} runs")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON object (schema 1)."""
        return {
            "schema": 1,
            "versions": {"official": self.versions[0], "candidate": self.versions[1]},
            "seconds": {"official": self.seconds[0], "candidate": self.seconds[1]},
            "groups": {group: asdict(side) for group, side in self.sides.items()},
            "differences": [item.to_json() for item in self.differences],
            "close": [item.to_json() for item in self.close],
            "undefined": [item.to_json() for item in self.undefined],
            "messages": list(self.messages),
        }

    def check_results(self) -> tuple[CheckResult, CheckResult]:
        """``differential.node_tests`` and ``differential.special_values``.

        A group that has no case, or in which nothing ran, is ``not-run``, never passed.
        """
        return (
            self._check("differential.node_tests", "node", "node tests"),
            self._check("differential.special_values", "generated", "special-value cases"),
        )

    def _check(self, check: str, group: str, noun: str) -> CheckResult:
        side = self.sides.get(group, Side())
        if side.cases == 0:
            return CheckResult(
                id=check,
                status="not-run",
                summary=f"no {noun} were given",
                hint="Give the onnx source archive with --onnx-archive." if group == "node" else "",
            )
        found = [item for item in self.differences if item.group == group]
        evidence = self.to_json()["groups"][group] | {
            "versions": list(self.versions),
            "differences": [item.to_json() for item in found[:_LISTED]],
            "undefined": [item.case for item in self.undefined if item.group == group][:_LISTED],
            "worst": [item.to_json() for item in self.close if item.group == group][:_WORST],
        }
        if not found and side.ran == 0:
            return CheckResult(
                id=check,
                status="not-run",
                summary=f"neither wheel ran any of the {side.cases} {noun}",
                evidence=evidence,
                hint="Look at the errors in the journals of the run.",
            )
        passed = f"the same {side.official.get('passed', 0)} pass, " if group == "node" else ""
        return CheckResult(
            id=check,
            status="failed" if found else "passed",
            summary=f"{len({item.case for item in found})} of {side.cases} {noun} differ from "
            f"the official wheel, first {found[0].text()}"
            if found
            else f"{side.cases} {noun}: {passed}{side.identical} of {side.ran} runs bitwise "
            f"equal to the official wheel, {side.within} within the tolerance",
            measured=len(found),
            limit=0,
            unit="differences",
            evidence=evidence,
            hint="Run python -m verify differential for the whole list." if found else "",
        )


def _listed(items: Sequence[Difference], most: int) -> list[str]:
    """Count them by operator, then list the first ones, configurations put together."""
    if not items:
        return []
    operators = Counter("/".join(item.case.split("/")[:2]) for item in items)
    counts = ", ".join(f"{name} {count}" for name, count in operators.most_common(most))
    lines: dict[tuple[str, str, str], list[str]] = {}
    for item in items:
        lines.setdefault((item.case, item.kind, item.detail), []).append(item.configuration)
    first = [
        f"  {case} [{', '.join(names)}] {kind}: {detail}"
        for (case, kind, detail), names in list(lines.items())[:most]
    ]
    more = [f"  … and {len(lines) - most} more"] if len(lines) > most else []
    return [f"  by operator: {counts}", *first, *more]


def _counts(verdicts: Mapping[str, int]) -> str:
    return ", ".join(f"{verdicts.get(verdict, 0)} {verdict}" for verdict in VERDICTS)
