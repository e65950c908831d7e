"""The official wheel of the same version, for comparisons: installed, and as a file to read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..checks.table import CHECKS, Place
from ..environment import venv as environment
from ..errors import EnvironmentFailed
from ..policy.limits import Policy
from .selection import Selection

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Official:
    """The official wheel in the forms that were wanted: installed, and as a file.

    ``targets`` and ``wheels`` are for the context of the checks; ``missing`` says for each place of
    checks why there is none for it.
    """

    targets: Mapping[str, Path] = field(default_factory=dict)
    wheels: Mapping[str, Path] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


def get_official(
    selection: Selection,
    policy: Policy,
    *,
    manifest: Mapping[str, Any] | None,
    work: Path,
    wanted: bool,
    say: Say,
) -> Official:
    """Get the official wheel in the forms that the chosen checks want.

    Parameters
    ----------
    selection, policy : Selection, Policy
        Say which checks run.
    manifest : Mapping or None
        Names the upstream version; only one has a lock here.
    work : Path
        Folder for environments and files.
    wanted : bool
        Whether to compare at all (``--no-official``).
    say : callable
        Takes a line for a person.
    """
    places = {
        check.place
        for check in CHECKS
        if "official" in check.needs
        and selection.concerns(check, policy)
        and not selection.left_out(check, policy)
        and (check.place == "wheel" or policy.executes)
    }
    everywhere: tuple[Place, ...] = ("target", "host", "wheel")
    if not wanted:
        return Official(missing=dict.fromkeys(everywhere, "left out by --no-official"))
    upstream = str((manifest or {}).get("upstream_version", environment.OFFICIAL_VERSION))
    if upstream != environment.OFFICIAL_VERSION:
        return Official(
            missing=dict.fromkeys(everywhere, f"no lock for the official wheel of {upstream}")
        )
    missing: dict[str, str] = {}
    targets: dict[str, Path] = {}
    wheels: dict[str, Path] = {}
    try:
        if "wheel" in places:
            wheels["official"] = environment.fetch_official_macos(work, say=say)
    except EnvironmentFailed as error:
        missing["wheel"] = _without("fetched", error, say)
    try:
        if places - {"wheel"}:
            targets["official"] = environment.make_official(work, say=say)
    except EnvironmentFailed as error:
        missing["target"] = missing["host"] = _without("installed", error, say)
    return Official(targets=targets, wheels=wheels, missing=missing)


def _without(verb: str, error: EnvironmentFailed, say: Say) -> str:
    say(f"going on without the official wheel: {error.problem}")
    return f"the official wheel could not be {verb}: {error.problem.splitlines()[0]}"
