"""The ``macho`` checks of a run: read the wheels once, judge, never execute anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter

from ..environment.context import TargetContext
from ..errors import VerifyError
from ..macho import archive, layout, load_commands, objc, signature, symbols
from ..macho.binaries import read_binaries
from ..macho.findings import Outcome, load_explanations
from ..macho.published_symbols import load_published
from ..policy.result import CheckResult


def macho(context: TargetContext) -> Sequence[CheckResult]:
    """Judge the bytes of the wheel under test, compared with the official wheel if there is one.

    Raises
    ------
    WheelNotUsable, MachOUnreadable
        When the wheel holds no readable Mach-O file: then every check has failed.
    """
    context.say("reading the wheel's binaries")
    ours = read_binaries(context.wheels["candidate"])
    explanations = load_explanations()
    judges: dict[str, Callable[[], Outcome]] = {}
    if "official" in context.wheels:
        official = read_binaries(context.wheels["official"])
        judges = {
            load_commands.CHECK: lambda: load_commands.check_load_commands(ours, official),
            symbols.IMPORTS: lambda: symbols.check_imports(ours, official, load_published()),
            objc.CHECK: lambda: objc.check_objc(ours, official),
            symbols.EXPORTS: lambda: symbols.check_exports(ours, official),
            layout.CHECK: lambda: layout.check_layout(ours, official),
        }
    judges |= {
        signature.CHECK: lambda: signature.check_signatures(ours.images),
        archive.CHECK: lambda: archive.check_archive(ours, context.manifest),
    }
    results = []
    for check, judge in judges.items():
        context.say("judging", check=check)
        started = perf_counter()
        try:
            result = judge().result(explanations)
        except VerifyError as error:
            result = CheckResult(id=check, status="failed", summary=error.problem, hint=error.hint)
        results.append(replace(result, seconds=perf_counter() - started))
    return results
