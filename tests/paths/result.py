"""What the samples of a path come to: figures, and GO or NO-GO against the policy's limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

from tests.paths.measure import Route, Samples
from verify.policy.limits import Limits
from verify.statistics.gate import judge_p95

Verdict = Literal["GO", "NO-GO", "inconclusive", "not run"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One path's line of the table; milliseconds, bytes and cosines, None where there is none."""

    key: str
    name: str
    provider: str
    claimed: str
    verdict: Verdict
    reason: str
    n: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    bound_ms: float | None = None
    cosine_min: float | None = None
    start_ms: float | None = None
    peak_bytes: int | None = None
    deployed: Mapping[str, int] | None = None

    @property
    def deployed_bytes(self) -> int | None:
        """Everything that a machine needs, in bytes."""
        return None if self.deployed is None else sum(self.deployed.values())


def size(place: Path) -> int:
    """Return the bytes of a file, or of all files below a folder, links not followed."""
    if place.is_file():
        return place.stat().st_size
    files = (each for each in place.rglob("*") if each.is_file() and not each.is_symlink())
    return sum(each.stat().st_size for each in files)


def row(route: Route, samples: Samples, limits: Limits, budget_ms: float) -> Row:
    """Judge one path.

    GO asks for two things: the bound of P95 within the budget, and every reference text within
    the policy's cosine (of a form in fewer bits, within its agreement). A path that failed is
    not run, and never a NO-GO by its figures.
    """
    same = {name: getattr(route, name) for name in ("key", "name", "provider", "claimed")}
    if samples.failed:
        return Row(**same, verdict="not run", reason=samples.failed)
    judged = judge_p95(
        samples.times,
        budget_ms=budget_ms,
        min_samples=limits.latency_min_samples,
        confidence=limits.latency_confidence,
    )
    lowest = min(samples.cosines)
    least = limits.min_cosine if route.exact else limits.agreement_min_cosine
    right = lowest >= least
    verdict: Verdict = "inconclusive"
    if not right or judged.status == "failed":
        verdict = "NO-GO"
    elif judged.status == "passed":
        verdict = "GO"
    wrong = f"The lowest cosine is {lowest:.7f}, below {least}."
    return Row(
        **same,
        verdict=verdict,
        reason=judged.reason if right else wrong,
        n=judged.n,
        p50_ms=judged.p50,
        p95_ms=judged.p95,
        bound_ms=judged.upper_bound,
        cosine_min=lowest,
        start_ms=1e3 * median(samples.starts),
        peak_bytes=samples.peak_bytes,
        deployed={what: size(place) for what, place in route.deployed.items()},
    )


def advice(rows: list[Row], budget_ms: float) -> str:
    """Return one sentence about which path to take on a host like this one."""
    passed = [each for each in rows if each.verdict == "GO" and each.bound_ms is not None]
    if not passed:
        return f"No path is a GO against {budget_ms:g} ms on this host."
    best = min(passed, key=lambda each: each.bound_ms or 0.0)
    others = [each.key for each in passed if each is not best]
    also = f"; {', '.join(others)} would do as well" if others else ""
    return (
        f"GO with {best.key}, {best.name}: P95 is at most {best.bound_ms:.2f} ms of "
        f"{budget_ms:g} ms{also}."
    )
