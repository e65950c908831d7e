"""Compare the runs of two wheels over one case set."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from .comparison import VERDICTS, Comparison, Difference, Side
from .delta import TOLERANCES, Delta, Tolerance, compare_values, worst_of
from .store import Case, Outcome, Results

# Sources lie elsewhere in each build, and a file of another release has other line numbers.
_PLACE = re.compile(r"(?:/[\w.+-]+)+/onnxruntime/|(?<=\.cc):\d+|(?<=\.h):\d+|0x[0-9a-f]+")


def compare(
    cases: Sequence[Case],
    official: Results,
    candidate: Results,
    *,
    tolerances: Mapping[str, Tolerance] = TOLERANCES,
) -> Comparison:
    """Compare two runs over one case set, with tolerances by element type name.

    A case or configuration that one run lacks is a difference of kind ``missing``.
    """
    differences: list[Difference] = []
    close: list[Difference] = []
    undefined: list[Difference] = []
    messages: list[str] = []
    counts: dict[str, Counter[str]] = {"node": Counter(), "generated": Counter()}
    verdicts: dict[str, tuple[Counter[str], Counter[str]]] = {
        group: (Counter(), Counter()) for group in counts
    }
    for case in cases:
        count = counts[case.group]
        count["cases"] += 1
        runs = (official.outcomes.get(case.id, {}), candidate.outcomes.get(case.id, {}))
        for position, run in enumerate(runs):
            verdicts[case.group][position][_overall(run)] += 1
        for configuration in sorted(runs[0].keys() | runs[1].keys()) or ("default",):
            pair = (runs[0].get(configuration), runs[1].get(configuration))
            found = _compare_run(
                case, configuration, pair, tolerances=tolerances, count=count, messages=messages
            )
            for item in found:
                if item.kind == "close":
                    close.append(item)
                elif item.kind == "outputs" and case.undefined:
                    undefined.append(item)
                else:
                    differences.append(item)
    close.sort(key=lambda item: -(item.delta.max_ulp if item.delta else 0))
    return Comparison(
        versions=(official.version, candidate.version),
        sides={
            group: Side(
                cases=count["cases"],
                official=_named(verdicts[group][0]),
                candidate=_named(verdicts[group][1]),
                ran=count["ran"],
                refused=count["refused"],
                identical=count["identical"],
                within=count["within"],
            )
            for group, count in counts.items()
        },
        differences=tuple(differences),
        close=tuple(close),
        undefined=tuple(undefined),
        messages=tuple(messages),
        seconds=(official.seconds, candidate.seconds),
    )


def _overall(runs: Mapping[str, Outcome]) -> str:
    """Return the worst verdict over the configurations."""
    found = {outcome.verdict for outcome in runs.values()}
    return next((verdict for verdict in reversed(VERDICTS) if verdict in found), "")


def _named(verdicts: Counter[str]) -> dict[str, int]:
    return {verdict: verdicts[verdict] for verdict in VERDICTS if verdicts[verdict]}


def _compare_run(
    case: Case,
    configuration: str,
    pair: tuple[Outcome | None, Outcome | None],
    *,
    tolerances: Mapping[str, Tolerance],
    count: Counter[str],
    messages: list[str],
) -> list[Difference]:
    def difference(kind: str, detail: str, delta: Delta | None = None) -> Difference:
        return Difference(
            case=case.id,
            configuration=configuration,
            group=case.group,
            kind=kind,
            detail=detail,
            delta=delta,
        )

    official, candidate = pair
    if official is None or candidate is None:
        missing = [
            name for name, run in (("official", official), ("candidate", candidate)) if run is None
        ]
        return [difference("missing", f"not run on {' and '.join(missing)}")]
    if official.status != candidate.status:
        detail = f"{_shown(candidate)}, officially {_shown(official)}"
        return [difference("outcome", detail)]
    if official.status != "ok":
        if official.kind != candidate.kind:
            detail = f"{_shown(candidate)}, officially {_shown(official)}"
            return [difference("error-kind", detail)]
        count["refused"] += 1
        if _PLACE.sub("", official.message) != _PLACE.sub("", candidate.message):
            messages.append(f"{case.id} [{configuration}]")
        return []
    count["ran"] += 1
    found = []
    if official.verdict != candidate.verdict:
        detail = f"{candidate.verdict} ({candidate.detail}), officially {official.verdict}"
        found.append(difference("verdict", detail))
    delta = _compare_outputs(official, candidate, tolerances)
    if delta.status == "differs":
        found.append(difference("outputs", delta.reason, delta))
    elif delta.status == "within":
        count["within"] += 1
        found.append(difference("close", delta.reason, delta))
    else:
        count["identical"] += 1
    return found


def _shown(outcome: Outcome) -> str:
    if outcome.status == "ok":
        return "outputs"
    return f"{outcome.status} {outcome.kind} ({outcome.message[:160]})".replace(" ()", "")


def _compare_outputs(
    official: Outcome, candidate: Outcome, tolerances: Mapping[str, Tolerance]
) -> Delta:
    names = [name for name, _ in official.outputs]
    others = [name for name, _ in candidate.outputs]
    if names != others:
        return Delta(status="differs", reason=f"outputs {others}, officially {names}")
    deltas = []
    for (name, left), (_, right) in zip(official.outputs, candidate.outputs, strict=True):
        delta = compare_values(left, right, tolerances=tolerances)
        deltas.append(replace(delta, reason=f"{name}: {delta.reason}" if delta.reason else ""))
    return worst_of(deltas)
