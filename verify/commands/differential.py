"""The command ``python -m verify differential``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console

from ..differential.drive import differential
from ..environment.venv import fetch_official, locked, make_candidate, make_official
from ..environment.wheel_file import find_wheel, inspect_wheel
from ..errors import VerifyError
from .command import Command
from .progress import Progress

DESCRIPTION = (
    "Compare the answers of a wheel with those of the official wheel of the same version: the "
    "ONNX node tests, and inputs with NaN, infinities, signed zeros, denormals, empty and "
    "broadcast shapes."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.add_argument(
        "wheel",
        type=Path,
        nargs="?",
        metavar="WHEEL",
        help="the wheel under test; by default the one in wheels/manifest.json",
    )
    parser.add_argument(
        "--official",
        type=Path,
        metavar="WHEEL",
        help="the official wheel as a file (default: that of the wheel's version, from the index)",
    )
    parser.add_argument(
        "--onnx-archive",
        type=Path,
        required=True,
        metavar="FILE",
        help="source archive of onnx with the node test data",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(".work") / "differential",
        metavar="DIR",
        help="folder for environments, cases and journals (default: %(default)s)",
    )


def run(options: argparse.Namespace, console: Console) -> int:
    """Run the command; 0 when both wheels agree, 1 when they do not.

    Raises
    ------
    VerifyError
        When the comparison could not run (exit code 3).
    """
    if not options.onnx_archive.is_file():
        raise VerifyError(
            f"There is no onnx source archive at {options.onnx_archive}.",
            hint="`python -m build fetch` puts it into the cache; name it with --onnx-archive.",
        )
    path, manifest, _ = find_wheel(options.wheel, Path("wheels/manifest.json"))
    wheel = inspect_wheel(path, manifest)
    work = options.work.resolve()
    reference = inspect_wheel(options.official, None) if options.official is not None else None
    with Progress(console) as progress, locked(work, say=progress.say):
        if reference is None:
            fetched = fetch_official(wheel.path.name, work, say=progress.say)
            if fetched.sha256 == wheel.sha256:
                raise VerifyError(
                    f"{wheel.path.name} is the official wheel itself.",
                    hint="Name another one to compare it with: --official FILE.whl",
                )
            official = make_official(fetched, work, say=progress.say)
        else:
            # One file against itself shows that a run is repeatable; it needs two environments.
            same = reference.sha256 == wheel.sha256
            official = make_candidate(
                reference, work / "official" if same else work, say=progress.say
            )
        result = differential(
            official=official,
            candidate=make_candidate(wheel, work, say=progress.say),
            archive=options.onnx_archive.resolve(),
            work=work,
            say=progress.say,
        )
    print(json.dumps(result.to_json()) if options.json else result.text())
    checks = result.check_results()
    for check in checks:
        console.print(f"{check.id}: {check.status}: {check.summary}", markup=False, soft_wrap=True)
    return 0 if all(check.status == "passed" for check in checks) else 1


COMMAND = Command(
    help="compare a wheel's answers with the official wheel's",
    add_arguments=add_arguments,
    run=run,
    description=DESCRIPTION,
)
