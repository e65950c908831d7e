"""The official wheel of the same version, for comparisons: installed, and as a file to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..checks.table import CHECKS, Place
from ..environment import venv as environment
from ..environment.wheel_file import WheelFile
from ..errors import EnvironmentFailed
from ..policy.limits import Policy
from ..sentence import Say
from .selection import Selection


@dataclass(frozen=True, kw_only=True)
class Official:
    """The official wheel in the forms that were wanted: installed, and as a file.

    ``targets`` and ``wheels`` are for the context of the checks; ``missing`` says for each place of
    checks why there is none for it; ``told`` says in a sentence what the wheel was compared with.
    """

    targets: Mapping[str, Path] = field(default_factory=dict)
    wheels: Mapping[str, Path] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    told: str = ""


def get_official(
    selection: Selection, policy: Policy, *, wheel: WheelFile, work: Path, wanted: bool, say: Say
) -> Official:
    """Get the official wheel of the wheel's own version, in the forms that the checks want.

    A wheel that is the official one itself is not compared with itself, and says so. ``wanted`` is
    whether to compare at all (``--no-official``).
    """
    places = {
        check.place
        for check in CHECKS
        if "official" in check.needs
        and selection.concerns(check, policy)
        and not selection.left_out(check, policy)
        and (check.place == "wheel" or policy.executes)
    }
    if not wanted:
        return _none("left out by --no-official", "It was not compared with the official wheel.")
    if not places:
        return Official()
    name = f"the official wheel of {wheel.upstream}"
    try:
        official = environment.fetch_official(wheel.path.name, work, say=say)
    except EnvironmentFailed as error:
        reason = _without("fetched", error, say)
        return _none(reason, f"It was compared with no other wheel: {reason}.")
    if official.sha256 == wheel.sha256:
        same = f"it is {name} itself, byte for byte"
        return _none(same, f"It is the file that the package index serves as {official.path.name}.")
    told = f"It was compared with {name}, {official.path.name}."
    wheels = {"official": official.path}
    if not places - {"wheel"}:
        return Official(wheels=wheels, told=told)
    try:
        targets = {"official": environment.make_official(official, work, say=say)}
    except EnvironmentFailed as error:
        missing = _without("installed", error, say)
        return Official(wheels=wheels, missing={"target": missing, "host": missing}, told=told)
    return Official(targets=targets, wheels=wheels, told=told)


def _none(reason: str, told: str) -> Official:
    places: tuple[Place, ...] = ("target", "host", "wheel")
    return Official(missing=dict.fromkeys(places, reason), told=told)


def _without(verb: str, error: EnvironmentFailed, say: Say) -> str:
    lines = error.problem.splitlines()
    if any("No matching distribution" in line for line in lines):
        reason = "the package index has none for this version, Python and platform"
    else:
        reason = f"the official wheel could not be {verb}: {lines[0]}"
    say(f"going on without the official wheel: {reason}")
    return reason
