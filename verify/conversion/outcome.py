"""From measured packages to the results of ``conversion.exact``, ``.half`` and ``.package``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..policy.result import CheckResult, Status

EXACT, HALF, PACKAGE = "conversion.exact", "conversion.half", "conversion.package"
NODES = "conversion.nodes"
"""How much of a model of one's own is proven; the command has it."""
DEVICE = "conversion.device"
"""Core ML's own predictions; the command has it, a run of all checks executes by other checks."""
MIN_COSINE_EXACT = 0.9999999
MIN_COSINE_HALF = 0.9995
MAX_DIFFERENCE_EXACT = 1e-4
"""Of an element of a sentence vector of length 1, or as a share of another output's largest
element. A single wrong element moves the cosine by half the square of that, which no limit on the
cosine sees; what the conversion rounds differently is below 1e-6."""

Measured = Sequence[Mapping[str, Any]]


def judge(
    measured: Measured, *, exact: float = MIN_COSINE_EXACT, half: float = MIN_COSINE_HALF
) -> list[CheckResult]:
    """Judge all packages; none at all, or an operation without semantics, is ``not-run``.

    ``exact`` and ``half`` are the least cosines allowed.
    """
    return [_package(measured), _cosine(measured, EXACT, exact), _cosine(measured, HALF, half)]


_CROSSED = (
    "A Clip of the model has its least number above its largest, which ONNX takes and Core ML does "
    "not: export the model with the two in order."
)
_DEVICE_HINTS = {
    "failed": "The evidence has each operation's device; conversion.half says what half should "
    "give.",
    "inconclusive": "Run it on macOS 14.4 or later: MLComputePlan says there where each operation "
    "runs.",
}


def judge_device(measured: Measured, *, half: float = MIN_COSINE_HALF) -> CheckResult:
    """Judge what Core ML predicted; without a Mac that is ``not-run`` and no part of the exit code.

    A prediction must be as near to the CPU provider, and to our evaluation in half precision, as
    that evaluation must be to the CPU provider.
    """
    asked = {entry["label"]: entry["device"] for entry in measured if "device" in entry}
    if not asked:
        return CheckResult(
            id=DEVICE,
            status="not-run",
            summary="Core ML executes on macOS only; nothing is said about devices and predictions",
            hint="Run the same command on a Mac.",
        )
    evidence: dict[str, Any] = {"packages": asked}
    errors = {label: found["error"] for label, found in asked.items() if "error" in found}
    bad = ""
    worst = None
    if errors:
        label, said = next(iter(errors.items()))
        bad = f"{label}: Core ML refuses the package: {said}"
    for label, found in asked.items():
        if "error" in found:
            continue
        for with_whom, words in (("cpu", "the CPU provider"), ("fp16", "our evaluation in half")):
            least = min(found["predictions"][with_whom])
            worst = least if worst is None else min(worst, least)
            if not least >= half and not bad:
                bad = f"{label}: Core ML's prediction has cosine {least:.7f} with {words}"
    devices: dict[str, int] = {}
    for found in asked.values():
        for name, share in found.get("devices", {}).items():
            devices[name] = devices.get(name, 0) + int(share["operations"])
    where = ", ".join(f"{count} on {name}" for name, count in devices.items())
    missing = [entry["label"] for entry in measured if "device" not in entry]
    unplaced = next((found["no_plan"] for found in asked.values() if "no_plan" in found), "")
    status: Status = "failed" if bad else "not-run" if missing else "passed"
    summary = bad or (
        f"{missing[0]}: not evaluated, so nothing to compare with"
        if missing
        else f"{len(asked)} packages predicted, worst cosine {worst:.7f}; "
        + (
            f"where its operations run is not known: {unplaced}"
            if unplaced
            else f"operations: {where}"
        )
    )
    if status == "passed" and unplaced:
        status = "inconclusive"
    return CheckResult(
        id=DEVICE,
        status=status,
        summary=summary,
        measured=worst,
        limit=half,
        unit="cosine",
        evidence=evidence,
        hint=_DEVICE_HINTS.get(status, ""),
    )


def exit_code(results: Sequence[CheckResult]) -> int:
    """Return 1 when a check failed, 2 when one could not be judged, 0 when all passed.

    ``conversion.device`` counts where there was a device: it is no part of the proof without one.
    """
    statuses = {
        result.status
        for result in results
        if result.id != DEVICE or result.evidence.get("packages")
    }
    if "failed" in statuses:
        return 1
    return 0 if statuses == {"passed"} else 2


def _package(measured: Measured) -> CheckResult:
    if not measured:
        return _nothing(PACKAGE)
    problems = {entry["label"]: entry["problems"] for entry in measured if entry["problems"]}
    facts = {entry["label"]: entry["facts"] for entry in measured}
    if problems:
        label, found = next(iter(problems.items()))
        return CheckResult(
            id=PACKAGE,
            status="failed",
            summary=f"{label}: {found[0]}",
            measured=sum(map(len, problems.values())),
            limit=0,
            unit="problems",
            evidence={"problems": problems, "packages": facts},
            hint=_CROSSED
            if "should be smaller than `beta`" in found[0]
            else "The converter, or what wrote its weights, is broken: compare with Apple's.",
        )
    versions = sorted({fact["specification"] for fact in facts.values()})
    system = next(iter(facts.values()))["minimum_os"]
    constants = sum(fact["constants_in_file"] for fact in facts.values())
    newer = any(fact["specification"] > fact["allowed"] for fact in facts.values())
    note = f"; every operation exists for macOS {system} too" if newer else ""
    return CheckResult(
        id=PACKAGE,
        status="passed",
        summary=f"{len(facts)} packages, {constants} constants read back, specification "
        f"{', '.join(map(str, versions))}{note}",
        measured=0,
        limit=0,
        unit="problems",
        evidence={"packages": facts},
    )


def _cosine(measured: Measured, check: str, limit: float) -> CheckResult:
    mode = "exact" if check == EXACT else "fp16"
    if not measured:
        return _nothing(check)
    ran = {entry["label"]: entry["modes"][mode] for entry in measured if mode in entry["modes"]}
    missing = {entry["label"]: _why(entry) for entry in measured if mode not in entry["modes"]}
    evidence: dict[str, Any] = {
        "packages": {
            label: {key: value for key, value in result.items() if key not in ("cosines", "texts")}
            for label, result in ran.items()
        },
        "texts": {label: len(result["texts"]) for label, result in ran.items()},
        # Floats of nine digits: the distances from 1 are what a picture shows.
        "cosines": {
            label: [round(float(value), 9) for value in result["cosines"]]
            for label, result in ran.items()
        },
    }
    if check == HALF:
        evidence["accumulate"] = {
            entry["label"]: entry["modes"]["fp16-accumulate"]["worst_cosine"]
            for entry in measured
            if "fp16-accumulate" in entry["modes"]
        }
    if missing:
        evidence["not_run"] = missing
    departures = {e["label"]: e["departure"] for e in measured if e.get("departure")}
    if departures and check == EXACT:
        evidence["departures"] = departures
    noise = {entry["label"]: entry["noise"] for entry in measured if entry.get("noise")}
    if noise and check == EXACT:
        evidence["noise"] = noise
    judged = _judged(measured, ran, noise if check == EXACT else {}, limit)
    bad = _bad(judged, limit, MAX_DIFFERENCE_EXACT if check == EXACT else None)
    status: Status = "failed" if bad else "not-run" if missing else "passed"
    summary = bad
    if not bad and missing:
        label, why = next(iter(missing.items()))
        summary = f"{len(missing)} of {len(measured)} packages not evaluated; {label}: {why}"
    worst = min((result["worst_cosine"] for result in judged.values()), default=None)
    if worst is not None and status != "not-run":
        name = "conversion_exact_min" if check == EXACT else "conversion_half_min"
        # A NaN, an overflow or a wrong element fails by itself, whatever the limit.
        odd = any(
            result["overflow"]
            or result["first_nan"]
            or (check == EXACT and _too_far(result, MAX_DIFFERENCE_EXACT))
            for result in judged.values()
        )
        evidence["judged"] = {name: "nan" if odd else worst}
    if not summary:
        count = min(len(result["texts"]) for result in ran.values())
        what = measured[0].get("what", "texts")
        label, last = min(ran.items(), key=lambda item: item[1]["worst_cosine"])
        summary = f"worst cosine {worst:.9f} over {len(ran)} packages, {count} {what} each"
        if check == HALF:
            summary += f" ({_case(last)}, {label})"
        if judged != ran:
            summary += "; the CPU provider's own kernels differ as much from each other"
        summary += _besides(measured, ran, what if check == EXACT else "")
    if bad and check == EXACT and departures:
        summary += f"; first to depart: {next(iter(departures.values()))}"
    return CheckResult(
        id=check,
        status=status,
        summary=summary,
        measured=worst,
        limit=limit,
        unit="cosine",
        evidence=evidence,
        hint=_hint(
            check,
            status,
            [entry.get("advice", "") for entry in measured],
            overflow=any(result["overflow"] for result in judged.values()),
            vanished=any(result["vanished"] for result in judged.values()),
        ),
    )


def _besides(measured: Measured, ran: Mapping[str, Mapping[str, Any]], what: str) -> str:
    """Return what a pass does not speak of; of outputs only where there is a word for the cases."""
    quiet = dict.fromkeys(name for entry in measured for name in entry.get("silent", ()))
    vanished = sum(len(result["vanished"]) for result in ran.values())
    told = f"; nothing is said of {', '.join(quiet)}, the same for every one of the {what}"
    return (told if quiet and what else "") + (
        f"; {vanished} values vanish in half precision" if vanished else ""
    )


def judge_nodes(taken: Mapping[str, int], *, least: float) -> CheckResult:
    """Judge how much of a model is proven at all: the rest is the CPU's, and nothing is said of it.

    ``taken`` holds the ``nodes`` that the provider takes ``of`` all; ``least`` is the least share
    allowed, 0 to 1. Nothing taken is a failure where something must be.
    """
    nodes, total = taken["nodes"], taken["of"]
    if not total or not (nodes or least):
        return _nothing(NODES)
    share = nodes / total if total else 0.0
    limit = f", at least {100 * least:g} %" if least else ""
    return CheckResult(
        id=NODES,
        status="passed" if share >= least else "failed",
        summary=f"{nodes} of {total} nodes are CoreML's ({100 * share:.1f} %){limit}; nothing is "
        "said of the others"
        if nodes < total
        else f"all {total} nodes are CoreML's",
        measured=round(share, 6),
        limit=least,
        unit="share of nodes",
        hint="" if nodes == total else "`python -m verify coverage MODEL` says what helps.",
    )


def _judged(
    measured: Measured,
    ran: Mapping[str, Mapping[str, Any]],
    noise: Mapping[str, float],
    limit: float,
) -> dict[str, Mapping[str, Any]]:
    """Return the results by label, without what is the CPU provider's or the model's own."""
    judged = {
        label: _allowed(result, noise.get(label, 0.0), limit) for label, result in ran.items()
    }
    for entry in filter(_hidden_nan, measured):
        if entry["label"] in judged:
            judged[entry["label"]] = {**judged[entry["label"]], "first_nan": ""}
    return judged


def _hidden_nan(entry: Mapping[str, Any]) -> bool:
    """Whether the exact evaluation has a NaN inside though its outputs are the CPU provider's.

    Such a NaN is the model's own, and not the conversion's.
    """
    exact = entry["modes"].get("exact")
    return bool(exact and exact["first_nan"] and not too_far(exact))


def _allowed(result: Mapping[str, Any], noise: float, limit: float) -> Mapping[str, Any]:
    """Return a result without what the CPU provider's own kernels differ by.

    Twice as much is allowed, for theirs and ours may err to opposite sides. ``noise`` is there
    only where every operation is right by itself.
    """
    furthest = result["max_abs_vector"]
    if not noise or furthest is None or not furthest <= 2 * noise:
        return result
    return {**result, "max_abs_vector": 0.0, "worst_cosine": max(result["worst_cosine"], limit)}


def _bad(ran: Mapping[str, Mapping[str, Any]], limit: float, furthest: float | None) -> str:
    """Return what is worst, an overflow before a low cosine; or nothing."""
    for label, result in ran.items():
        if result["overflow"]:
            return f"{label}: {result['overflow'][0]}"
        if result["first_nan"]:
            return f"{label}: {result['first_nan']} is the first to hold NaN"
    for label, result in sorted(ran.items(), key=lambda item: item[1]["worst_cosine"]):
        # The negated form holds for NaN too.
        if not result["worst_cosine"] >= limit:
            return (
                f"{label}: cosine {result['worst_cosine']:.9f} is below {limit} ({_case(result)})"
            )
    for label, result in ran.items():
        if furthest is not None and _too_far(result, furthest):
            return f"{label}: an element is off by {result['max_abs_vector']:.3g}, over {furthest}"
    return ""


def too_far(result: Mapping[str, Any]) -> bool:
    """Whether an exact evaluation departs: by its cosine or by its furthest element."""
    return not result["worst_cosine"] >= MIN_COSINE_EXACT or _too_far(result, MAX_DIFFERENCE_EXACT)


def _too_far(result: Mapping[str, Any], furthest: float) -> bool:
    found = result["max_abs_vector"]
    return found is None or found > furthest


def _case(result: Mapping[str, Any]) -> str:
    return str(result.get("worst_name", f"number {result['worst_text']}"))


def _why(entry: Mapping[str, Any]) -> str:
    if entry["problems"]:
        return "the package is damaged"
    if entry["unknown"]:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in entry["unknown"].items())
        return f"no semantics for {kinds}"
    return str(entry["refused"] or "left out")


def _hint(
    check: str,
    status: Status,
    advice: Sequence[str] = (),
    *,
    overflow: bool = False,
    vanished: bool = False,
) -> str:
    if status == "not-run":
        plain = "Nothing is said about what was not evaluated: prove it on a Mac."
        return next(filter(None, advice), plain)
    if status == "passed":
        return ""
    if check == HALF and vanished and not overflow:
        return (
            "Values below 6e-8 are zero in half precision, and some vanish whole (see below): "
            "scale them up, or keep that part in float32."
        )
    if check == HALF and not overflow:
        return (
            "Nothing leaves half's range: digits are lost, as where large numbers that are nearly "
            "equal are subtracted. Keep that part in float32, or subtract before values grow."
        )
    if check == HALF:
        return (
            "Use a mask bias that half precision holds, such as -10000; keep what grows beyond "
            "65504 in float32."
        )
    return "The converter changes what the model computes; the evidence names the operation."


def _nothing(check: str) -> CheckResult:
    return CheckResult(
        id=check,
        status="not-run",
        summary="the provider emitted no package, so there is nothing to evaluate",
        hint="`python -m verify coverage` says what keeps the nodes back; with a model's file "
        "behind it, of that one.",
    )
