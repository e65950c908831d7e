"""``python -m verify``: the only place that catches :class:`~verify.errors.VerifyError`."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from typing import NoReturn

from rich.console import Console

from . import __version__
from .bridge import start as bridge
from .commands import (
    checks,
    compare,
    conversion,
    coverage,
    differential,
    judge,
    model,
    report,
    run,
)
from .commands.command import EXIT_CODES, Parser
from .decisions import command as decisions
from .errors import VerifyError
from .program import as_called

EXIT_INTERRUPTED = 130
COMMANDS = {
    "run": run.COMMAND,
    "checks": checks.COMMAND,
    "differential": differential.COMMAND,
    "conversion": conversion.COMMAND,
    "judge": judge.COMMAND,
    "compare": compare.COMMAND,
    "model": model.COMMAND,
    "coverage": coverage.COMMAND,
    "report": report.COMMAND,
    "bridge": bridge.COMMAND,
    "decisions": decisions.COMMAND,
}


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
        return COMMANDS[options.command].run(options, console)
    except VerifyError as error:
        if "--debug" in arguments:
            console.print_exception()
        _report(error, console)
        return error.exit_code
    except Exception as error:
        # A fault of ours, or something that no module foresaw: never 1, which is a failed check.
        if "--debug" in arguments:
            console.print_exception()
        said = " ".join(str(error).split())
        ours = VerifyError(
            f"{type(error).__name__}: {said}" if said else f"{type(error).__name__}.",
            hint="Nothing was judged. This is a fault of ortmill: please report it with what "
            "--debug prints.",
        )
        _report(ours, console)
        return ours.exit_code
    except KeyboardInterrupt:
        console.print("interrupted: the checks' processes were ended, nothing was judged.")
        return EXIT_INTERRUPTED


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse the command line.

    Raises
    ------
    UsageError
        When it makes no sense.
    SystemExit
        With 0, after ``--help`` or ``--version``.
    """
    return command_line().parse_args(argv)


def command_line() -> Parser:
    """Return the parser of every command."""
    parser = Parser(
        prog=as_called("python -m verify"),
        description="Prove what an ONNX Runtime wheel with CoreML can do on this host.",
        epilog=f"{run.EXAMPLES}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ortmill {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.add_to(commands, name)
    return parser


def _interrupt(number: int, frame: object) -> NoReturn:
    """Let SIGTERM end the checks' processes as Ctrl-C does."""
    raise KeyboardInterrupt


def _report(error: VerifyError, console: Console) -> None:
    wrap = not console.is_terminal
    console.print(f"{error.title}: ", style="bold red", end="", markup=False)
    console.print(error.problem, markup=False, soft_wrap=wrap)
    for name, value in error.context.items():
        console.print(f"  {name}: {value}", markup=False, soft_wrap=wrap)
    if error.hint:
        console.print(f"hint: {error.hint}", style="bold", markup=False, soft_wrap=wrap)
