"""The ``macho`` checks of a run: read the wheels once, judge, never execute anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from ..environment.context import TargetContext
from ..errors import VerifyError
from ..macho import archive, exports, imports, layout, load_commands, objc, signature
from ..macho.binaries import Binaries, read_binaries
from ..macho.findings import Outcome, load_explanations
from ..macho.published_symbols import load_published
from ..policy.result import CheckResult

CHECKS = (
    load_commands.CHECK,
    imports.CHECK,
    objc.CHECK,
    exports.CHECK,
    layout.CHECK,
    signature.CHECK,
    archive.CHECK,
)


def macho(context: TargetContext) -> Sequence[CheckResult]:
    """Judge the wheel under test by its bytes, beside the official wheel where there is one.

    Raises
    ------
    WheelNotUsable, MachOUnreadable
        When the wheel holds no readable Mach-O file: then every check has failed.
    """
    context.say("reading the wheel's binaries")
    ours = read_binaries(context.wheels["candidate"])
    official = _official(context.wheels.get("official"))
    explanations = load_explanations()
    judges: dict[str, Callable[[], Outcome]] = {
        signature.CHECK: lambda: signature.check_signatures(ours.images),
        archive.CHECK: lambda: archive.check_archive(ours, context.manifest),
    }
    if official is not None:
        judges |= {
            load_commands.CHECK: lambda: load_commands.check_load_commands(ours, official),
            imports.CHECK: lambda: imports.check_imports(ours, official, load_published()),
            objc.CHECK: lambda: objc.check_objc(ours, official),
            exports.CHECK: lambda: exports.check_exports(ours, official),
            layout.CHECK: lambda: layout.check_layout(ours, official),
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
    return sorted(results, key=lambda result: CHECKS.index(result.id))


def _official(path: Path | None) -> Binaries | None:
    return read_binaries(path) if path is not None else None
