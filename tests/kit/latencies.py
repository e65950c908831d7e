"""Simulated measurements: calls of a wheel whose own times are known, on a disturbed machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from verify.latency.interference import Conditions
from verify.latency.meter_inside import Meter, Reading

MS = 1e6
BUDGET_MS = 20.0
TEXTS, PROCESSES = 60, 3
# A queue of one neighbour gives the processor back after a few slices of 3 to 4 ms.
SLICE_MS = 4.0
KINDS = ("quiet", "hogs on all cores", "quota", "stops", "neighbour for half", "stolen", "clock")


class QuietMeter(Meter):
    """Of a machine that does nothing else, whatever this one does."""

    def read(self) -> Reading:
        return Reading(processor=0, waited={"1": 0}, switches=0, stops=0)


def own_times(rng: np.random.Generator, rounds: int, p95_ms: float) -> npt.NDArray[np.float64]:
    """Return own times in ms, (rounds * 180,): longer texts take longer; P95 is ``p95_ms``."""
    length = np.sort(rng.lognormal(0.0, 0.5, TEXTS))
    order = np.concatenate([rng.permutation(TEXTS) for _ in range(rounds * PROCESSES)])
    times = length[order] * rng.lognormal(0.0, 0.05, order.size)
    return np.asarray(times * p95_ms / np.quantile(times, 0.95), dtype=np.float64)


def quiet(own: npt.NDArray[np.float64], rng: np.random.Generator) -> Conditions:
    """Return the conditions of a machine that does nothing else: two busy threads."""
    n = own.size
    return Conditions(
        wall=own * MS,
        processor=own * MS * rng.uniform(1.85, 1.98, n),
        delay=rng.exponential(2_000, n),
        switches=np.zeros(n),
        stops=np.zeros(n),
        slowdown=np.repeat(rng.uniform(1.0, 1.05, n // TEXTS), TEXTS),
        stolen=np.zeros(n),
        others=rng.uniform(0.0, 0.02, n),
        process=np.arange(n) // TEXTS % PROCESSES,
    )


def disturbed(kind: str, rng: np.random.Generator, *, rounds: int, p95_ms: float) -> Conditions:
    """Return a measurement of a wheel with that own P95 under one kind of interference."""
    own = own_times(rng, rounds, p95_ms)
    base, n = quiet(own, rng), own.size
    half = np.arange(n) < n // 2
    if kind == "hogs on all cores":
        waits = rng.poisson(own / SLICE_MS) * rng.uniform(0.5, 2.0, n) * SLICE_MS * MS
        dirty = rng.uniform(1.0, 1.08, n)  # the neighbour's data stand in the caches
        return replace(
            base,
            wall=base.wall * dirty + waits,
            delay=base.delay + waits,
            switches=waits > 0,
            others=np.full(n, 0.5),
        )
    if kind == "quota":
        # Half of a core in periods of 100 ms: what is used up waits for the next period.
        waits = np.where(rng.random(n) < own / 50.0, rng.uniform(20, 75, n), 0.0) * MS
        return replace(base, wall=base.wall + waits, delay=base.delay + waits)
    if kind == "stops":
        stopped = rng.random(n) < 0.15
        return replace(
            base,
            wall=base.wall + stopped * rng.uniform(5, 300, n) * MS,
            stops=stopped.astype(np.float64),
        )
    if kind == "neighbour for half":
        slower = np.where(half, rng.uniform(1.25, 1.6, n), 1.0)
        waits = np.where(half, rng.poisson(own / 8.0) * SLICE_MS, 0.0) * MS
        return replace(
            base,
            wall=base.wall * slower + waits,
            processor=base.processor * slower,
            delay=base.delay + waits,
            slowdown=base.slowdown * np.where(half, 1.3, 1.0),
            others=np.where(half, 0.5, base.others),
        )
    if kind == "stolen":
        return replace(base, wall=base.wall * 1.4, stolen=np.full(n, 0.2))
    if kind == "clock":
        # A lower clock for two thirds: the loop shows it, whole and in part.
        low = np.arange(n) < 2 * n // 3
        slower = np.where(low, 1.5, 1.0)
        return replace(
            base,
            wall=base.wall * slower,
            processor=base.processor * slower,
            slowdown=base.slowdown * np.where(low, 1.5, 1.0),
        )
    return base
