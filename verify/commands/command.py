"""What every command is made of, and the options that several of them share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, get_args

from rich.console import Console

from ..encoder.model_recipe import LookUp
from ..errors import VerifyError
from ..policy.strict import nearest
from ..program import as_called

EXIT_CODES = """\
exit codes:
  0    every required check passed
  1    a required check failed (or could not run)
  2    inconclusive: too noisy, too few samples, or not every check selected
  3    could not run: no wheel, wrong platform, bad policy, wrong usage
  130  interrupted
  141  whoever reads the output has closed it"""


class Output(Console):
    """Prints for people; a closed pipe is an error, where rich would end in 1, a failed check.

    Where it is no terminal, it has at least so many columns.
    """

    def __init__(self, *, stderr: bool = False, least: int = 0) -> None:
        super().__init__(stderr=stderr, highlight=False)
        if least > self.width and not self.is_terminal:
            self.width = least

    def on_broken_pipe(self) -> None:
        """Leave it to the command line."""
        raise BrokenPipeError


class UsageError(VerifyError):
    """The command line asks for something that does not exist."""

    title = "usage"


class Help(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of examples, and fills what is a paragraph."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n  " in text:
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)


class Parser(argparse.ArgumentParser):
    """argparse whose errors are ours: exit code 3, because 2 means inconclusive."""

    def __init__(self, **more: Any) -> None:
        # An option is never guessed from its beginning.
        super().__init__(**more, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise in place of ending the process."""
        raise UsageError(
            f"{message[:1].upper()}{message[1:]}.", hint=f"See `{self.prog} --help` for examples."
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse what is unknown where the options are known, and not in the parser above."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            unknown = " ".join(each or '""' for each in rest)
            self.error(f"unrecognized arguments: {unknown}{self._meant(rest[0])}")
        return found, rest

    def _meant(self, word: str) -> str:
        """Say what an unknown word may have been meant to be, never the help."""
        # Without the dashes, which would make all of them alike.
        given = word.partition("=")[0].strip("-")
        if word[:1] == "-" and given in {each.dest for each in self._get_positional_actions()}:
            return f" (give the {given} as a word by itself, without --{given})"
        options = {*self._option_string_actions} - {"--help"}
        near = nearest(given, sorted(name[2:] for name in options if name.startswith("--")))
        return near.replace('"', '"--', 1)

    def format_help(self) -> str:
        """Return the help with the commands as the reader has to type them."""
        return as_called(super().format_help())


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command: its help, its arguments and what it does.

    ``run`` carries it out and returns the exit code, or raises `VerifyError` when it could not run.
    The command's own help has ``description``, by default ``help`` as a sentence, and ``epilog``,
    its examples.
    """

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Console], int]
    description: str = ""
    epilog: str = ""

    def add_to(self, commands: argparse._SubParsersAction[Parser], name: str) -> None:
        """Add the command to those of a parser."""
        parser = commands.add_parser(
            name,
            help=self.help,
            description=self.description or f"{self.help[:1].upper()}{self.help[1:]}.",
            epilog=f"{self.epilog}\n\n{EXIT_CODES}".lstrip(),
            formatter_class=Help,
        )
        parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        parser.add_argument("--json", action="store_true", help="print JSON on standard output")
        self.add_arguments(parser)


def add_wheel(parser: argparse.ArgumentParser) -> None:
    """Add the wheel, and the manifest that names it."""
    parser.add_argument(
        "wheel",
        type=Path,
        nargs="?",
        metavar="WHEEL|onnxruntime==VERSION",
        help="the wheel, or a version that pip's index has; by default the one in the manifest",
    )
    add_manifest(parser)


def add_manifest(parser: argparse._ActionsContainer) -> None:
    """Add the option that names the manifest."""
    parser.add_argument(
        "--manifest", type=Path, default=Path("wheels/manifest.json"), help="default: %(default)s"
    )


def add_wheel_option(parser: argparse._ActionsContainer) -> None:
    """Add the wheel as an option, for a command whose words are models."""
    parser.add_argument("--wheel", type=Path, metavar="FILE", help="default: the manifest's wheel")
    add_manifest(parser)


def add_model(parser: argparse.ArgumentParser, *, what: str = "model recipe") -> None:
    """Add the options that name the model and the work directory."""
    parser.add_argument(
        "--model",
        default="all-minilm-l6-v2",
        metavar="NAME|FILE",
        help=f"{what} (default: %(default)s)",
    )
    parser.add_argument(
        "--models", type=Path, metavar="DIR", help="model files; default: <work>/models/<name>"
    )
    add_work(parser)


def add_work(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the work directory."""
    parser.add_argument(
        "--work", type=Path, default=Path(".work"), metavar="DIR", help="default: %(default)s"
    )


def add_look_up(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses between the two forms of the encoder's graphs."""
    parser.add_argument(
        "--look-up",
        choices=get_args(LookUp),
        help="where the encoder's embedding look-ups run on CoreML: on the CPU before the program, "
        "or inside it; default: the recipe's, which is cpu unless it says otherwise",
    )
