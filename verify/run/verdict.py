"""The verdict: from the checks' outcomes to one word, one exit code and a paragraph.

Order of the rules: a required check that failed, or that did not run for another reason than the
user's, gives NO-GO (exit 1); else one that is inconclusive or was not selected gives INCONCLUSIVE
(exit 2); else the run has passed (exit 0) with GO where CoreML executed here, and with
GO-WITH-FALLBACK where it did not or where a required check was waived. A policy that executes
nothing gives NOT-EXECUTED in their place (exit 0): the bytes are right, and that is all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..checks.table import CHECKS, find_check
from ..policy.limits import Policy, form_limit
from ..policy.result import CheckResult
from ..program import as_called
from ..report.document import Decision, ExitCode, Verdict
from ..sentence import ended_once
from .selection import Selection

EXECUTES = "provider.executes"
LATENCY = "latency.p95"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a verdict is about, in the words that it uses.

    ``built`` says how the wheel was built, where that is worth saying: cross-built, never executed.
    ``compared`` is a sentence that says which official wheel it was compared with, or why with
    none. ``python`` is the one that the wheel is for, where it was only read because this host has
    another one.
    """

    policy: Policy
    host: str
    built: str = ""
    compared: str = ""
    python: str = ""


@dataclass(frozen=True, kw_only=True)
class _Sorted:
    """Required checks by what they mean for the verdict."""

    failed: tuple[CheckResult, ...]
    missing: tuple[CheckResult, ...]
    open: tuple[CheckResult, ...]
    unselected: tuple[CheckResult, ...]
    waived: tuple[CheckResult, ...]


def decide(results: Sequence[CheckResult], *, selection: Selection, setting: Setting) -> Verdict:
    """Draw the conclusion from every check's outcome; one that is absent counts as not run."""
    policy = setting.policy
    by_id = {result.id: result for result in results}
    found = _sort(by_id, policy, selection)
    executed = _passed(by_id, EXECUTES)
    decision, code = _decision(found, executed, setting)
    proven = [
        f"{find_check(result.id).proves} ({_said(result)})"
        for result in results
        if result.status == "passed"
    ]
    not_proven = [
        f"{find_check(result.id).title}: {_said(result)} [{result.status}]"
        for result in results
        if result.status != "passed"
    ]
    headline = _headline(decision, found, by_id, setting)
    return Verdict(
        decision=decision,
        exit_code=code,
        headline=headline,
        paragraph=_paragraph(decision, found, by_id, setting),
        proven=proven,
        not_proven=not_proven,
        next=_next(decision, found, executed, setting),
    )


def _sort(by_id: Mapping[str, CheckResult], policy: Policy, selection: Selection) -> _Sorted:
    failed, missing, undecided, unselected, waived = [], [], [], [], []
    for check in CHECKS:
        if not policy.requires(check.id):
            continue
        result = by_id.get(check.id) or CheckResult(
            id=check.id, status="not-run", summary="no result"
        )
        if result.status == "failed":
            failed.append(result)
        elif result.status == "inconclusive":
            undecided.append(result)
        elif result.status == "not-run":
            if check.id in selection.skip:
                waived.append(result)
            elif selection.left_out(check, policy):
                unselected.append(result)
            else:
                missing.append(result)
    return _Sorted(
        failed=tuple(failed),
        missing=tuple(missing),
        open=tuple(undecided),
        unselected=tuple(unselected),
        waived=tuple(waived),
    )


def _decision(found: _Sorted, executed: bool, setting: Setting) -> tuple[Decision, ExitCode]:
    if found.failed or found.missing:
        return "NO-GO", 1
    if found.open or found.unselected:
        return "INCONCLUSIVE", 2
    if not setting.policy.executes:
        # This kind of host could execute it, so reading alone does not tell what was asked.
        return ("INCONCLUSIVE", 2) if setting.python else ("NOT-EXECUTED", 0)
    if executed and not found.waived:
        return "GO", 0
    return "GO-WITH-FALLBACK", 0


def _headline(
    decision: Decision, found: _Sorted, by_id: Mapping[str, CheckResult], setting: Setting
) -> str:
    policy, host = setting.policy, setting.host
    if decision == "NO-GO":
        names = ", ".join(result.id for result in (*found.failed, *found.missing))
        unexecuted = "" if policy.executes else f" Nothing was executed on this {host} host."
        return f"{decision}: required checks did not pass: {names}.{unexecuted}"
    if decision == "INCONCLUSIVE":
        parts = []
        if found.open:
            parts.append("these are open: " + ", ".join(result.id for result in found.open))
        if found.unselected:
            parts.append(f"{len(found.unselected)} required checks were not selected")
        if setting.python and not policy.executes:
            parts.append(f"it is for {setting.python}, so nothing of it was executed here")
        return f"{decision}: nothing failed, but {' and '.join(parts)}."
    if decision == "NOT-EXECUTED":
        parts = [f"nothing of this wheel was executed on this {host} host"]
        if setting.built:
            parts.append(setting.built)
        if found.waived:
            parts.append("waived: " + ", ".join(result.id for result in found.waived))
        right = "are right" if policy.own else "keep what its tags promise"
        return f"{decision}: the bytes {right}; {'; '.join(parts)}."
    if decision == "GO":
        return f"{decision}: CoreML executes on this {host} host, and every required check passed."
    form = "" if policy.cpu_precision == "fp32" else f" in {policy.cpu_precision}"
    parts = [f"the fallback is the CPU provider{form}"]
    if policy.gate_provider == "cpu" and _passed(by_id, LATENCY):
        parts[0] += ", which holds the budget here"
    if not _passed(by_id, EXECUTES):
        parts.append(f"CoreML execution was NOT proven on this {host} host")
    if found.waived:
        parts.append("waived: " + ", ".join(result.id for result in found.waived))
    return f"{decision}: {'; '.join(parts)}."


def _paragraph(
    decision: Decision, found: _Sorted, by_id: Mapping[str, CheckResult], setting: Setting
) -> str:
    policy, host = setting.policy, setting.host
    required = [name for name, wanted in policy.required.items() if wanted]
    passed = [name for name in required if _passed(by_id, name)]
    sentences = [
        f"On this {host} host {len(passed)} of {len(required)} checks that the policy "
        f'"{policy.name}" requires passed.'
    ]
    if setting.built:
        sentences.append(f"The wheel was {setting.built}.")
    if setting.compared:
        sentences.append(setting.compared)
    if not policy.executes:
        sentences.append("Only its bytes were read: no code of it ran, on the CPU or on CoreML.")
    elif _passed(by_id, EXECUTES):
        sentences.append("CoreML executed the encoder here.")
    elif EXECUTES in by_id:
        sentences.append(f"CoreML execution was not proven here: {_said(by_id[EXECUTES])}.")
    if policy.executes and policy.cpu_precision != "fp32":
        least = getattr(policy.limits, form_limit(policy.cpu_precision))
        sentences.append(
            f"On the CPU the form {policy.cpu_precision} was judged, of which the policy wants a "
            f"cosine with fp32 of {least:g} or more."
        )
    for result in (*found.failed, *found.missing):
        word = "failed" if result.status == "failed" else "did not run"
        sentences.append(f"{find_check(result.id).title} {word}: {_said(result)}.")
    for result in found.open:
        sentences.append(f"{find_check(result.id).title} is open: {_said(result)}.")
    if found.unselected:
        sentences.append(f"{len(found.unselected)} required checks were not selected.")
    for result in found.waived:
        sentences.append(
            f"{find_check(result.id).title} was left out on purpose ({result.summary})."
        )
    others = [
        result.id
        for result in by_id.values()
        if result.status in ("failed", "inconclusive") and not policy.requires(result.id)
    ]
    if others:
        sentences.append("Not required, and not passed either: " + ", ".join(others) + ".")
    closing = {
        "GO": "The wheel may serve on this kind of host.",
        "GO-WITH-FALLBACK": "The wheel may serve with the CPU provider; switch to CoreML only "
        "where a run like this one has proven it.",
        "NOT-EXECUTED": f"The wheel may go to {_place(policy)} to be verified there; it may not "
        "serve before.",
        "NO-GO": "Do not ship this wheel for this kind of host."
        if policy.executes
        else "Do not ship this wheel.",
        "INCONCLUSIVE": "This run does not tell; do not read it as a pass.",
    }
    return " ".join([*map(ended_once, sentences), closing[decision]])


def _next(decision: Decision, found: _Sorted, executed: bool, setting: Setting) -> list[str]:
    policy, host = setting.policy, setting.host
    steps = [
        f"{result.id}: {result.hint}"
        for result in (*found.failed, *found.missing, *found.open)
        if result.hint
    ]
    advice = {
        result.id: find_check(result.id).advice
        for result in found.failed
        if result.measured is not None
    }
    steps += [text for text in advice.values() if text]
    if found.unselected:
        steps.append("Run without --only and -k: required checks were not selected.")
    if setting.python and not policy.executes:
        steps.append(f"Run the verification with {setting.python}: that executes it.")
    elif not policy.executes:
        steps.append(
            f"Take the wheel to {_place(policy)}: `python -m verify run WHEEL` executes it there."
        )
    elif not executed and not host.startswith("macos"):
        which = "wheel built there" if policy.own else "macOS wheel of this version"
        steps.append(
            f"Run `nox -s verify` on Apple silicon with the {which}: only that proves execution "
            "on CoreML."
        )
    if decision in ("GO", "GO-WITH-FALLBACK", "NOT-EXECUTED"):
        steps.append("Keep verify.json: `python -m verify compare` tells later runs from it.")
    return [as_called(step) for step in steps]


def _place(policy: Policy) -> str:
    """Return where a wheel that was only read can be executed."""
    if any(kind.startswith("linux") for kind in policy.wheels):
        return "a Linux host of its own processor and Python"
    return "a Mac with Apple silicon"


def _passed(by_id: Mapping[str, CheckResult], name: str) -> bool:
    return name in by_id and by_id[name].status == "passed"


def _said(result: CheckResult) -> str:
    """Return a summary without its full stop, for use inside a sentence."""
    return result.summary.rstrip(".")
