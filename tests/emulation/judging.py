"""Turn what ran into check results, an exit code and a line for a person.

A check that could not run is never a pass: it ends in exit code 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.emulation.errors import EmulationError
from tests.emulation.explained import Explanations, explain, read_explanations
from tests.emulation.kernels import PREFIX
from tests.emulation.qemu import Profile
from tests.emulation.wheels import OFFICIAL_VERSION, ArmWheel
from verify.checks.embedding_inside import Comparison as Closeness
from verify.differential.comparison import Comparison
from verify.differential.store import Results
from verify.policy.result import CheckResult

MIN_COSINE = 0.999999
NORM_TOLERANCE = 1e-5
_LISTED = 20


def judge_import(
    profile: Profile, wheel: ArmWheel, facts: Mapping[str, Any] | None, ended: str, tail: str
) -> CheckResult:
    """Judge what the wheel says of itself; ``facts`` is None where it could not be imported."""
    check = f"import.{profile.name}"
    if facts is None:
        return CheckResult(
            id=check,
            status="failed",
            summary=f"import onnxruntime ended with {ended or 'no answer'}: "
            f"{tail.rsplit(' | ', maxsplit=1)[-1] or 'it said nothing'}",
            evidence={"it said": tail},
            hint="A library that is missing, or instructions that this processor does not have.",
        )
    wrong = []
    if facts["machine"] != "aarch64":
        wrong.append(f"it ran on {facts['machine']}, not on aarch64")
    if facts["version"] != wheel.version:
        wrong.append(f"it says it is {facts['version']}, its name says {wheel.version}")
    if "CPUExecutionProvider" not in facts["providers"]:
        wrong.append(f"it has no CPU provider, only {', '.join(facts['providers'])}")
    if not facts["build_info"]:
        wrong.append("it has no build info")
    told = (
        f"{facts['version']} with {', '.join(facts['providers'])} on a processor with "
        f"{' '.join(facts['features'])}"
    )
    return CheckResult(
        id=check,
        status="failed" if wrong else "passed",
        summary="; ".join(wrong) or told,
        evidence=dict(facts),
    )


def judge_broken(profile: Profile, error: EmulationError) -> CheckResult:
    """Say that the wheel could be imported and then could not run the cases."""
    return CheckResult(
        id=f"cases.{profile.name}",
        status="failed",
        summary=error.problem,
        evidence=dict(error.context),
        hint=error.hint,
    )


def judge_comparison(
    profile: Profile, comparison: Comparison, table: Explanations | None = None
) -> list[CheckResult]:
    """Judge the wheel against the official one on the same emulated processor.

    The official wheel is gcc's, ours another compiler's: what ``table`` explains is listed with
    its reason and does not fail.
    """
    known = table or read_explanations()
    told = {item: explain(item, known) for item in comparison.differences}
    left = replace(
        comparison, differences=tuple(item for item, reason in told.items() if not reason)
    )
    results = []
    for check, group in zip(left.check_results(), ("node", "generated"), strict=True):
        explained = [
            {**item.to_json(), "why": reason}
            for item, reason in told.items()
            if reason and item.group == group
        ]
        also = f"; {len(explained)} other values explained" if explained else ""
        results.append(
            replace(
                check,
                id=f"{check.id}.{profile.name}",
                summary=check.summary + also,
                evidence={**check.evidence, "explained": explained},
            )
        )
    return results


def no_comparison(profile: Profile, wheel: ArmWheel) -> CheckResult:
    """Say that there is no official wheel of this version to compare with."""
    return CheckResult(
        id=f"differential.node_tests.{profile.name}",
        status="not-run",
        summary=f"the wheel is {wheel.base_version}, the locked official one {OFFICIAL_VERSION}",
        hint="Lock the official wheel of that version in verify/requirements/official.txt.",
    )


def judge_kernels(profile: Profile, results: Results) -> CheckResult:
    """Judge the exact products: every one must have the one right result."""
    verdicts = {
        case: outcome
        for case, runs in results.outcomes.items()
        if case.startswith(PREFIX)
        for outcome in runs.values()
    }
    wrong = [
        f"{case}: {outcome.detail or outcome.kind or outcome.verdict}"
        for case, outcome in verdicts.items()
        if outcome.verdict != "passed"
    ]
    if not verdicts:
        return CheckResult(
            id=f"kernels.exact.{profile.name}", status="not-run", summary="no product was run"
        )
    return CheckResult(
        id=f"kernels.exact.{profile.name}",
        status="failed" if wrong else "passed",
        summary=f"{len(wrong)} of {len(verdicts)} products are wrong, first {wrong[0]}"
        if wrong
        else f"{len(verdicts)} products of integers, all exact",
        measured=len(wrong),
        limit=0,
        unit="wrong products",
        evidence={"wrong": wrong[:_LISTED]},
    )


def judge_instructions(
    profile: Profile, own: Mapping[str, int], official: Mapping[str, int] | None
) -> CheckResult:
    """Judge which kernels ran: the profile's, and every family that the official wheel reaches."""
    check = f"kernels.instructions.{profile.name}"
    reached = [name for name, times in own.items() if times]
    if not reached:
        return CheckResult(
            id=check,
            status="not-run",
            summary="the emulator wrote no trace in which an instruction could be found",
            hint="Another QEMU? Its log `in_asm` may have another form.",
        )
    missing = [name for name in profile.instructions if not own.get(name)]
    behind = [name for name, times in (official or {}).items() if times and not own.get(name)]
    wrong = [f"no {name} ran, which this processor has" for name in missing]
    wrong += [f"no {name} ran, the official wheel's kernels use it" for name in behind
              if name not in missing]  # fmt: skip
    return CheckResult(
        id=check,
        status="failed" if wrong else "passed",
        summary="; ".join(wrong) or f"the products ran through {', '.join(reached)}",
        evidence={"wheel": dict(own), "official": dict(official) if official else None},
        hint="A kernel was left out of the build, or is not picked at run time." if wrong else "",
    )


def judge_embeddings(
    profile: Profile, found: Sequence[Closeness] | None, texts: int, ended: str, tail: str
) -> CheckResult:
    """Judge the reference texts; ``found`` is None where they could not be run to the end."""
    check = f"embedding.reference.{profile.name}"
    if not found:
        return CheckResult(
            id=check,
            status="failed",
            summary=f"the reference texts ended with {ended or 'no answer'}",
            evidence={"it said": tail},
        )
    wrong = []
    for item in found:
        if item.not_finite or item.zeros:
            wrong.append(f"{item.way}: {item.not_finite} not finite, {item.zeros} zero vectors")
        elif not item.cosine >= MIN_COSINE:
            wrong.append(f"{item.way}: cosine {item.cosine:.9f} of {item.worst_text}")
        elif not item.norm <= NORM_TOLERANCE:
            wrong.append(f"{item.way}: a vector's length is off by {item.norm:.2g}")
    worst = min(item.cosine if math.isfinite(item.cosine) else -math.inf for item in found)
    return CheckResult(
        id=check,
        status="failed" if wrong else "passed",
        summary="; ".join(wrong)
        or f"{texts} texts: worst cosine {worst:.9f}, largest difference "
        f"{max(item.max_abs for item in found):.2g}",
        measured=worst if math.isfinite(worst) else None,
        limit=MIN_COSINE,
        unit="cosine",
        evidence={"ways": [_plain(vars(item)) for item in found]},
    )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }


def exit_code(checks: Sequence[CheckResult]) -> int:
    """Return 0 where every check passed, 1 where one failed, 3 where one could not run."""
    statuses = {check.status for check in checks}
    if "failed" in statuses:
        return 1
    return 0 if statuses == {"passed"} else 3


def verdict(wheel: ArmWheel, checks: Sequence[CheckResult], *, quick: bool) -> str:
    """Return one line that says what was shown and what was not."""
    code = exit_code(checks)
    if code == 1:
        failed = [check.id for check in checks if check.status == "failed"]
        return f"FAILED: {wheel.path.name}: {', '.join(failed)}"
    if code:
        left = [check.id for check in checks if check.status not in ("passed", "failed")]
        return f"INCOMPLETE: {wheel.path.name}: not run: {', '.join(left) or 'everything'}"
    cosines = [check.measured for check in checks if check.unit == "cosine"]
    part = " (a part of the texts: --quick)" if quick else ""
    return (
        f"PASSED: {wheel.path.name}: {len(checks)} checks under emulation, worst cosine "
        f"{min(cosines):.9f}{part}. Shown: what it computes. Not shown: how fast it is, and "
        "whether it runs on hardware."
    )
