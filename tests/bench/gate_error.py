"""Count how often the latency gate says something that is not true.

``nox -s bench -- [--runs N] [--looks K] [--json]``

Every case draws latencies from a process whose P95 is known, puts the budget at the next number
below that P95 (so that a pass is false) or at the P95 itself (so that a failure is false), and
lets the gate judge: once, or with ``--looks K`` as a measurement that goes on while it is open, by
half as much each time. Both one-sided errors must stay within 5 %. The last column shows what the
care costs: how often a run that is 30 % below its budget does not pass.

The gate sees nothing but ranks, so independent samples of any shape give the same numbers but for
chance; the dependent cases are where it could go wrong. What a run does not show cannot be
judged from it: when slow spells are so rare that more than 5 % of the runs hold none or a single
one (fewer than 4.74 spells a run on average, by the Poisson distribution), no method can tell a
rare event from a rule. Such rows are marked "beyond reach": printed, not counted. The cure is to
measure for longer.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, signal, special, stats

from verify.statistics.gate import Evidence, early, weigh

Floats = npt.NDArray[np.float64]
ALPHA = 0.05
NS_PER_MS = 1e6
PROCESSES = 3
BLOCK = 25
FEWEST_SPELLS = 4.74
SLOW_SHARE = 0.08


@dataclass(frozen=True, kw_only=True)
class Case:
    """A process of latencies: `draw(rng, runs, n)` gives milliseconds of shape (runs, n)."""

    name: str
    draw: Callable[[np.random.Generator, int, int], Floats]
    p95: float
    spells: float = math.inf  # slow spells per sample, where they are what decides


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the gate did with one case at one sample size; rates between 0 and 1."""

    case: str
    n: int
    runs: int
    false_pass: float
    false_fail: float
    unsettled: float
    unstable: float
    effective: float
    within_reach: bool

    @property
    def holds(self) -> bool:
        """Whether both errors are at most 5 % (always, for what is beyond reach)."""
        return not self.within_reach or max(self.false_pass, self.false_fail) <= ALPHA


def _exponential(uniform: Floats) -> Floats:
    return -np.log1p(-uniform)


def _lognormal(uniform: Floats) -> Floats:
    return np.asarray(np.exp(1.2 * special.ndtri(uniform)), dtype=np.float64)


def _pareto(uniform: Floats) -> Floats:
    return np.asarray((1.0 - uniform) ** (-1.0 / 1.5), dtype=np.float64)


def _bimodal_quantile(level: float) -> float:
    def excess(x: float) -> float:
        fast, slow = stats.norm.cdf(x, 5.0, 0.5), stats.norm.cdf(x, 20.0, 2.0)
        return float((1.0 - SLOW_SHARE) * fast + SLOW_SHARE * slow) - level

    return float(optimize.brentq(excess, 0.0, 60.0))


def _independent(name: str, shape: Callable[[Floats], Floats]) -> Case:
    def draw(rng: np.random.Generator, runs: int, n: int) -> Floats:
        return shape(rng.random((runs, n)))

    return Case(name=name, draw=draw, p95=float(shape(np.array([0.95]))[0]))


def _bimodal() -> Case:
    def draw(rng: np.random.Generator, runs: int, n: int) -> Floats:
        slow = rng.random((runs, n)) < SLOW_SHARE
        normal = rng.standard_normal((runs, n))
        return np.where(slow, 20.0 + 2.0 * normal, 5.0 + 0.5 * normal)

    return Case(name="bimodal, 8 % slow", draw=draw, p95=_bimodal_quantile(0.95))


def _autoregressive(rho: float, *, heavy: bool = False) -> Case:
    shape = _lognormal if heavy else _exponential

    def draw(rng: np.random.Generator, runs: int, n: int) -> Floats:
        noise = rng.standard_normal((runs, n)) * np.sqrt(1.0 - rho**2)
        noise[:, 0] /= np.sqrt(1.0 - rho**2)  # start in the stationary distribution
        gauss = signal.lfilter([1.0], [1.0, -rho], noise, axis=1)
        return shape(np.clip(special.ndtr(gauss), 0.0, 1.0 - 1e-16))

    marginal = "lognormal" if heavy else "exponential"
    return Case(
        name=f"AR(1) copula, rho {rho:g}, {marginal}",
        draw=draw,
        p95=float(shape(np.array([0.95]))[0]),
    )


def _regimes(share: float, dwell: float) -> Case:
    """Switch between a fast and a slow machine; slow for `dwell` samples on average."""
    leave = 1.0 / dwell
    enter = leave * share / (1.0 - share)

    def draw(rng: np.random.Generator, runs: int, n: int) -> Floats:
        coins = rng.random((n, runs))
        slow = np.empty((n, runs), dtype=np.bool_)
        slow[0] = coins[0] < share
        for i in range(1, n):
            slow[i] = np.where(slow[i - 1], coins[i] >= leave, coins[i] < enter)
        exponential = rng.exponential(size=(n, runs))
        return np.asarray(np.where(slow, 12.0 + 4.0 * exponential, 4.0 + exponential).T)

    def excess(x: float) -> float:
        fast = stats.expon.sf(x, 4.0, 1.0)
        late = stats.expon.sf(x, 12.0, 4.0)
        return float((1.0 - share) * fast + share * late) - 0.05

    return Case(
        name=f"regimes, {share:.0%} slow, {dwell:g} in a row",
        draw=draw,
        p95=float(optimize.brentq(excess, 4.0, 200.0)),
        spells=share / dwell,
    )


CASES: tuple[Case, ...] = (
    _independent("exponential", _exponential),
    _bimodal(),
    _independent("lognormal, sigma 1.2", _lognormal),
    _independent("Pareto, index 1.5", _pareto),
    *(_autoregressive(rho) for rho in (0.3, 0.5, 0.7, 0.9, 0.98)),
    _autoregressive(0.6, heavy=True),
    _regimes(0.20, 3.0),
    _regimes(0.20, 10.0),
    _regimes(0.10, 2.0),
    _regimes(0.10, 5.0),
    _regimes(0.10, 20.0),
    _regimes(0.06, 5.0),
    _regimes(0.06, 30.0),
    _regimes(0.10, 100.0),
)


def _settled(seen: Sequence[Evidence], budget_ms: float) -> str:
    """Return the first status that ends the measurement, or the last one."""
    found = (evidence.judge(budget_ms).status for evidence in seen)
    return next((status for status in found if status != "inconclusive"), "inconclusive")


def simulate(case: Case, n: int, *, runs: int, looks: int = 1, seed: int = 20_240_621) -> Row:
    """Let the gate judge many runs of one case.

    Parameters
    ----------
    case : Case
        What to draw.
    n : int
        Samples in a run, measured by three processes in turns.
    runs : int
        Number of simulated runs.
    looks : int
        How often the gate is asked, with half as many samples more each time.
    seed : int
        Seed of the random numbers.

    Returns
    -------
    Row
        The rates.
    """
    # A stable number per case: hash() differs from one Python process to the next.
    rng = np.random.default_rng([seed, n, *case.name.encode()])
    sizes = [int(n * 1.5**look) for look in range(looks)]
    samples = case.draw(rng, runs, sizes[-1]) * NS_PER_MS
    processes = [(i // BLOCK) % PROCESSES for i in range(sizes[-1])]
    below = float(np.nextafter(case.p95, 0.0))
    passes = failures = unsettled = unstable = 0
    effective = 0.0
    for values in samples:
        seen = [
            weigh(
                values[:size],
                min_samples=n,
                confidence=1.0 - ALPHA if size == sizes[-1] else early(1.0 - ALPHA),
                processes=processes[:size],
            )
            for size in sizes
        ]
        passes += _settled(seen, below) == "passed"
        failures += _settled(seen, case.p95) == "failed"
        unsettled += _settled(seen, case.p95 / 0.7) != "passed"
        unstable += bool(seen[-1].instability)
        effective += seen[-1].bounds.effective
    return Row(
        case=case.name,
        n=n,
        runs=runs,
        false_pass=passes / runs,
        false_fail=failures / runs,
        unsettled=unsettled / runs,
        unstable=unstable / runs,
        effective=effective / runs,
        within_reach=case.spells * n >= FEWEST_SPELLS,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 0 when every error within reach is at most 5 %, else 1."""
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[300, 1000])
    parser.add_argument("--looks", type=int, default=1)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    if min(options.runs, options.looks, options.workers, *options.sizes) < 1:
        parser.error("--runs, --sizes, --looks and --workers are numbers from 1 on")
    if not any(options.only in case.name for case in CASES):
        names = ", ".join(case.name for case in CASES)
        parser.error(f"--only {options.only!r} leaves none of the cases: {names}")
    begun = time.perf_counter()
    tasks = [
        (index, n, options.runs, options.looks)
        for index, case in enumerate(CASES)
        if options.only in case.name
        for n in options.sizes
    ]
    rows = []
    if not options.json:
        print(HEADER)
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        for row in pool.imap(_simulate_task, tasks):
            rows.append(row)
            if not options.json:
                print(_line(row), flush=True)
    holds = all(row.holds for row in rows)
    if options.json:
        print(json.dumps({"alpha": ALPHA, "rows": [asdict(row) for row in rows]}, indent=1))
    else:
        verdict = "at most 5 %" if holds else "OVER 5 %"
        seconds = time.perf_counter() - begun
        print(f"One-sided errors {verdict} over {options.runs} runs of each ({seconds:.0f} s).")
    return 0 if holds else 1


HEADER = (
    f"{'case':38} {'n':>5} {'n_eff':>6} {'false pass':>10} {'false fail':>10} {'unstable':>8} "
    f"{'30 % below, no pass':>20}"
)


def _line(row: Row) -> str:
    mark = "" if row.holds else "  OVER 5 %"
    mark = mark if row.within_reach else "  (beyond reach)"
    return (
        f"{row.case:38} {row.n:5} {row.effective:6.0f} {row.false_pass:10.2%} "
        f"{row.false_fail:10.2%} {row.unstable:8.2%} {row.unsettled:20.2%}{mark}"
    )


def _simulate_task(task: tuple[int, int, int, int]) -> Row:
    index, n, runs, looks = task
    return simulate(CASES[index], n, runs=runs, looks=looks)


if __name__ == "__main__":
    sys.exit(main())
