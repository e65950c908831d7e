"""One run: environments, checks in processes of their own, the document at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from .. import __version__
from ..checks.table import CHECKS, Check
from ..encoder.model_recipe import ModelRecipe, file_sha256
from ..environment import host
from ..environment import venv as environment
from ..environment.channel import call
from ..environment.context import TargetContext
from ..environment.wheel_file import WheelFile, find_wheel, inspect_wheel, other_python
from ..errors import WheelNotUsable
from ..files import keep_alone
from ..policy.limits import Policy, wheel_kind
from ..policy.result import CheckResult
from ..program import as_called
from ..report import document as report
from . import verdict
from .official import get_official
from .sampled import with_bound
from .selection import Selection

Say = Callable[[str, str], None]
"""Called with a check's id (or an empty string) and a line for a person."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to verify and how.

    Without a wheel it is the one that the manifest names; a manifest counts where it lies beside
    the wheel. ``work`` is for environments, graphs, logs and reports. Sampling may go on for
    ``adaptive_seconds``. ``references`` is another folder of reference embeddings than the
    package's own.
    """

    wheel: Path | None
    manifest: Path
    policy: Policy
    selection: Selection
    recipe: ModelRecipe
    models: Path
    work: Path
    adaptive_seconds: float | None = None
    official: bool = True
    references: Path | None = None


def run(options: Options, *, say: Say) -> report.Document:
    """Verify one wheel and return the document of verify.json.

    Raises
    ------
    VerifyError
        When the verification could not run at all. Failed checks are no errors.
    """
    started, created = time.monotonic(), datetime.now(UTC)
    machine = host.describe()
    path, manifest, manifest_path = find_wheel(options.wheel, options.manifest)
    _refuse_other_policy(path.name, options.policy)
    wheel = inspect_wheel(path, manifest, foreign=not options.policy.executes)
    if options.policy.executes:
        options.recipe.check_files(options.models)
    scratch = (options.work / "verify").resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    work = options.work.resolve()
    targets = _candidate(options, wheel, work, say)
    official = get_official(
        options.selection,
        options.policy,
        wheel=wheel,
        work=work,
        wanted=options.official,
        say=lambda text: say("", text),
    )
    context = TargetContext(
        role="candidate",
        work=scratch,
        model_dir=options.models.resolve(),
        encoder=options.recipe.encoder,
        policy=options.policy,
        quick=options.selection.quick,
        manifest=manifest,
        targets={**targets, **official.targets},
        wheels={"candidate": wheel.path, **official.wheels},
        adaptive_seconds=options.adaptive_seconds,
        host=machine["kind"],
        references=options.references,
    )
    results: list[CheckResult] = []
    samples: list[report.LatencySeries] = []
    covered: list[dict[str, Any]] = []
    for checks, left_out in _plan(options, official.missing):
        if left_out:
            results += [
                CheckResult(id=check.id, status="not-run", summary=left_out) for check in checks
            ]
            continue
        say(checks[0].id, "running")
        answer = run_checks(context, checks, logs=work / "logs", say=say)
        results += [writable(CheckResult(**entry)) for entry in answer["results"]]
        samples += [report.LatencySeries(**one) for one in answer["samples"].get("latency", ())]
        covered += answer["coverage"]
    tidy(scratch, results)
    setting = verdict.Setting(
        policy=options.policy,
        host=machine["kind"],
        built=built_where(manifest),
        compared=official.told,
        python=other_python(path.name, machine["kind"], machine["python"]),
    )
    return report.Document(
        schema=report.VERSION,
        ortmill=__version__,
        created=created.isoformat(timespec="seconds").replace("+00:00", "Z"),
        seconds=round(time.monotonic() - started, 3),
        host=report.Host(**machine),
        wheel=wheel_part(wheel, manifest, manifest_path, official.told),
        model=options.recipe.name if options.policy.executes else None,
        policy=policy_part(options.policy),
        selection=options.selection.part(),
        verdict=verdict.decide(results, selection=options.selection, setting=setting),
        checks=check_part(results, options.policy),
        samples=report.Samples(
            latency=[with_bound(series, options.policy.limits) for series in samples]
        ),
        coverage=[report.Coverage(**graph) for graph in covered],
    )


def tidy(scratch: Path, results: Sequence[CheckResult]) -> None:
    """Keep the graphs, which the next run reads; after a failure all that the checks have made."""
    if all(each.status != "failed" for each in results):
        keep_alone(scratch, "graphs")


def _candidate(options: Options, wheel: WheelFile, work: Path, say: Say) -> dict[str, Path]:
    if not options.policy.executes:
        return {}
    return {"candidate": environment.make_candidate(wheel, work, say=lambda text: say("", text))}


def built_where(manifest: Mapping[str, Any] | None) -> str:
    """Return the manifest's words on a cross-built wheel, or an empty string.

    ``cross-built on linux-x86_64, never executed`` stands there until a run on hardware says
    otherwise: the build cannot know.
    """
    cross = (manifest or {}).get("cross")
    if not isinstance(cross, Mapping):
        return ""
    executed = "executed" if cross.get("executed") else "never executed"
    return f"cross-built on {cross.get('host', 'another host')}, {executed} by the build"


def _refuse_other_policy(name: str, policy: Policy) -> None:
    """Refuse a wheel that the policy does not read, before anything is done with it."""
    kind = wheel_kind(name)
    if policy.wheels and kind not in policy.wheels:
        raise WheelNotUsable(
            f'The policy "{policy.name}" is for wheels of {", ".join(policy.wheels)}; {name} is '
            f"for {kind or 'another platform'}.",
            hint="Leave --policy out, and the one for this wheel and host is taken.",
        )


def wheel_part(
    wheel: WheelFile, manifest: Mapping[str, Any] | None, manifest_path: Path, compared: str
) -> report.Wheel:
    """Return the ``wheel`` part of verify.json."""
    return report.Wheel(
        file=wheel.path.name,
        sha256=wheel.sha256,
        size=wheel.size,
        version=wheel.version,
        manifest_sha256=None if manifest is None else file_sha256(manifest_path),
        cross=built_where(manifest) or None,
        compared=compared or None,
    )


def policy_part(policy: Policy) -> report.Policy:
    """Return the ``policy`` part of verify.json."""
    return report.Policy(
        name=policy.name,
        limits=asdict(policy.limits),
        required=dict(policy.required),
        cpu_precision=policy.cpu_precision,
    )


def writable(result: CheckResult) -> CheckResult:
    """Return a result in JSON's own types; one that JSON cannot hold (NaN, an object) has failed.

    So it fails before the verdict is drawn, and does not end a long run when it is written.
    """
    try:
        return CheckResult(**json.loads(json.dumps(asdict(result), allow_nan=False)))
    except (TypeError, ValueError) as error:
        return CheckResult(
            id=result.id,
            status="failed",
            summary=f"the check's result cannot be written: {error}",
            evidence={"result": repr(result)},
        )


def check_part(results: Sequence[CheckResult], policy: Policy) -> list[report.CheckEntry]:
    """Return the ``checks`` part of verify.json, in the order of the table."""
    titles = {check.id: check.title for check in CHECKS}
    order = list(titles)
    return [
        report.CheckEntry(
            title=titles[result.id],
            required=policy.requires(result.id),
            **asdict(replace(result, hint=as_called(result.hint))),
        )
        for result in sorted(results, key=lambda result: order.index(result.id))
    ]


def run_checks(
    context: TargetContext, checks: Sequence[Check], *, logs: Path, say: Say
) -> dict[str, Any]:
    """Run checks that share a function; the process they run in may die without harm."""
    names = [check.id for check in checks]
    if checks[0].place != "target":
        from ..checks import answer_inside

        return answer_inside.run_checks(
            replace(
                context,
                samples=[],
                coverage=[],
                listener=lambda check, text: say(check or names[0], text),
            ),
            names,
        )
    log = logs / f"verify-{names[0]}.log"
    started = time.monotonic()
    listening = replace(context, listener=lambda check, text: say(names[0], text))
    answer = call(
        listening.worker(".checks.answer_inside:run_checks", names, log=log), checks[0].timeout
    )
    if not answer.failure:
        found: dict[str, Any] = answer.value
        return found
    hint = f"Its whole output is in {log.name} below the work directory's logs."
    if answer.starved:
        hint = "Its process waited for a processor most of that time: stop what else computes."
    failure = CheckResult(
        id=names[0],
        status="inconclusive" if answer.starved else "failed",
        summary=f"the process of the check {answer.failure}",
        evidence={"log": answer.tail},
        hint=hint,
        seconds=time.monotonic() - started,
    )
    return {
        "results": [asdict(replace(failure, id=name)) for name in names],
        "samples": {},
        "coverage": [],
    }


def _plan(options: Options, no_official: Mapping[str, str]) -> Iterator[tuple[list[Check], str]]:
    """Yield groups of checks that share a function, each with why it is left out (or nothing)."""

    def reason(check: Check) -> str:
        left_out = options.selection.left_out(check, options.policy)
        if left_out:
            return left_out
        if check.place != "wheel" and not options.policy.executes:
            return f'nothing was executed: the policy "{options.policy.name}" reads bytes alone'
        return no_official.get(check.place, "") if "official" in check.needs else ""

    listed = [check for check in CHECKS if options.selection.concerns(check, options.policy)]
    for (_, left_out), group in groupby(listed, key=lambda check: (check.run, reason(check))):
        yield list(group), left_out
