"""The command ``python -m verify frontier``."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rich.console import Console

from ..checks.policies import find_policy
from ..commands.command import Command, add_model, add_wheel
from ..commands.progress import Progress
from ..encoder.model_recipe import load_model_recipe, model_folder, recipe_path
from ..encoder.prepared.choice import Precision
from ..environment import venv as environment
from ..environment.context import TargetContext
from ..environment.host import describe
from ..environment.wheel_file import find_wheel, inspect_wheel
from ..files import made_folder
from ..report.document import dumps
from . import frontier_page
from .measured_forms import FORMS, Frontier, Say, measure_frontier

DESCRIPTION = """\
Measure every form of the encoder that the CPU provider can run (docs/performance.md): cosine with
fp32 over the reference texts, neighbours kept over a retrieval set, P95 and P50 in turns in one
run, size and memory. A table; JSON with --json; a page with a chart with --html."""

EPILOG = """\
examples:
  python -m verify frontier --html frontier.html
  python -m verify frontier --official   and the official wheel's fp32
  python -m verify frontier --forms int8,int8-fast --rounds 30
                                         two forms, narrower intervals"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_wheel(parser)
    add_model(parser)
    parser.add_argument(
        "--forms", type=_forms, default=FORMS, metavar="NAME,NAME", help="default: all of them"
    )
    parser.add_argument(
        "--tokens", type=int, default=128, metavar="N", help="of the text (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=8, metavar="N", help="of the timing (default: %(default)s)"
    )
    parser.add_argument("--no-retrieval", action="store_true", help="reference texts alone")
    parser.add_argument(
        "--official", action="store_true", help="time the official wheel's fp32 too"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the page with the chart")


def run(options: argparse.Namespace, console: Console) -> int:
    """Measure and show; 0 when it was measured."""
    with Progress(console) as progress:
        frontier, wheel = _measured(options, progress.say)
    if options.html:
        frontier_page.write_page(frontier, options.html, wheel=wheel)
        console.print(f"page: {options.html}", markup=False, soft_wrap=True)
    if options.json:
        found = {"wheel": wheel, "host": describe(), **frontier.to_json()}
        print(dumps(found))
        return 0
    output = Console(highlight=False)
    if not output.is_terminal:
        output.width = max(output.width, 160)
    frontier_page.show(frontier, output)
    return 0


def _measured(options: argparse.Namespace, say: Say) -> tuple[Frontier, str]:
    path, manifest, _ = find_wheel(options.wheel, options.manifest)
    recipe = load_model_recipe(recipe_path(options.model))
    models = model_folder(options, recipe.name).absolute()
    recipe.check_files(models)
    work = made_folder(options.work)
    with (
        environment.opened(inspect_wheel(path, manifest), options.work, say=say) as python,
        tempfile.TemporaryDirectory(prefix="ortmill-") as folder,
    ):
        targets = {"candidate": python}
        if options.official:
            official = environment.fetch_official(path.name, work.resolve(), say=say)
            targets["official"] = environment.make_official(official, work.resolve(), say=say)
        # The graphs are kept between runs; what is measured is not.
        graphs = made_folder(work / "verify").resolve() / "graphs"
        graphs.mkdir(exist_ok=True)
        (Path(folder) / "graphs").symlink_to(graphs, target_is_directory=True)
        context = TargetContext(
            role="candidate",
            work=Path(folder),
            model_dir=models,
            encoder=recipe.encoder,
            policy=find_policy(None, wheel=path.name),
            targets=targets,
            listener=lambda check, text: say(text),
        )
        frontier = measure_frontier(
            context,
            options.forms,
            tokens=options.tokens,
            rounds=options.rounds,
            retrieval=not options.no_retrieval,
            say=say,
        )
    return frontier, path.name


def _forms(text: str) -> tuple[Precision, ...]:
    unknown = sorted(set(text.split(",")) - set(FORMS))
    if unknown:
        known = ", ".join(FORMS)
        raise argparse.ArgumentTypeError(f"there is no form {unknown[0]}; known: {known}")
    return tuple(form for form in FORMS if form in text.split(","))


COMMAND = Command(
    help="what each form for the CPU keeps and costs",
    add_arguments=add_arguments,
    run=run,
    description=DESCRIPTION,
    epilog=EPILOG,
)
