"""The command line's grammar and its help."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from .. import __version__
from ..encoder import graph_family
from ..errors import VerifyError
from . import conversion, coverage, differential, fix_model

EXIT_CODES = """\
exit codes:
  0    every required check passed
  1    a required check failed (or could not run)
  2    inconclusive: too noisy, too few samples, or only some checks were selected
  3    the verification could not run: no wheel, wrong platform, bad policy, wrong usage
  130  interrupted"""

EXAMPLES = """\
examples:
  python -m verify run                              the wheel that `nox -s build` made
  python -m verify run FILE.whl --policy linux      another wheel, a policy by name
  python -m verify run MACOS.whl                    on Linux: its bytes are read, nothing runs
  python -m verify run --quick -k latency           only the checks about latency, few samples
  python -m verify run --skip memory.growth="CI runner swaps"
  python -m verify checks                           what each check catches
  python -m verify judge .work/reports/verify.json --policy strict.toml
  python -m verify differential --onnx-archive FILE answers against the official wheel
  python -m verify conversion                       the CoreML programs, evaluated without a Mac
  python -m verify compare before.json after.json   is a difference real?"""


class UsageError(VerifyError):
    """The command line asks for something that does not exist."""

    title = "usage"


class Parser(argparse.ArgumentParser):
    """argparse whose errors are ours: exit code 3, because 2 means inconclusive."""

    def error(self, message: str) -> NoReturn:
        """Raise in place of ending the process."""
        raise UsageError(
            f"{message[:1].upper()}{message[1:]}.", hint=f"See `{self.prog} --help` for examples."
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
    return _parser().parse_args(argv)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m verify",
        description="Prove what an ONNX Runtime wheel with CoreML can do on this host.",
        epilog=f"{EXAMPLES}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ortmill {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = Parser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    common.add_argument("--json", action="store_true", help="print JSON on standard output")

    def command(name: str, text: str, epilog: str = "") -> Parser:
        made: Parser = commands.add_parser(
            name,
            help=text,
            description=f"{text[:1].upper()}{text[1:]}.",
            parents=[common],
            epilog=f"{epilog}\n\n{EXIT_CODES}" if epilog else EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        return made

    _run(command("run", "verify a wheel in a clean environment", EXAMPLES))
    command("checks", "list every check with what it catches")
    answers = command("differential", "compare a wheel's answers with the official wheel's")
    answers.description = differential.DESCRIPTION
    differential.add_arguments(answers)
    proof = command(
        "conversion", "evaluate what the CoreML provider emits, without a Mac", conversion.EPILOG
    )
    proof.description = conversion.DESCRIPTION
    conversion.add_arguments(proof)
    _model_options(proof, what="model recipe, or an ONNX model of your own")
    judge = command("judge", "judge a finished run again with another policy, without running")
    judge.add_argument("report", type=Path, metavar="verify.json")
    judge.add_argument("--policy", required=True, metavar="NAME|FILE")
    judge.add_argument("--budget-ms", type=_positive, metavar="MS", help="latency budget instead")
    judge.add_argument("--output", type=Path, metavar="FILE", help="write the judged report there")
    compare = command("compare", "say whether two runs differ for real")
    compare.add_argument("before", type=Path, metavar="a.json")
    compare.add_argument("after", type=Path, metavar="b.json")
    compare.add_argument(
        "--other-host", action="store_true", help="compare runs from different hosts all the same"
    )
    model = command("model", "build the encoder's graphs and print their hashes")
    _model_options(model)
    graph_family.add_arguments(model)
    fix_model.add_arguments(model)
    covered = command("coverage", "show what CoreML takes of some models", coverage.EPILOG)
    covered.description = coverage.DESCRIPTION
    coverage.add_arguments(covered)
    _model_options(covered)
    graph_family.add_arguments(covered)
    report = command("report", "write report.html and junit.xml for a finished run")
    report.add_argument("report", type=Path, metavar="verify.json")
    report.add_argument("--history", type=Path, nargs="*", default=[], metavar="verify.json")
    return parser


def _run(run: Parser) -> None:
    run.add_argument(
        "wheel", type=Path, nargs="?", help="the wheel; by default the one in the manifest"
    )
    run.add_argument(
        "--manifest", type=Path, default=Path("wheels/manifest.json"), help="default: %(default)s"
    )
    run.add_argument(
        "--policy",
        metavar="NAME|FILE",
        help="limits; by default the one for this kind of host and wheel",
    )
    run.add_argument("--quick", action="store_true", help="fewer samples, in under 45 seconds")
    run.add_argument(
        "-k", dest="keyword", default="", metavar="EXPR", help='such as "latency or not memory"'
    )
    run.add_argument("--only", action="append", default=[], metavar="ID", help="may be repeated")
    run.add_argument(
        "--skip",
        action="append",
        default=[],
        metavar="ID=REASON",
        help="leave a check out; the verdict repeats the reason",
    )
    run.add_argument(
        "--adaptive",
        type=_positive,
        nargs="?",
        const=120.0,
        metavar="SECONDS",
        help="keep sampling until the result is clear, at most so long (120 when left out)",
    )
    run.add_argument("--budget-ms", type=_positive, metavar="MS", help="P95 budget instead")
    run.add_argument(
        "--max-length",
        type=int,
        metavar="TOKENS",
        help="cut texts to so many tokens instead of the model's own number (256; 128 is the "
        "number in its tokenizer.json)",
    )
    run.add_argument(
        "--no-official", action="store_true", help="no comparison with the official wheel"
    )
    _model_options(run)


def _model_options(parser: Parser, *, what: str = "model recipe") -> None:
    parser.add_argument(
        "--model",
        default="all-minilm-l6-v2",
        metavar="NAME|FILE",
        help=f"{what} (default: %(default)s)",
    )
    parser.add_argument(
        "--models", type=Path, metavar="DIR", help="model files; default: <work>/models/<name>"
    )
    parser.add_argument(
        "--work", type=Path, default=Path(".work"), metavar="DIR", help="default: %(default)s"
    )


def skips(pairs: list[str]) -> dict[str, str]:
    """Turn ``ID=REASON`` words into a mapping.

    Raises
    ------
    UsageError
        When a reason is missing or a check is named twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, _, reason = pair.partition("=")
        if not reason.strip():
            raise UsageError(
                f"--skip {pair} needs a reason, because the verdict repeats it.",
                hint=f'Write --skip {name}="why it is left out".',
            )
        if name in found:
            raise UsageError(f"--skip {name} is given twice.")
        found[name] = reason.strip()
    return found


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a number") from None
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value
