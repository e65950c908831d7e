"""What differs between two runs: latency (is it real?), statuses of checks, embeddings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import VerifyError
from .difference import QUANTILES, LatencyDifference, differences
from .samples import latency_series
from .text import is_number

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class StatusChange:
    """A check whose status differs; None where one run does not have the check."""

    id: str
    before: str | None
    after: str | None


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

    Parameters
    ----------
    same_host : bool
        Whether both come from the same host fingerprint.
    same_wheel : bool
        Whether both judged the same wheel file.
    decisions : tuple of str
        Verdict's decision of the first and the second run.
    confidence : float
        Confidence that holds for all latency intervals together.
    latency : tuple of LatencyDifference
        Median and P95 of each series that both runs have.
    statuses : tuple of StatusChange
        Checks whose status differs.
    drift : tuple of EmbeddingDrift
        Numbers of the embedding checks that differ.
    only_before, only_after : tuple of str
        Series that only one of the runs has.
    """

    same_host: bool
    same_wheel: bool
    decisions: tuple[str, str]
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


def compare(
    a: Mapping[str, Any], b: Mapping[str, Any], *, allow_other_host: bool = False
) -> Comparison:
    """Compare two runs; ``a`` is the earlier or the reference run.

    Parameters
    ----------
    a, b : Mapping[str, Any]
        Parsed ``verify.json`` documents.
    allow_other_host : bool
        Compare runs from different hosts as well.

    Returns
    -------
    Comparison
        Deterministic for the same two documents.

    Raises
    ------
    VerifyError
        If a document has no host fingerprint or another schema, or the hosts differ and
        `allow_other_host` is not set.
    """
    hosts = (_fingerprint(a, "first"), _fingerprint(b, "second"))
    if hosts[0] != hosts[1] and not allow_other_host:
        raise VerifyError(
            "The two runs come from different hosts, so a difference in latency says nothing "
            "about the wheel.",
            hint="Compare runs from one host, or pass --allow-other-host to compare them anyway.",
            context={
                "first host": f"{_host(a, 'cpu')} ({hosts[0][:12]})",
                "second host": f"{_host(b, 'cpu')} ({hosts[1][:12]})",
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
        same_host=hosts[0] == hosts[1],
        same_wheel=_value(a, "wheel", "sha256") == _value(b, "wheel", "sha256"),
        decisions=(
            str(_value(a, "verdict", "decision") or "none"),
            str(_value(b, "verdict", "decision") or "none"),
        ),
        confidence=CONFIDENCE,
        latency=tuple(latency),
        statuses=_statuses(a, b),
        drift=_drift(a, b),
        only_before=tuple(name for name in before if name not in after),
        only_after=tuple(name for name in after if name not in before),
    )


def _statuses(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[StatusChange, ...]:
    before = {key: str(check.get("status")) for key, check in _checks(a).items()}
    after = {key: str(check.get("status")) for key, check in _checks(b).items()}
    return tuple(
        StatusChange(id=key, before=before.get(key), after=after.get(key))
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    )


def _drift(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[EmbeddingDrift, ...]:
    before, after = _checks(a), _checks(b)
    found = []
    for key in before:
        if not key.startswith("embedding.") or key not in after:
            continue
        old, new = _quantities(before[key]), _quantities(after[key])
        found += [
            EmbeddingDrift(
                check=key,
                quantity=name,
                before=old[name],
                after=new[name],
                unit=str(after[key].get("unit") or "") if name == "measured" else "",
            )
            for name in old
            if name in new and old[name] != new[name]
        ]
    return tuple(found)


def _quantities(check: Mapping[str, Any]) -> dict[str, float]:
    """Collect a check's numbers: measured, and the plain ones of measured and evidence."""
    measured, evidence = check.get("measured"), check.get("evidence")
    found = {"measured": float(measured)} if is_number(measured) else {}
    for group in (measured, evidence):
        if isinstance(group, Mapping):
            found |= {str(name): float(item) for name, item in group.items() if is_number(item)}
    return found


def _checks(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    entries = document.get("checks")
    return {
        str(entry["id"]): entry
        for entry in (entries if isinstance(entries, list | tuple) else ())
        if isinstance(entry, Mapping) and "id" in entry
    }


def _fingerprint(document: Mapping[str, Any], which: str) -> str:
    if document.get("schema") != 1:
        raise VerifyError(
            f"The {which} document has schema {document.get('schema')!r}; this version reads 1.",
            hint="Give two verify.json files that this version of ortmill wrote.",
        )
    fingerprint = _value(document, "host", "fingerprint")
    if not isinstance(fingerprint, str) or not fingerprint:
        raise VerifyError(
            f"The {which} document does not say which host it comes from (host.fingerprint).",
            hint="Give two complete verify.json files.",
        )
    return fingerprint


def _host(document: Mapping[str, Any], name: str) -> str:
    return str(_value(document, "host", name) or "unknown")


def _value(document: Mapping[str, Any], group: str, name: str) -> Any:
    entry = document.get(group)
    return entry.get(name) if isinstance(entry, Mapping) else None
