"""What differs between two runs: latency (is it real?), statuses of checks, embeddings."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import VerifyError
from ..policy.result import Status
from .difference import QUANTILES, LatencyDifference, differences
from .document import CheckEntry, Decision, Document
from .samples import latency_series
from .text import is_number, mapping

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class StatusChange:
    """A check whose status differs; None where one run does not have the check."""

    id: str
    before: Status | None
    after: Status | None


@dataclass(frozen=True, kw_only=True)
class EmbeddingDrift:
    """A number of an ``embedding.*`` check that differs, such as the worst cosine."""

    check: str
    quantity: str
    before: float
    after: float
    unit: str = ""

    @property
    def change(self) -> float:
        """``after - before``."""
        return self.after - self.before


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What differs between two runs.

    ``decisions`` are the verdicts' of the first and the second one. ``latency`` has the median and
    P95 of each series that both runs have; ``confidence`` holds for all its intervals together.
    ``only_before`` and ``only_after`` are series that one of the runs has.
    """

    same_host: bool
    same_wheel: bool
    decisions: tuple[Decision, Decision]
    confidence: float
    latency: tuple[LatencyDifference, ...]
    statuses: tuple[StatusChange, ...]
    drift: tuple[EmbeddingDrift, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    @property
    def real(self) -> bool:
        """Whether any latency difference is more than noise."""
        return any(one.real for one in self.latency)

    @property
    def headline(self) -> str:
        """One sentence that says what was found about latency."""
        where = "" if self.same_host else " (the runs come from different hosts)"
        judged = [one for one in self.latency if one.outcome != "too few samples"]
        if not judged:
            return f"There are too few samples to tell whether latency differs{where}."
        real = [one for one in judged if one.real]
        if not real:
            return f"No real difference in latency{where}."
        worst = max(real, key=lambda one: abs(math.log(one.ratio)))
        percent = abs(worst.ratio - 1) * 100
        return (
            f"{len(real)} of {len(judged)} latency comparisons differ for real; the largest: "
            f"{worst.statistic} of {worst.series} is {percent:.1f} % {worst.outcome}{where}."
        )


def compare(a: Document, b: Document, *, allow_other_host: bool = False) -> Comparison:
    """Compare two runs; ``a`` is the earlier or the reference run.

    Raises
    ------
    VerifyError
        If the hosts differ and `allow_other_host` is not set.
    """
    same_host = a.host.fingerprint == b.host.fingerprint
    if not same_host and not allow_other_host:
        raise VerifyError(
            "The two runs come from different hosts, so a difference in latency says nothing "
            "about the wheel.",
            hint="Compare runs from one host, or pass --other-host to compare them anyway.",
            context={
                f"{which} host": f"{run.host.cpu or 'unknown'} ({run.host.fingerprint[:12]})"
                for which, run in (("first", a), ("second", b))
            },
        )
    before = {one.name: one for one in latency_series(a)}
    after = {one.name: one for one in latency_series(b)}
    shared = [name for name in before if name in after]
    # Bonferroni: the confidence holds for all the intervals together.
    each = 1 - (1 - CONFIDENCE) / max(1, len(shared) * len(QUANTILES))
    latency = [
        one for name in shared for one in differences(before[name], after[name], confidence=each)
    ]
    return Comparison(
        same_host=same_host,
        same_wheel=a.wheel.sha256 == b.wheel.sha256,
        decisions=(a.verdict.decision, b.verdict.decision),
        confidence=CONFIDENCE,
        latency=tuple(latency),
        statuses=_statuses(a, b),
        drift=_drift(a, b),
        only_before=tuple(name for name in before if name not in after),
        only_after=tuple(name for name in after if name not in before),
    )


def _statuses(a: Document, b: Document) -> tuple[StatusChange, ...]:
    before = {check.id: check.status for check in a.checks}
    after = {check.id: check.status for check in b.checks}
    return tuple(
        StatusChange(id=key, before=before.get(key), after=after.get(key))
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    )


def _drift(a: Document, b: Document) -> tuple[EmbeddingDrift, ...]:
    found = []
    for earlier in a.checks:
        later = b.check(earlier.id)
        if later is None or not earlier.id.startswith("embedding."):
            continue
        old, new = _quantities(earlier), _quantities(later)
        found += [
            EmbeddingDrift(
                check=earlier.id,
                quantity=name,
                before=old[name],
                after=new[name],
                unit=later.unit if name == "measured" else "",
            )
            for name in old
            if name in new and old[name] != new[name]
        ]
    return tuple(found)


def _quantities(check: CheckEntry) -> dict[str, float]:
    """Collect a check's numbers: measured, and the plain ones of measured and evidence."""
    found = {"measured": check.measured, **mapping(check.measured), **check.evidence}
    return {name: float(item) for name, item in found.items() if is_number(item)}
