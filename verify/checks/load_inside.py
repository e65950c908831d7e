"""Several threads on one session, and memory over thousands of runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ..environment.context import TargetContext
from ..errors import machines_own
from ..latency.meter_inside import peak_mib
from ..latency.queries import QUERIES
from ..policy.judgement import judge_numbers
from ..policy.limits import Limits
from ..policy.result import CheckResult
from ..statistics.trend import Trend, trend

if TYPE_CHECKING:
    from ..encoder.embedder import Embedder

Floats = npt.NDArray[np.float32]
NS_PER_MS = 1e6
MIB = 2.0**20
MAX_DIFFERENCE = 1e-6
POINTS = 100
SETTLING_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a number of threads did: seconds of wall time, and ns and vectors of each call."""

    seconds: float
    times: tuple[int, ...]
    texts: tuple[int, ...]
    vectors: tuple[Floats, ...]
    errors: tuple[str, ...]

    @property
    def per_second(self) -> float:
        """Calls per second of wall time."""
        return len(self.times) / self.seconds if self.seconds > 0 else 0.0

    def quantile_ms(self, level: float) -> float | None:
        """Return an order statistic of the calls' times in milliseconds."""
        if not self.times:
            return None
        return float(np.quantile(self.times, level, method="inverted_cdf")) / NS_PER_MS


def concurrency_threads(context: TargetContext) -> CheckResult:
    """Let several threads share one session, and compare with one thread.

    ``measured`` is the largest difference of a vector from the single-threaded one; passed up to
    1e-6 without an exception. Throughput and P95 under load are evidence: they depend on the
    machine's cores and have no limit.
    """
    threads = context.policy.limits.concurrency_threads
    rounds = 1 if context.quick else 2
    with context.embedder(provider=executable_provider(context)) as embedder:
        run_load(embedder.embed_timed, QUERIES, threads=1)  # warm-up
        single = run_load(embedder.embed_timed, QUERIES, threads=1)
        many = run_load(embedder.embed_timed, QUERIES, threads=threads, rounds=rounds)
        provider = embedder.provider
    return concurrency_result(single, many, threads=threads, provider=provider)


def concurrency_result(
    single: Load, many: Load, *, threads: int, provider: str = "cpu"
) -> CheckResult:
    """Judge what several threads did against what one did."""
    reference = dict(zip(single.texts, single.vectors, strict=True))
    differences = [
        float(np.max(np.abs(vector.astype(np.float64) - reference[text])))
        for text, vector in zip(many.texts, many.vectors, strict=True)
    ]
    # A NaN must not get lost: np.max keeps it, the comparison below is then false.
    worst = float(np.max(differences)) if differences else float("nan")
    equal = sum(
        np.array_equal(vector, reference[text])
        for text, vector in zip(many.texts, many.vectors, strict=True)
    )
    errors = [*single.errors, *many.errors]
    good = not errors and worst <= MAX_DIFFERENCE
    speed = many.per_second / single.per_second if single.per_second else float("nan")
    p95, alone = many.quantile_ms(0.95), single.quantile_ms(0.95)
    if errors:
        summary = f"{len(errors)} of the calls raised an exception; the first: {errors[0]}"
    else:
        summary = (
            f"{threads} threads on one session: {equal} of {len(differences)} vectors equal to "
            f"the bit, largest difference {worst:.1e}; {many.per_second:.0f} texts/s "
            f"({speed:.2f} times one thread), P95 {_ms(p95)} (alone {_ms(alone)})."
        )
    return CheckResult(
        id="concurrency.threads",
        status="passed" if good else "failed",
        summary=summary,
        measured=worst if np.isfinite(worst) else None,
        limit=MAX_DIFFERENCE,
        unit="max abs difference",
        evidence={
            "threads": threads,
            "provider": provider,
            "calls": len(many.times),
            "bitwise_equal": equal,
            "texts_per_second": {"one_thread": single.per_second, "threads": many.per_second},
            "p50_ms": {"one_thread": single.quantile_ms(0.5), "threads": many.quantile_ms(0.5)},
            "p95_ms": {"one_thread": alone, "threads": p95},
            "errors": errors[:10],
        },
        hint="" if good else "Give each thread a session of its own until this is explained.",
    )


def run_load(
    embed_timed: Callable[[str], tuple[Floats, Any]],
    texts: Sequence[str],
    *,
    threads: int,
    rounds: int = 1,
) -> Load:
    """Let threads embed all texts, each thread beginning at another one, all at once.

    Every thread embeds each text ``rounds`` times with ``Embedder.embed_timed``, or anything with
    its signature. An exception is kept as text, and its thread goes on.

    Raises
    ------
    OSError, CannotWrite
        What the machine has caused, such as a full disk, ends the load.
    """
    start = Barrier(threads)

    def work(thread: int) -> tuple[list[tuple[int, int, Floats]], list[str], float, float]:
        done: list[tuple[int, int, Floats]] = []
        errors: list[str] = []
        offset = thread * len(texts) // threads
        start.wait()
        began = time.perf_counter()
        for step in range(len(texts) * rounds):
            index = (offset + step) % len(texts)
            try:
                vector, times = embed_timed(texts[index])
            except Exception as error:
                # A full disk is no finding about the wheel, and would be met at every call.
                if machines_own(error):
                    raise
                # Whatever else a thread meets is one, and the others go on.
                errors.append(f"{type(error).__name__}: {error}")
                continue
            done.append((index, times.total, vector))
        return done, errors, began, time.perf_counter()

    with ThreadPoolExecutor(max_workers=threads) as pool:
        found = list(pool.map(work, range(threads)))
    calls = [call for done, _, _, _ in found for call in done]
    return Load(
        seconds=max(end for *_, end in found) - min(began for _, _, began, _ in found),
        times=tuple(ns for _, ns, _ in calls),
        texts=tuple(index for index, _, _ in calls),
        vectors=tuple(vector for _, _, vector in calls),
        errors=tuple(error for _, errors, _, _ in found for error in errors),
    )


def memory_growth(context: TargetContext) -> CheckResult:
    """Watch the resident memory over thousands of short runs.

    ``measured`` is the growth in MiB per ``memory_runs`` runs by the trend after settling; passed
    when the upper end of its interval is within the limit, failed when the lower end is beyond it.
    With ``quick`` a fifth of the runs is made, and the summary says so.
    """
    limits = context.policy.limits
    wanted = limits.memory_runs
    runs = max(100, wanted // 5) if context.quick else wanted
    texts = sorted(QUERIES, key=len)[:20]
    with context.embedder(provider=executable_provider(context)) as embedder:
        points = watch_memory(embedder, texts, runs=runs)
    return memory_result(points, runs=runs, limits=limits)


def watch_memory(embedder: Embedder, texts: Sequence[str], *, runs: int) -> list[tuple[int, float]]:
    """Embed texts over and over; return (runs so far, resident MiB) at about 100 points."""
    import psutil

    process = psutil.Process(os.getpid())
    every = max(1, runs // POINTS)
    points = []
    for done in range(1, runs + 1):
        embedder.embed([texts[done % len(texts)]], kind="query")
        if done % every == 0:
            points.append((done, process.memory_info().rss / MIB))
    return points


def memory_result(points: Sequence[tuple[int, float]], *, runs: int, limits: Limits) -> CheckResult:
    """Judge the points of `watch_memory`: runs so far and resident MiB.

    ``memory_growth_mb_max`` is the largest growth over ``memory_runs`` runs.
    """
    wanted, limit_mb = limits.memory_runs, limits.memory_growth_mb_max
    settled = [point for point in points if point[0] > SETTLING_SHARE * runs]
    found: Trend | None = trend([x for x, _ in settled], [y for _, y in settled])
    peak = peak_mib()
    fewer = "" if runs >= wanted else f" Only {runs} of {wanted} runs were made; scaled up."
    if found is None:
        return CheckResult(
            id="memory.growth",
            status="inconclusive",
            summary=f"{len(settled)} points are too few to tell a trend.{fewer}",
            limit=limit_mb,
            unit="MiB",
            hint="Raise memory_runs in the policy.",
        )
    growth, low, high = (wanted * slope for slope in (found.slope, found.low, found.high))
    judged = {"memory_growth_mb_max": (low, high)}
    status = judge_numbers(judged, limits).status
    steady = (
        " It grows steadily, if slowly." if status == "passed" and low > 0.05 * limit_mb else ""
    )
    return CheckResult(
        id="memory.growth",
        status=status,
        summary=(
            f"{growth:+.2f} MiB per {wanted} runs ({low:+.2f} to {high:+.2f}), peak "
            f"{peak:.0f} MiB.{steady}{fewer}"
        ),
        measured=growth,
        limit=limit_mb,
        unit="MiB",
        evidence={
            "judged": judged,
            "runs": runs,
            "growth_mib": growth,
            "interval_mib": [low, high],
            "bytes_per_run": found.slope * MIB,
            "peak_rss_mib": peak,
            "settling_share": SETTLING_SHARE,
            "points": [[done, round(rss, 3)] for done, rss in points],
        },
        hint="" if status == "passed" else "Run longer (memory_runs) to tell a leak from a cache.",
    )


def executable_provider(context: TargetContext) -> Literal["cpu", "coreml"]:
    """Return the policy's provider where it can execute, else the CPU's."""
    if context.policy.gate_provider == "coreml" and context.host.startswith("macos"):
        return "coreml"
    return "cpu"


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f} ms"
