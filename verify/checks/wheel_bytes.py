"""The checks of a wheel's bytes: read once, judged by what its tags promise, never executed.

What ortmill asks of its own wheels beyond that is in checks of its own (``*.standards``), which the
policies about other people's wheels do not list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter

from ..elf import promises
from ..environment.context import TargetContext
from ..environment.promise import read_promise
from ..errors import VerifyError
from ..macho import archive, layout, load_commands, objc, signature, standards, symbols
from ..macho.binaries import read_binaries
from ..macho.published_symbols import load_published
from ..policy.findings import Outcome, compare_all, load_explanations
from ..policy.result import CheckResult, Status

COMPARISON = "macho.official"
EXPLAINED = Path(archive.__file__).with_name("differences.toml")
_UNPROVEN = (
    "The symbol may well be there: no published wheel that promises so old a macOS imports it."
)

Judges = Mapping[str, Callable[[], CheckResult]]


def macho(context: TargetContext) -> Sequence[CheckResult]:
    """Judge a macOS wheel, and compare it with the official wheel of its version if there is one.

    An import that nothing proves fails where the policy requires the proof, and is inconclusive
    where it does not: the symbol may be there.

    Raises
    ------
    WheelNotUsable, MachOUnreadable
        When the wheel holds no readable Mach-O file: then every check has failed.
    """
    context.say("reading the wheel's binaries")
    ours = read_binaries(context.wheels["candidate"])
    promise = read_promise(ours.wheel.name)
    official = read_binaries(context.wheels["official"]) if "official" in context.wheels else None
    shown = load_published(promise.oldest or (0, 0))
    judges: dict[str, Callable[[], Outcome]] = {
        load_commands.CHECK: lambda: load_commands.check_load_commands(ours, official, promise),
        symbols.IMPORTS: lambda: symbols.check_imports(ours, official, shown, promise),
        objc.CHECK: lambda: objc.check_objc(ours, official),
        symbols.EXPORTS: lambda: symbols.check_exports(ours, official),
        layout.CHECK: lambda: layout.check_layout(ours, official),
        signature.CHECK: lambda: signature.check_signatures(ours.images),
        archive.CHECK: lambda: archive.check_archive(ours, promise),
        standards.CHECK: lambda: standards.check_standards(ours, promise, context.manifest),
    }
    found: list[Outcome] = []

    def judged(check: str) -> CheckResult:
        outcome = judges[check]()
        found.append(outcome)
        if check != symbols.IMPORTS:
            return outcome.result()
        broken: Status = "failed" if context.policy.requires(check) else "inconclusive"
        result = outcome.result(broken=broken, hint=_UNPROVEN)
        total = sum(len(image.imports) for image in ours.images)
        told = f"{len(outcome.problems)} of {total} imports have no proof. {result.summary}"
        return replace(result, summary=told) if outcome.problems else result

    def compared() -> CheckResult:
        if len(found) < len(judges):
            raise VerifyError("What could not be read cannot be compared.")
        return compare_all(COMPARISON, found, load_explanations(EXPLAINED, promise.version))

    results = _each(context, {check: partial(judged, check) for check in judges})
    if official is not None:
        results += _each(context, {COMPARISON: compared})
    return results


def elf(context: TargetContext) -> Sequence[CheckResult]:
    """Judge a Linux wheel."""
    context.say("reading the wheel's libraries")
    wheel = context.wheels["candidate"]
    promise = read_promise(wheel.name)
    return _each(
        context,
        {
            promises.WHEEL: lambda: promises.check_promise(wheel, promise).result(),
            promises.STANDARDS: lambda: promises.check_standards(
                wheel, promise, context.manifest
            ).result(),
        },
    )


def _each(context: TargetContext, judges: Judges) -> list[CheckResult]:
    """Judge one after another; what cannot be read has failed, and the others go on."""
    results = []
    for check, judge in judges.items():
        context.say("judging", check=check)
        started = perf_counter()
        try:
            result = judge()
        except VerifyError as error:
            result = CheckResult(id=check, status="failed", summary=error.problem, hint=error.hint)
        results.append(replace(result, seconds=perf_counter() - started))
    return results
