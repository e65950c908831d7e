"""``python -m verify``: the only place that catches :class:`~verify.errors.VerifyError`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from .checks.table import CHECKS
from .commands.arguments import parse, skips
from .errors import VerifyError
from .files import made_folder, write_text
from .report import document as report_json

EXIT_INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    console = Console(stderr=True, highlight=False)
    try:
        try:
            options = parse(arguments)
        except SystemExit as ended:  # --help and --version print and end
            return int(ended.code or 0)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _interrupt)
        command: Callable[[argparse.Namespace, Console], int] = {
            "run": _run,
            "checks": _checks,
            "judge": _judge,
            "compare": _compare,
            "coverage": _coverage,
            "differential": _differential,
            "conversion": _conversion,
            "model": _model,
            "report": _report,
        }[options.command]
        return command(options, console)
    except VerifyError as error:
        if "--debug" in arguments:
            console.print_exception()
        _tell(error, console)
        return error.exit_code
    except KeyboardInterrupt:
        console.print("interrupted: the checks' processes were ended, nothing was judged.")
        return EXIT_INTERRUPTED


def _interrupt(number: int, frame: object) -> NoReturn:
    """Let SIGTERM end the checks' processes as Ctrl-C does."""
    raise KeyboardInterrupt


def _run(options: argparse.Namespace, console: Console) -> int:
    from .encoder.model_recipe import load_model_recipe, recipe_path
    from .environment import venv as environment
    from .environment.wheel_file import find_wheel
    from .policy.limits import find_policy
    from .report import terminal as table
    from .run import carry_out as run
    from .run.selection import Selection

    # A missing wheel is told before anything else, and the wheel decides about the policy.
    wheel, _, _ = find_wheel(options.wheel, options.manifest)
    policy = _with_budget(find_policy(options.policy, wheel=wheel.name), options.budget_ms)
    if options.policy is None and policy.wheels:
        _say_policy(wheel.name, policy, console)
    recipe = load_model_recipe(recipe_path(options.model))
    if options.max_length is not None:
        recipe = replace(recipe, encoder=recipe.encoder.cut_to(options.max_length))
    chosen = run.Options(
        wheel=options.wheel,
        manifest=options.manifest,
        policy=policy,
        selection=Selection(
            quick=options.quick,
            only=tuple(options.only),
            keyword=options.keyword,
            skip=skips(options.skip),
        ),
        recipe=recipe,
        models=options.models or options.work / "models" / recipe.name,
        work=options.work,
        adaptive_seconds=options.adaptive,
        official=not options.no_official,
    )
    with (
        _Progress(console) as progress,
        environment.locked(options.work, say=lambda text: progress.say("", text)),
    ):
        document = run.run(chosen, say=progress.say)
    reports = options.work / "reports"
    report_json.write(document, reports / "verify.json")
    _write_reports(document, reports, [])
    table.show(document, console)
    console.print(f"\nreports: {reports}/verify.json, junit.xml, report.html", markup=False)
    _step_summary(document)
    if options.json:
        print(report_json.dumps(document))
    return int(document["verdict"]["exit_code"])


def _say_policy(wheel: str, policy: Any, console: Console) -> None:
    """Say that a wheel for other hosts is read and not executed, and by which policy."""
    console.print(
        f"{wheel} is for {', '.join(policy.wheels)}: it is read here and not executed "
        f"(policy {policy.name}).",
        markup=False,
        soft_wrap=not console.is_terminal,
    )


def _checks(options: argparse.Namespace, console: Console) -> int:
    if options.json:
        listed = [{"id": check.id, "title": check.title, "catches": check.doc} for check in CHECKS]
        print(report_json.dumps({"checks": listed}))
        return 0
    output = Console(highlight=False)
    for check in CHECKS:
        output.print(f"[bold]{check.id}[/]  {check.title}", soft_wrap=not output.is_terminal)
        output.print(f"    {check.doc}", markup=False, soft_wrap=not output.is_terminal)
    return 0


def _judge(options: argparse.Namespace, console: Console) -> int:
    from .policy.limits import find_policy
    from .report import terminal as table
    from .run import rejudge

    document = report_json.read(options.report)
    judged = rejudge.judge(document, _with_budget(find_policy(options.policy), options.budget_ms))
    table.show(judged, console)
    if options.output:
        report_json.write(judged, options.output)
    if options.json:
        print(report_json.dumps(judged))
    return int(judged["verdict"]["exit_code"])


def _compare(options: argparse.Namespace, console: Console) -> int:
    from dataclasses import asdict

    from .report.two_runs import compare

    found = compare(
        report_json.read(options.before),
        report_json.read(options.after),
        allow_other_host=options.other_host,
    )
    if options.json:
        print(report_json.dumps({**asdict(found), "real": found.real, "headline": found.headline}))
        return 0
    output = Console(highlight=False)
    output.print(found.headline, markup=False, soft_wrap=True)
    for difference in found.latency:
        line = (
            f"  {difference.series} {difference.statistic}: ratio {difference.ratio:.3f}, "
            f"{difference.outcome}"
        )
        output.print(line, markup=False, soft_wrap=True)
    for change in found.statuses:
        output.print(f"  {change.id}: {change.before} -> {change.after}", markup=False)
    for drift in found.drift:
        line = f"  {drift.check} {drift.quantity}: {drift.before:.9g} -> {drift.after:.9g}"
        output.print(line, markup=False, soft_wrap=True)
    return 0


def _differential(options: argparse.Namespace, console: Console) -> int:
    from .commands import differential as cli

    return cli.run(options)


def _conversion(options: argparse.Namespace, console: Console) -> int:
    from .commands import conversion as cli

    return cli.run(options)


def _coverage(options: argparse.Namespace, console: Console) -> int:
    from .commands import coverage as cli

    with _Progress(console) as progress:
        return cli.run(options, console, lambda text: progress.say("", text))


def _model(options: argparse.Namespace, console: Console) -> int:
    from .commands import fix_model
    from .encoder import graph_family

    if options.from_onnx is not None:
        with _Progress(console) as progress:
            return fix_model.run(options, console, lambda text: progress.say("", text))
    fix_model.refuse(options)
    family = graph_family.choose(options)
    made = []
    with _Progress(console) as progress:
        for member, path in family.build(made_folder(options.work) / "verify" / "graphs"):
            progress.say("", f"{member.label} stands")
            made.append(path)
    if options.json:
        import json

        records = [json.loads(path.with_suffix(".json").read_text("utf-8")) for path in made]
        listed = [{"file": str(path), **record} for path, record in zip(made, records, strict=True)]
        print(report_json.dumps({"graphs": listed}))
        return 0
    for path in made:
        console.print(str(path), markup=False, soft_wrap=True)
    return 0


def _report(options: argparse.Namespace, console: Console) -> int:
    document = report_json.read(options.report)
    history = [report_json.read(path) for path in options.history]
    folder = options.report.parent
    _write_reports(document, folder, history)
    console.print(f"{folder}/report.html, {folder}/junit.xml", markup=False, soft_wrap=True)
    return 0


def _write_reports(
    document: Mapping[str, Any], folder: Path, history: list[dict[str, Any]]
) -> None:
    from .report import junit
    from .report.html import write_report

    write_text(folder / "junit.xml", junit.render(document))
    write_report(document, folder / "report.html", history=history)


def _step_summary(document: Mapping[str, Any]) -> None:
    from .report import terminal as table

    target = os.environ.get("GITHUB_STEP_SUMMARY")
    if target:
        with Path(target).open("a", encoding="utf-8") as stream:
            stream.write(table.markdown(document))


def _with_budget(policy: Any, budget: float | None) -> Any:
    if budget is None:
        return policy
    return replace(policy, limits=replace(policy.limits, latency_p95_ms=budget))


def _tell(error: VerifyError, console: Console) -> None:
    wrap = not console.is_terminal
    console.print(f"{error.title}: ", style="bold red", end="", markup=False)
    console.print(error.problem, markup=False, soft_wrap=wrap)
    for name, value in error.context.items():
        console.print(f"  {name}: {value}", markup=False, soft_wrap=wrap)
    if error.hint:
        console.print(f"hint: {error.hint}", style="bold", markup=False, soft_wrap=wrap)


class _Progress:
    """One live line on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.started = time.monotonic()
        self.status = console.status("starting") if console.is_terminal else None
        self.last = ""

    def __enter__(self) -> _Progress:
        if self.status:
            self.status.start()
        return self

    def __exit__(self, *details: object) -> None:
        if self.status:
            self.status.stop()

    def say(self, check: str, text: str) -> None:
        """Show what is going on; the same line twice is shown once."""
        line = f"{check}: {text}" if check else text
        if line == self.last:
            return
        self.last = line
        if self.status:
            from rich.markup import escape

            self.status.update(escape(line))
        else:
            seconds = time.monotonic() - self.started
            self.console.print(f"[{seconds:6.1f} s] {line}", markup=False, soft_wrap=True)
