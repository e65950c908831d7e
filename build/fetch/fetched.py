"""One input that was fetched, and the texts by which the manifest names it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..recipe.format import (
    ArchiveOrigin,
    DebianOrigin,
    DerivedModelOrigin,
    GitOrigin,
    OverlayOrigin,
    PackagedModelOrigin,
    PinnedFile,
    PypiOrigin,
    SplitModelOrigin,
)
from .http import redact
from .integrity import Pin
from .wanted import AnyOrigin, HubFiles, LocalFiles, ToolsLock

PinnedBy = Literal["commit", "sha256", "sha1", "tree"]


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """One input, verified and on disk.

    ``path`` is a file in the cache; for an overlay its folder, for the tools the folder of
    wheels. ``sha256`` is the file's, the overlay's tree digest, or the lock file's. ``sha1`` is
    set only where the recipe pins one, and has been checked. ``extras`` are files that belong to
    it: the wheel of an overlay's descriptors, a model's other files, an archive's other parts.
    """

    name: str
    version: str
    origin: AnyOrigin
    path: Path
    sha256: str
    size: int
    sha1: str | None = None
    extras: tuple[Fetched, ...] = ()

    @property
    def kind(self) -> str:
        """The kind of the origin."""
        return self.origin.kind

    @property
    def locator(self) -> str:
        """The text by which the manifest names the origin."""
        return locator(self.origin)

    @property
    def pinned(self) -> PinnedBy:
        """By what the recipe pins it.

        ``sha1`` means that the sha256 was computed here and pinned by nobody.
        """
        match self.origin:
            case GitOrigin():
                return "commit"
            case OverlayOrigin():
                return "tree"
            case ArchiveOrigin():
                return pin_of(self.origin).strength
        return "sha256"


def pin_of(file: ArchiveOrigin | PinnedFile) -> Pin:
    """Return what the recipe says about a file."""
    sha1 = file.sha1 if isinstance(file, ArchiveOrigin) else None
    return Pin(size=file.size, sha256=file.sha256, sha1=sha1)


def locator(origin: AnyOrigin) -> str:
    """Return the text by which an origin is named.

    An address for upstream, ``git+<address>@<commit>`` for a repository; for a registry no host
    is named: ``debian:<path>``, ``pypi:<project>==<release>/<file>``, ``overlay:<path>``,
    ``pip:<lock file>``; ``local:<folder>``. ``!<path>`` is an archive, or what a model is decoded
    from, inside the file.
    """
    match origin:
        case GitOrigin():
            return f"git+{redact(origin.url)}@{origin.commit}"
        case ArchiveOrigin():
            return redact(origin.url)
        case HubFiles():
            return f"{redact(origin.hub.url)}/{origin.hub.revision}"
        case DebianOrigin():
            return f"debian:{origin.path}"
        case SplitModelOrigin():
            first, *more = origin.parts
            return f"pypi:{first.project}=={first.release}/{first.file} and {len(more)} more"
        case LocalFiles():
            return f"local:{origin.folder}"
        case PypiOrigin() | PackagedModelOrigin() | DerivedModelOrigin():
            inner = getattr(origin, "inner", None) or getattr(origin, "member", None)
            file = f"pypi:{origin.project}=={origin.release}/{origin.file}"
            return f"{file}!{inner}" if inner else file
        case OverlayOrigin():
            return f"overlay:{origin.path}"
        case ToolsLock():
            return f"pip:{origin.lock}"


def expected_size(origin: AnyOrigin) -> int | None:
    """Return how many bytes a fetch of this origin takes, or None where that is not known."""
    if isinstance(origin, OverlayOrigin):
        return origin.descriptors.size if origin.descriptors else 0
    if isinstance(origin, SplitModelOrigin):
        return sum(part.size for part in origin.parts)
    return getattr(origin, "size", None)
