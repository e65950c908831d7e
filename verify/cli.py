"""``python -m verify``: the only place that catches :class:`~verify.errors.VerifyError`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from . import __version__
from .commands.command import EXIT_CODES, Command, Help, Output, Parser
from .errors import VerifyError, machines_own, not_installed
from .program import as_called

EXIT_INTERRUPTED = 130
EXIT_OUTPUT_CLOSED = 141  # as a shell says of a program that SIGPIPE has ended
OWN_MODEL = "own-model"
# Each is loaded when it is asked for: a bridge is to be up at once, and needs little of the rest.
COMMANDS = {
    "run": ".commands.run",
    "checks": ".commands.checks",
    "differential": ".commands.differential",
    "conversion": ".commands.conversion",
    "judge": ".commands.judge",
    "compare": ".commands.compare",
    "model": ".commands.model",
    "coverage": ".commands.coverage",
    "frontier": ".frontier.frontier_command",
    "tune": ".tune.tune_command",
    "report": ".commands.report",
    "beside": ".beside.beside_command",
    "bridge": ".bridge.start",
    "decisions": ".decisions.command",
    OWN_MODEL: ".own_model.asking",
}


def main(argv: list[str] | None = None, *, bring: Callable[[str, Path], None] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    argv : list of str, optional
        Arguments without the program's name; the process's own by default.
    bring : callable, optional
        Takes a model's recipe and the work directory, and sees to it that the model's files are
        there. Who calls gives it: the verification itself fetches no model.
    """
    arguments = sys.argv[1:] if argv is None else argv
    console = Output(stderr=True)
    try:
        code = _carry_out(arguments, console, bring)
        # What is still to be written fails here, where it can be told, and not at the very end.
        if sys.stdout is not None:  # what a parent has closed
            sys.stdout.flush()
    except BrokenPipeError:
        return close_output()
    return code


def close_output() -> int:
    """Write no more, whoever reads has read enough; return the exit code that says so."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_OUTPUT_CLOSED


def _carry_out(
    arguments: list[str], console: Console, bring: Callable[[str, Path], None] | None
) -> int:
    try:
        try:
            options = parse(arguments)
        except SystemExit as ended:  # --help and --version print and end
            return int(ended.code or 0)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _interrupt)
        options = with_wheel(options, console)
        options.bring = bring
        return command(options.command).run(options, console)
    except VerifyError as error:
        if "--debug" in arguments:
            console.print_exception()
        _report(error, console)
        return error.exit_code
    except BrokenPipeError:
        raise
    except Exception as error:
        # A fault of ours, or something that no module foresaw: never 1, which is a failed check.
        if "--debug" in arguments:
            console.print_exception()
        told = machines_own(error) or _fault_of_ours(error)
        if isinstance(error, ModuleNotFoundError):
            told = not_installed(error)
        _report(told, console)
        return told.exit_code
    except KeyboardInterrupt:
        console.print("interrupted: the checks' processes were ended, nothing was judged.")
        return EXIT_INTERRUPTED


def _fault_of_ours(error: Exception) -> VerifyError:
    said = " ".join(str(error).split())
    return VerifyError(
        f"{type(error).__name__}: {said}" if said else f"{type(error).__name__}.",
        hint="Nothing was judged. This is a fault of ortmill: please report it with what "
        "--debug prints.",
    )


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse the command line.

    Raises
    ------
    UsageError
        When it makes no sense.
    SystemExit
        With 0, after ``--help`` or ``--version``.
    """
    words = with_command(argv)
    named = [word for word in words[:1] if word in COMMANDS]
    return command_line(named or COMMANDS).parse_args(words)


def with_command(words: list[str]) -> list[str]:
    """Return the command line with the command that a verification may leave out.

    A wheel as the first word is for `run`. Where `--model` is a file of ONNX, `run` and no word at
    all mean the verification of a model of the user's.
    """
    if words and (words[0].endswith(".whl") or "==" in words[0]) and words[0][0] != "-":
        words = ["run", *words]
    rest = words[1:] if words[:1] == ["run"] else words
    if len(rest) == len(words) and not (words and words[0].startswith("-")):
        return words
    pairs = zip(["", *rest], rest, strict=False)
    files = [word for before, word in pairs if before == "--model" or word.startswith("--model=")]
    # Without a command it can be nothing else: whatever the file is called, it is told as a model.
    alone = bool(words) and words[0].partition("=")[0] == "--model"
    own = alone or any(file.lower().endswith(".onnx") for file in files)
    return [OWN_MODEL, *rest] if own else words


def with_wheel(options: argparse.Namespace, console: Console) -> argparse.Namespace:
    """Return the arguments with the file of a wheel that was given by name and version."""
    wheel = getattr(options, "wheel", None)
    if wheel is None or wheel.suffix == ".whl":
        return options
    from .environment.named import fetch_named, named

    if text := named(wheel):
        options.wheel = fetch_named(
            text,
            getattr(options, "work", Path(".work")),
            say=lambda line: console.print(line, markup=False, soft_wrap=True),
        )
    return options


def command(name: str) -> Command:
    """Load a command."""
    found: Command = import_module(COMMANDS[name], __package__).COMMAND
    return found


def command_line(names: Iterable[str] = tuple(COMMANDS)) -> Parser:
    """Return the parser of these commands."""
    loaded = {name: command(name) for name in names}
    parser = Parser(
        prog=as_called("python -m verify"),
        description="Prove what an ONNX Runtime wheel with CoreML can do on this host.",
        epilog=f"{next(iter(loaded.values())).epilog}\n\n{EXIT_CODES}",  # of `run`, the first
        formatter_class=Help,
    )
    parser.add_argument("--version", action="version", version=f"ortmill {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, each in loaded.items():
        each.add_to(commands, name)
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
