"""How the latency gate judges good and bad wheels on a busy machine.

``python -m tests.bench.interference [--runs N] [--real N --wheel-python PYTHON --model DIR]``

The simulated part draws calls whose own P95 is 20 % below or above the budget and disturbs them.
The real part measures the encoder with the sampler while this machine is really disturbed, and
judges each run twice: with a budget that the quiet machine's P95 keeps by 25 %, and with one that
it breaks by 20 %. A good wheel must never fail, a bad one must never pass.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from tests.kit.latencies import BUDGET_MS, KINDS, disturbed
from verify.latency.interference import judge_fairly

GOOD, BAD = 0.8, 1.2
STATES = ("passed", "inconclusive", "failed")


def simulated(runs: int) -> dict[str, dict[str, Counter[str]]]:
    """Return how often each kind of interference ends in which status, by kind and wheel."""
    table: dict[str, dict[str, Counter[str]]] = {}
    for number, kind in enumerate(KINDS):
        table[kind] = {}
        for name, factor in (("good", GOOD), ("bad", BAD)):
            counts: Counter[str] = Counter()
            for rng in np.random.default_rng([number, int(factor * 10)]).spawn(runs):
                conditions = disturbed(kind, rng, rounds=4, p95_ms=factor * BUDGET_MS)
                blame = judge_fairly(conditions, budget_ms=BUDGET_MS, min_samples=300)
                counts[blame.judgement.status] += 1
            table[kind][name] = counts
    return table


def show(table: dict[str, dict[str, Counter[str]]]) -> list[str]:
    """Return the table as Markdown lines."""
    lines = [
        "| interference | good: passed | inconclusive | failed "
        "| bad: passed | inconclusive | failed |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, wheels in table.items():
        cells = [str(wheels[name][state]) for name in ("good", "bad") for state in STATES]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return lines


def holds(table: dict[str, dict[str, Counter[str]]]) -> bool:
    """Whether no good wheel failed and no bad one passed."""
    return all(w["good"]["failed"] == 0 and w["bad"]["passed"] == 0 for w in table.values())
