"""The ``coverage`` command."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from ..checks.policies import find_policy
from ..coverage import show
from ..coverage.advice import patches_of
from ..coverage.fixed_shapes import share
from ..coverage.nodes import ModelFileError, expand, load
from ..coverage.partitions import FORMATS, Answer, Format, Limits, Question, check_provider, measure
from ..encoder import graph_family
from ..encoder.model_recipe import chosen_recipe
from ..environment import venv as environment
from ..environment.context import TargetContext
from ..environment.wheel_file import WheelFile, find_wheel, inspect_wheel
from ..errors import VerifyError
from ..policy.limits import Policy
from ..report import document as report_json
from ..sentence import Say
from .command import Command, Output, add_look_up, add_model, add_wheel_option
from .progress import Progress

DESCRIPTION = """\
Ask the CoreML provider of a wheel what it takes of some models, and say what would help with the
rest. Without a model: the encoder's own graphs, where the limits apply to the static ones as
MLProgram and everything else stands beside them to compare. Works on Linux: the provider converts
there, it only cannot execute."""

EPILOG = """\
examples:
  python -m verify coverage                           the encoder's own graphs
  python -m verify coverage model.onnx --html coverage.html    with a picture
  python -m verify coverage exports/ --min-nodes 0.9  every .onnx in a folder
  python -m verify coverage --random-weights 1 --layers 12 --hidden 768"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "models_asked", nargs="*", type=Path, metavar="MODEL.onnx|FOLDER", help="what to ask about"
    )
    add_wheel_option(parser)
    parser.add_argument(
        "--format",
        choices=(*FORMATS, "both"),
        default="both",
        help="with both, the limits apply to MLProgram (default: %(default)s)",
    )
    parser.add_argument(
        "--require-static",
        action="store_true",
        help="with RequireStaticInputShapes=1: nodes with dynamic inputs are refused",
    )
    parser.add_argument("--policy", metavar="NAME|FILE", help="limits; default: this host's")
    parser.add_argument("--max-partitions", type=int, metavar="N", help="limit instead")
    parser.add_argument("--min-nodes", type=share, metavar="SHARE", help="limit instead, 0 to 1")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the page with pictures")
    add_model(parser)
    add_look_up(parser)
    graph_family.add_arguments(parser)


def run(options: argparse.Namespace, console: Console) -> int:
    """Measure, show, judge; 1 when a judged graph is over the limits, 3 when one has no answer."""
    with Progress(console) as progress:
        return _run(options, console, progress.say)


def _run(options: argparse.Namespace, console: Console, say: Say) -> int:
    policy = find_policy(options.policy)
    limits = _limits(options, policy)
    paths = expand(options.models_asked)
    if paths:
        graph_family.refuse(options, beside="a model's file")
    refuse_wrong(paths)
    formats: tuple[Format, ...] = FORMATS if options.format == "both" else (options.format,)
    judged: tuple[Format, ...] = ("MLProgram",) if options.format == "both" else formats
    questions = _named(paths) if paths else _family(options, say)
    with opened_wheel(options, policy, say=say) as (context, found):
        wheel = found.path.name
        answers = measure(
            context,
            questions,
            formats,
            judged=judged,
            options={"RequireStaticInputShapes": "1"} if options.require_static else {},
            say=say,
        )
    if options.html:
        show.write_page(answers, limits, options.html, wheel=wheel)
        console.print(f"picture: {options.html}", markup=False, soft_wrap=True)
    return report(answers, limits, wheel=wheel, as_json=options.json)


def report(answers: Sequence[Answer], limits: Limits, *, wheel: str, as_json: bool) -> int:
    """Print the answers in the form asked for; return the exit code.

    3 when the provider was never asked about a judged graph, else 1 when one is over the limits.
    """
    over = any(answer.problems(limits) for answer in answers)
    unanswered = any(answer.unanswered for answer in answers)
    if as_json:
        print(
            report_json.dumps(
                {
                    "wheel": wheel,
                    "limits": {"partitions": limits.partitions, "nodes": limits.nodes},
                    "within_limits": not over,
                    "coverage": [answer.to_json(limits) for answer in answers],
                }
            )
        )
    else:
        show.show(answers, limits, Output(least=120))
    return VerifyError.exit_code if unanswered else 1 if over else 0


def refuse_wrong(paths: Sequence[Path]) -> None:
    """Tell of files that are no models before an environment is made; one good file is enough.

    Raises
    ------
    ModelFileError
        That of the first file, when none is a model.
    """
    errors = []
    for path in paths:
        try:
            load(path)
        except ModelFileError as error:
            errors.append(error)
    if paths and len(errors) == len(paths):
        raise errors[0]


@contextmanager
def opened_wheel(
    options: argparse.Namespace, policy: Policy, *, recipe: str = "", say: Say
) -> Iterator[tuple[TargetContext, WheelFile]]:
    """Make the environment with the wheel; give its context and the wheel.

    The context works in a folder that is removed at the end. ``recipe`` names the model recipe of
    the context, in place of the option ``--model``.

    Raises
    ------
    WheelNotUsable
        When the wheel is missing, of another platform, or has no CoreML.
    """
    encoder = chosen_recipe(recipe or options.model).encoder
    path, manifest, _ = find_wheel(options.wheel, options.manifest)
    wheel = inspect_wheel(path, manifest)
    with (
        environment.opened(wheel, options.work, say=say) as python,
        tempfile.TemporaryDirectory(prefix="ortmill-") as folder,
    ):
        context = TargetContext(
            role="candidate",
            work=Path(folder),
            model_dir=options.work.absolute(),
            encoder=encoder,
            policy=policy,
            targets={"candidate": python},
            patches=patches_of(manifest, path.name),
        )
        check_provider(context)
        yield context, wheel


def _limits(options: argparse.Namespace, policy: Policy) -> Limits:
    partitions, nodes = options.max_partitions, options.min_nodes
    if partitions is not None and partitions < 1:
        raise VerifyError(f"--max-partitions {partitions} is below 1.")
    return Limits(
        partitions=policy.limits.coverage_partitions_max if partitions is None else partitions,
        nodes=policy.limits.coverage_nodes_min if nodes is None else nodes,
    )


def _named(paths: Sequence[Path]) -> list[Question]:
    stems = [path.stem for path in paths]
    return [
        Question(path=path, label=path.stem if stems.count(path.stem) == 1 else str(path))
        for path in paths
    ]


def _family(options: argparse.Namespace, say: Say) -> list[Question]:
    family = graph_family.choose(options)
    questions = []
    say(f"building the graphs of {family.encoder.name}")
    for member, path in family.build(options.work / "verify" / "graphs"):
        judged = member.static is not None  # the dynamic graph is the CPU's
        questions.append(Question(path=path, label=member.label, judged=judged))
    return questions


COMMAND = Command(
    help="show what CoreML takes of some models",
    add_arguments=add_arguments,
    run=run,
    description=DESCRIPTION,
    epilog=EPILOG,
)
