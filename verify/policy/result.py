"""What one check says: a status, what was measured, against which limit, with the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["passed", "failed", "inconclusive", "not-run"]


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The outcome of one check.

    Parameters
    ----------
    id : str
        Dotted name, ``group.name``.
    status : {"passed", "failed", "inconclusive", "not-run"}
        A check that was skipped, or that the host cannot carry out, is ``not-run``: it never
        reads as a pass.
    summary : str
        One line for a person: what was found.
    measured, limit : object, optional
        JSON values; ``limit`` comes from the policy.
    unit : str
        Unit of both (``ms``, ``cosine``, ``partitions`` …), or empty.
    evidence : Mapping[str, Any]
        JSON values that let a reader check the conclusion. ``judged`` holds the numbers that
        decided, by the name of their limit (:func:`~verify.policy.judgement.judge_numbers`), so
        that ``judge`` can compare them with another policy's. A failure that no number decides,
        such as a crash or a vector of NaN, has none, and stays a failure under every policy.
    hint : str
        What to do about a status other than ``passed``.
    seconds : float
        Wall time that the check took.
    """

    id: str
    status: Status
    summary: str
    measured: Any = None
    limit: Any = None
    unit: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    hint: str = ""
    seconds: float = 0.0
