"""The command ``python -m verify model``."""

from __future__ import annotations

import argparse
import json

from rich.console import Console

from ..encoder import graph_family
from ..encoder.prepared.variants import PREPARED
from ..files import made_folder
from ..report.document import dumps
from . import fix_model
from .command import Command, add_look_up, add_model
from .progress import Progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_model(parser)
    add_look_up(parser)
    graph_family.add_arguments(parser, prepared=PREPARED)
    fix_model.add_arguments(parser)


def run(options: argparse.Namespace, console: Console) -> int:
    """Build the family of graphs, or fix a model of the user's."""
    if options.from_onnx is not None:
        with Progress(console) as progress:
            return fix_model.run(options, console, progress.say)
    fix_model.refuse(options)
    family = graph_family.choose(options)
    made = []
    with Progress(console) as progress:
        for member, path in family.build(made_folder(options.work) / "verify" / "graphs"):
            progress.say(f"{member.label} is built")
            made.append(path)
    if options.json:
        records = [json.loads(path.with_suffix(".json").read_text("utf-8")) for path in made]
        listed = [{"file": str(path), **record} for path, record in zip(made, records, strict=True)]
        print(dumps({"graphs": listed}))
        return 0
    for path in made:
        console.print(str(path), markup=False, soft_wrap=True)
    return 0


COMMAND = Command(
    help="build the encoder's graphs and print their hashes", add_arguments=add_arguments, run=run
)
