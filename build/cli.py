"""The command line of the build: ``python -m build``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import textwrap
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeAlias

from . import __version__, commands
from .errors import BuildError, Interrupted, ResourceError, UsageError
from .pins.command import add_verbs
from .program import as_called, working_folder
from .recipe.format import PLATFORMS
from .recipe.words import meant
from .system.console import Reporter
from .tree.workspace import open_workspace

DEFAULT_RECIPE = "onnxruntime-1.21.0"
DEFAULT_MODEL = "all-minilm-l6-v2"
EXIT_OUTPUT_CLOSED = 141  # as a shell says of a program that SIGPIPE has ended
_ALIKE = 0.7  # of an option: less is another word, not a typo

_EXAMPLES = """\
examples:
  python -m build run                     the default recipe, for this machine
  python -m build run --origin registry   from package registries only
  python -m build fetch && python -m build run --offline
                                          fetch now, build without a network
  python -m build run --platform macos-arm64
                                          the wheel for Apple silicon, on Linux
  python -m build plan --platform macos-arm64 --host macos-arm64
                                          what would run on a Mac, to the letter
  python -m build recipe check recipes/mine.toml
                                          validate a recipe of your own

exit codes:
"""


# argparse's own class has no public name.
_Adder: TypeAlias = "argparse._SubParsersAction[_Parser]"


class _Help(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of examples, and fills what is a paragraph."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n  " in text:
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)


class _Parser(argparse.ArgumentParser):
    def __init__(self, **more: Any) -> None:
        # An option is never guessed from its beginning: `clean --al` is not `--all`.
        super().__init__(**more, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"see `{self.prog} --help`")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse what is unknown where the options are known, and not in the parser above."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            near = self._meant(rest[0])
            unknown = " ".join(each or '""' for each in rest)
            self.error(f"unrecognized arguments: {unknown}{near and f'; {near}'}")
        return found, rest

    def _meant(self, word: str) -> str:
        """Say what an unknown word may have been meant to be, never the help."""
        # Without the dashes, which would make all of them alike.
        given = word.partition("=")[0].strip("-")
        if word.startswith("-") and given in {each.dest for each in self._get_positional_actions()}:
            return f"give the {given} as a word by itself, without --{given}"
        others = [each for each in self._actions if each.dest != "help"]
        known = [name[2:] for each in others for name in each.option_strings if name[:2] == "--"]
        return meant(given, known, before="--", alike=_ALIKE)

    def format_help(self) -> str:
        return as_called(super().format_help())


def _codes() -> str:
    kinds: list[type[BuildError]] = [BuildError, *BuildError.__subclasses__()]
    lines = ["  0    done"]
    for kind in sorted(kinds, key=lambda each: each.exit_code):
        summary = (kind.__doc__ or "").strip().splitlines()[0].rstrip(".")
        said = f"  {kind.exit_code:<4} {kind.title}: {summary}"
        lines += textwrap.wrap(said, 78, subsequent_indent=" " * 7)
    lines.append(f"  {EXIT_OUTPUT_CLOSED}  whoever reads the output has closed it")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=as_called("python -m build"),
        description="Build an ONNX Runtime wheel with the CoreML execution provider from "
        "pinned sources, and a native SDK out of the same compile.",
        epilog=_EXAMPLES + _codes(),
        formatter_class=_Help,
    )
    parser.add_argument("--version", action="version", version=f"ortmill {__version__}")
    common = _Parser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    common.add_argument("--quiet", action="store_true", help="errors only")
    adder = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    inputs = _inputs(common)
    _add_builds(adder, inputs)
    _add_others(adder, common, inputs)
    _add_clean(adder, common)
    _add_surroundings(adder, common, inputs)
    return parser


def _inputs(common: _Parser) -> _Parser:
    """Return the arguments of the commands that are about one recipe and one platform."""
    inputs = _Parser(add_help=False, parents=[common])
    inputs.add_argument(
        "recipe",
        nargs="?",
        default=DEFAULT_RECIPE,
        help=f"a recipe's name or file (default: {DEFAULT_RECIPE})",
    )
    inputs.add_argument(
        "--platform",
        choices=PLATFORMS,
        metavar="NAME",
        help=f"target: {', '.join(PLATFORMS)} (default: this machine)",
    )
    inputs.add_argument(
        "--sdk",
        metavar="PATH",
        help="a macOS SDK to use in place of our own declarations (cross build for macOS only)",
    )
    inputs.add_argument(
        "--origin",
        choices=("auto", "upstream", "registry"),
        default="auto",
        help="where sources may come from; auto goes from one origin to the next (default)",
    )
    inputs.add_argument("--offline", action="store_true", help="use the cache alone")
    inputs.add_argument(
        "--without-patch",
        action="append",
        default=[],
        metavar="NAME",
        help="leave a patch of the recipe's source out, such as coreml-gather; may be repeated",
    )
    return inputs


def _add_builds(adder: _Adder, inputs: _Parser) -> None:
    run = adder.add_parser(
        "run",
        parents=[inputs],
        help="build the wheel and the SDK into wheels/",
        description="Build the wheel and the native SDK into wheels/. A second run with the same "
        "recipe ends at once; a run that was stopped goes on where it was.",
    )
    run.add_argument("--jobs", type=_positive, help="compilers at once (default: cores, memory)")
    run.add_argument("--fresh", action="store_true", help="lay out the tree anew")
    run.add_argument(
        "--static-sdk",
        action="store_true",
        help="pack libonnxruntime.a as well, for programs that link all of it into themselves",
    )
    run.set_defaults(do=commands.run)
    fetch = adder.add_parser(
        "fetch", parents=[inputs], help="fetch and check every input, build nothing"
    )
    fetch.set_defaults(do=commands.fetch)
    plan = adder.add_parser(
        "plan",
        parents=[inputs],
        help="print the exact commands of a build, for any platform, on any machine",
    )
    plan.add_argument("--json", action="store_true", help="JSON on standard output")
    plan.add_argument(
        "--host",
        choices=PLATFORMS,
        metavar="NAME",
        help="the platform that would build (default: this machine's)",
    )
    plan.set_defaults(do=commands.plan)


def _add_others(adder: _Adder, common: _Parser, inputs: _Parser) -> None:
    model = adder.add_parser(
        "fetch-model", parents=[common], help="fetch and check a model's files into .work/models"
    )
    model.add_argument("model", nargs="?", default=DEFAULT_MODEL, help="a model recipe")
    model.add_argument(
        "--work", type=Path, metavar="DIR", help="put them into DIR/models, as for verify"
    )
    model.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="DIR",
        help="take the files from this folder, each held against its pin; no network",
    )
    model.add_argument("--offline", action="store_true", help="use the cache alone")
    model.add_argument(
        "--origin", choices=("auto", "upstream", "registry"), default="auto", help="as for run"
    )
    model.add_argument("--json", action="store_true", help="JSON on standard output")
    model.set_defaults(do=commands.place_model)
    source = adder.add_parser(
        "input", parents=[inputs], help="print the path of one verified input in the cache"
    )
    source.add_argument("--name", required=True, help="a dependency's name, such as onnx")
    source.set_defaults(do=commands.print_input)
    comparison = adder.add_parser(
        "inspect",
        parents=[inputs],
        help="compare the built wheel with the official one: files and hardening",
    )
    comparison.set_defaults(do=commands.inspect)
    found = adder.add_parser(
        "env",
        parents=[common],
        help="print what a program needs to find the native SDK",
        description="Print the variables of the crate ort, of pkg-config, of CMake and of the "
        'loader for an unpacked SDK: eval "$(python -m build env)" sets them in bash and zsh, '
        "`python -m build env --shell fish | source` in fish. The SDK in wheels/ is unpacked into "
        ".work/sdk.",
    )
    found.add_argument(
        "folder", nargs="?", type=Path, help="an unpacked SDK (default: the one in wheels/)"
    )
    forms = found.add_mutually_exclusive_group()
    forms.add_argument(
        "--shell",
        dest="form",
        choices=("bash", "zsh", "fish"),
        metavar="NAME",
        help="for bash, zsh or fish (default: the one that SHELL names, or bash)",
    )
    for option, form, what in (
        ("--github-env", "github", 'NAME=value, for >> "$GITHUB_ENV"'),
        ("--cargo-config", "cargo", "a .cargo/config.toml"),
    ):
        forms.add_argument(option, dest="form", action="store_const", const=form, help=what)
    found.set_defaults(do=commands.print_exports)
    listing = adder.add_parser("recipes", parents=[common], help="list the recipes")
    listing.add_argument("--json", action="store_true", help="JSON on standard output")
    listing.set_defaults(do=commands.list_recipes)
    recipe = adder.add_parser("recipe", help="work on one recipe")
    verbs = recipe.add_subparsers(dest="verb", required=True, metavar="VERB")
    check = verbs.add_parser("check", parents=[common], help="validate a recipe")
    check.add_argument("file", help="a recipe's name or file")
    check.set_defaults(do=commands.check_recipe)
    add_verbs(verbs, common)
    schema = adder.add_parser(
        "schema", parents=[common], help="write the JSON schemas of the recipe formats"
    )
    schema.add_argument("--check", action="store_true", help="only say whether they are fresh")
    schema.set_defaults(do=commands.write_schemas)


def _add_clean(adder: _Adder, common: _Parser) -> None:
    clean = adder.add_parser(
        "clean",
        parents=[common],
        help="remove what can be made again: trees, objects, graphs, what rehearsals left",
        description="Remove what can be made again without a network: source trees and objects in "
        "the cache; of .work/ all but the downloads, the environments and the reports.",
    )
    clean.add_argument(
        "--all", action="store_true", help="the whole cache and .work/, downloads included"
    )
    clean.set_defaults(do=commands.clean)


def _add_surroundings(adder: _Adder, common: _Parser, inputs: _Parser) -> None:
    simple = adder.add_parser(
        "index",
        parents=[common],
        help="write a private package index of wheels/, static files that pip installs from",
        description="Write wheels/simple (PEP 503 pages and PEP 691 JSON): serve wheels/ with any "
        "web server, or point `pip install --index-url` at the folder itself.",
    )
    simple.add_argument("--output", type=Path, metavar="DIR", help="instead of wheels/simple")
    simple.set_defaults(do=commands.write_simple_index)
    healthy = adder.add_parser(
        "doctor",
        parents=[inputs],
        help="say what this machine can do, and how to mend what it lacks",
    )
    healthy.set_defaults(do=commands.doctor)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return int(text)


def main(argv: Sequence[str] | None = None, env: Mapping[str, str] | None = None) -> int:
    """Run a command; return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; the process's own by default.
    env : Mapping[str, str], optional
        The environment to read; the process's own by default.
    """
    environment = dict(os.environ if env is None else env)
    words = list(sys.argv[1:] if argv is None else argv)
    reporter = Reporter(env=environment, quiet="--quiet" in words)
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _as_interrupt)
    try:
        code = _ended(words, environment, reporter)
        # What is still to be written fails here, where it can be told, and not at the very end.
        if sys.stdout is not None:  # what a parent has closed
            sys.stdout.flush()
    except BrokenPipeError:
        return close_output()
    return code


def _ended(words: Sequence[str], env: Mapping[str, str], reporter: Reporter) -> int:
    """Carry out the command; return its exit code."""
    try:
        _carry_out(words, env, reporter)
    except BuildError as error:
        reporter.error(error)
        if "--debug" in words:
            traceback.print_exc()
        return error.exit_code
    except SystemExit as end:
        # argparse's own end, after --help and --version.
        return end.code if isinstance(end.code, int) else 0
    return 0


def _carry_out(words: Sequence[str], env: Mapping[str, str], reporter: Reporter) -> None:
    try:
        arguments = _parser().parse_args(words)
        workspace = open_workspace(working_folder(), env)
        arguments.do(
            commands.Call(arguments=arguments, workspace=workspace, env=env, reporter=reporter)
        )
    except KeyboardInterrupt:
        raise Interrupted(
            "stopped", hint="run the same command again: finished steps are kept"
        ) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        # The last net: a disk that fills up or a folder that is closed can fail anywhere.
        raise ResourceError(
            f"{error.strerror or error}: {error.filename or 'this machine refused it'}",
            hint="check that the folder may be written and that the disk is not full",
        ) from error


def close_output() -> int:
    """Write no more, whoever reads has read enough; return the exit code that says so."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_OUTPUT_CLOSED


def _as_interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
