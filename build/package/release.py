"""What the wheel and the SDK of one build have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..recipe.format import PlatformName
from .licences import LicenceText

# The one architecture that every library for macOS must have.
MAC_ARCHITECTURE = "arm64"


@dataclass(frozen=True, kw_only=True)
class Release:
    """One version for one platform.

    ``version`` has its local part (:func:`build.recipe.version.local_version`);
    ``source_date_epoch`` is in seconds since 1970, for every entry of an archive. ``minimum_os`` is
    the newest macOS that a library may ask for, and ``forbidden_paths`` are paths of this machine
    that no file may hold. In the folder ``into`` a file of the same name is replaced in one step.
    """

    into: Path
    version: str
    platform: PlatformName
    source_date_epoch: int
    licences: Sequence[LicenceText] = ()
    minimum_os: str = ""
    forbidden_paths: Sequence[str] = ()

    @property
    def upstream_version(self) -> str:
        """The version without its local part."""
        return self.version.partition("+")[0]
