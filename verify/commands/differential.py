"""The command ``python -m verify differential``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ..differential.drive import differential
from ..environment.channel import clean_environment
from ..environment.venv import locked, make_candidate, make_official
from ..environment.wheel_file import find_wheel, inspect_wheel
from ..errors import VerifyError

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
        help="the official wheel as a file (default: the locked one, from the package index)",
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


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Returns
    -------
    int
        0 when both wheels agree, 1 when they do not.

    Raises
    ------
    VerifyError
        When the comparison could not run (exit code 3).
    """
    if not args.onnx_archive.is_file():
        raise VerifyError(
            f"There is no onnx source archive at {args.onnx_archive}.",
            hint="`nox -s fetch` puts it into the cache; give its path with --onnx-archive.",
        )
    path, manifest, _ = find_wheel(args.wheel, Path("wheels/manifest.json"))
    wheel = inspect_wheel(path, manifest)
    work = args.work.resolve()
    reference = inspect_wheel(args.official, None) if args.official is not None else None
    with locked(work, say=_say):
        if reference is None:
            official = make_official(work, say=_say)
        else:
            # One file against itself shows that a run is repeatable; it needs two environments.
            same = reference.sha256 == wheel.sha256
            official = make_candidate(reference, work / "official" if same else work, say=_say)
        result = differential(
            official=official,
            candidate=make_candidate(wheel, work, say=_say),
            archive=args.onnx_archive.resolve(),
            work=work,
            environment=clean_environment(),
            say=_say,
        )
    print(json.dumps(result.to_json()) if args.json else result.text())
    checks = result.check_results()
    for check in checks:
        _say(f"{check.id}: {check.status}: {check.summary}")
    return 0 if all(check.status == "passed" for check in checks) else 1


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
