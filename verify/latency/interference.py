"""Whether the machine, and not the wheel, could explain a slow measurement.

A pass is judged on every sample as it was measured: the machine never eases it. A failure needs
more: the samples that the machine left alone must be beyond the budget by themselves, after what
the calibrated loop says of the machine's speed meanwhile. Leaving out disturbed samples can only
make the tail look better (a long call is disturbed more often than a short one), so a failure that
is left is the wheel's own. Everything between is inconclusive, and says what the machine did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..statistics.gate import Judgement, judge_p95

_SHARING = "shared the processors with other programs"
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

# A thread that waited this share of its call (and this long) shows in the call's own time.
DELAY_SHARE = 0.02
DELAY_NS = 50_000
# The loop of fixed work repeats within a few per cent on a machine that does nothing else.
SLOWER = 1.10
# One tick of the kernel's own clock (10 ms) is more than 1 % of a short block.
STOLEN = 0.03
# Programs that use this share of all processors meet more calls than the tail has.
SHARED = 0.05
# What a call that never waited may lose to them: a core's second thread takes half of it at worst.
SHARED_COSTS = 2.0


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What the machine did during each sample of one series; every array has shape (n,).

    Parameters
    ----------
    wall, processor : ndarray of float64
        Time of the call on the clock, and processor time of all threads of its process, ns.
    delay : ndarray of float64
        Longest time that one of its threads stood in a run queue, ns; NaN where unknown.
    switches, stops : ndarray of float64
        Involuntary context switches; how often the process was stopped and continued.
    slowdown : ndarray of float64
        Time of the calibrated loop beside the sample's block, relative to the fastest of the run;
        NaN where none was measured.
    stolen : ndarray of float64
        Share of the cores' time that a hypervisor took during the sample's block; NaN if unknown.
    others : ndarray of float64
        Share of the cores' time that other programs used during the sample's round; NaN if
        unknown. They slow a call that never waited too: caches, memory, a core's second thread.
    process : ndarray of int
        Which process measured the sample.
    alone : bool
        Nobody else used the processors meanwhile (:attr:`.machine.Machine.alone`). A thread that
        waited then waited for its own process, which is the wheel's doing.
    """

    wall: Floats
    processor: Floats
    delay: Floats
    switches: Floats
    stops: Floats
    slowdown: Floats
    stolen: Floats
    others: Floats
    process: npt.NDArray[np.intp]
    alone: bool = False

    @classmethod
    def of(
        cls, wall: npt.ArrayLike, process: npt.ArrayLike, recorded: Mapping[str, Any] | None
    ) -> Conditions:
        """Return the conditions of a series as verify.json has them.

        Parameters
        ----------
        wall, process : array_like, shape (n,)
            Nanoseconds, and the process of each sample.
        recorded : Mapping or None
            ``processor``, ``delay``, ``switches``, ``stops``, ``loop`` (processor time of the
            slower of the two calibrated loops around the sample's block, ns, null when lost),
            ``stolen`` and ``others``, each with n entries, and ``alone``. Without it nothing is
            known, and nothing excuses a slow sample.
        """
        times = np.asarray(wall, dtype=np.float64)
        known = recorded or {}

        def column(name: str, missing: float) -> Floats:
            values = known.get(name) or [missing] * times.size  # an older document has no others
            return np.array([missing if v is None else v for v in values], dtype=np.float64)

        loop = column("loop", np.nan)
        fastest = np.nanmin(loop) if np.isfinite(loop).any() else np.nan
        return cls(
            wall=times,
            processor=column("processor", np.nan) if "processor" in known else times,
            delay=column("delay", np.nan),
            switches=column("switches", 0.0),
            stops=column("stops", 0.0),
            slowdown=loop / fastest,
            stolen=column("stolen", np.nan),
            others=column("others", np.nan),
            process=np.asarray(process, dtype=np.intp),
            alone=bool(known.get("alone", False)),
        )

    def causes(self) -> dict[str, Mask]:
        """Return which samples the machine disturbed, by what it did."""
        known = ~np.isnan(self.delay)
        waited = known & (self.delay > np.maximum(DELAY_NS, DELAY_SHARE * self.wall))
        waited |= ~known & (self.switches > 0)
        return {
            "waited for a processor": waited & (not self.alone),
            "was stopped": self.stops > 0,
            "ran on a slower machine": np.nan_to_num(self.slowdown, nan=1.0) > SLOWER,
            "had its processor taken by the hypervisor": np.nan_to_num(self.stolen) > STOLEN,
            _SHARING: np.nan_to_num(self.others) > SHARED,
        }

    def disturbed(self, *, but_by: str = "") -> Mask:
        """Return which samples the machine disturbed, whatever it did but one cause."""
        causes = [mask for name, mask in self.causes().items() if name != but_by]
        disturbed: Mask = np.any(causes, axis=0)
        return disturbed


@dataclass(frozen=True, kw_only=True)
class Blame:
    """Who made a measurement slow.

    Parameters
    ----------
    judgement : Judgement
        The gate's final word.
    party : {"wheel", "machine", "nobody"}
        Whose the excess is; ``nobody`` where there is none, or where it cannot be told.
    evidence : Mapping[str, Any]
        Figures as JSON values: share of samples that were left alone, causes with their shares,
        P95 and bounds of those samples, what they were divided by.
    """

    judgement: Judgement
    party: str
    evidence: Mapping[str, Any]


def judge_fairly(
    conditions: Conditions, *, budget_ms: float, min_samples: int, confidence: float = 0.95
) -> Blame:
    """Judge a P95 against a budget, and tell the wheel's part from the machine's.

    Parameters
    ----------
    conditions : Conditions
        Every sample with what the machine did meanwhile.
    budget_ms, min_samples, confidence
        As :func:`~verify.statistics.gate.judge_p95`.

    Returns
    -------
    Blame
        Passed if and only if :func:`~verify.statistics.gate.judge_p95` passes all samples as they
        are. Failed only if it fails all of them and, alone, those that the machine left alone,
        divided by how much slower the machine was; or those that only shared the processors with
        other programs, divided by the most that this can cost as well.
    """
    levels = {"budget_ms": budget_ms, "min_samples": min_samples, "confidence": confidence}
    everything = _judge(conditions.wall, conditions.process, levels)
    causes = conditions.causes()
    alone = ~conditions.disturbed()
    slowdown = _slowdown(conditions, alone)
    evidence: dict[str, Any] = {
        "undisturbed_share": round(float(alone.mean()), 4) if alone.size else 0.0,
        "causes": {
            name: round(float(mask.mean()), 4) for name, mask in causes.items() if mask.any()
        },
        "slowdown": round(slowdown, 4),
        "processor_p95_ms": _p95(conditions.processor),
    }
    if everything.status != "failed":
        return Blame(judgement=everything, party="nobody", evidence=evidence)
    own = _judge(conditions.wall[alone] / slowdown, conditions.process[alone], levels)
    evidence["undisturbed"] = {
        "status": own.status,
        "n": own.n,
        "p95": own.p95,
        "lower_bound": own.lower_bound,
        "upper_bound": own.upper_bound,
    }
    shared = ~conditions.disturbed(but_by=_SHARING)
    cost = SHARED_COSTS * _slowdown(conditions, shared)
    least = _judge(conditions.wall[shared] / cost, conditions.process[shared], levels)
    evidence["shared"] = {"divided_by": round(cost, 4), "status": least.status, "n": least.n}
    if "failed" in (own.status, least.status):
        return Blame(judgement=everything, party="wheel", evidence=evidence)
    return Blame(
        judgement=replace(
            everything,
            status="inconclusive",
            reason=_sentence(everything, own, evidence, budget_ms),
            more_samples=_more(own, min_samples, float(alone.mean())),
        ),
        party="machine",
        evidence=evidence,
    )


def _judge(values: Floats, process: npt.NDArray[np.intp], levels: Mapping[str, Any]) -> Judgement:
    return judge_p95(values, processes=[int(label) for label in process], **levels)


def _slowdown(conditions: Conditions, alone: Mask) -> float:
    """How much slower the machine was beside undisturbed samples, at least 1."""
    known = conditions.slowdown[alone & ~np.isnan(conditions.slowdown)]
    return max(1.0, float(np.median(known))) if known.size else 1.0


def _p95(values: Floats) -> float | None:
    if not values.size:
        return None
    return round(float(np.quantile(values, 0.95, method="inverted_cdf")) / 1e6, 3)


def _sentence(
    everything: Judgement, own: Judgement, evidence: Mapping[str, Any], budget_ms: float
) -> str:
    causes = sorted(evidence["causes"].items(), key=lambda item: -item[1])
    what = ", ".join(f"{share:.0%} {name}" for name, share in causes) or "none was disturbed"
    rest = (
        f"The {own.n} calls that the machine left alone have a P95 of {own.p95:.2f} ms"
        if own.p95 is not None
        else "No call was left alone"
    )
    return (
        f"The lower bound of {everything.lower_bound:.2f} ms is beyond {budget_ms:g} ms, but the "
        f"machine could explain it: of the calls, {what}. {rest}: that does not show a slow wheel."
    )


def _more(own: Judgement, min_samples: int, share: float) -> int | None:
    """About how many more calls give enough undisturbed ones, where any are."""
    missing = own.more_samples if own.more_samples is not None else min_samples - own.n
    return round(missing / share) if share > 0 and missing > 0 else None
