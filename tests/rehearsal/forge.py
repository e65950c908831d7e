"""Everything that the servers hand out: repositories, archives, a model, and a recipe for them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.fetch.cache import ContentCache
from build.recipe.format import (
    ArchiveOrigin,
    DebianOrigin,
    Dependency,
    GitOrigin,
    PlatformName,
    Recipe,
)
from build.recipe.load import load_recipe
from build.system.digest import FileHashes, file_sha256, hash_file, tree_digest
from build.tree.unpack import unpack
from tests.rehearsal.nar import nar_hash
from tests.rehearsal.pins import with_pins
from tests.rehearsal.repositories import archive, commit_tree, plain_zip, publish, release_of
from tests.rehearsal.trees import GITHUB_TREES, NothingToStandFor, Stand, make_tree

_PROGRAM = ("forge", "nar", "pins", "repositories", "trees")
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Forge:
    """What stands behind the recipe's addresses.

    ``archives`` maps an address to a file, ``repositories`` an address to a bare repository;
    ``recipe`` is the text of a recipe whose pins are these.
    """

    archives: Mapping[str, Path]
    repositories: Mapping[str, Path]
    recipe: str


def make_forge(
    file: Path, folder: Path, *, platform: PlatformName, cache: ContentCache, say: Say
) -> Forge:
    """Fill a folder with all that a recipe's upstream origins name for a platform.

    A folder that was filled from the same recipe by the same program is left as it is.

    Raises
    ------
    FileNotFoundError
        The cache lacks an input of the registries.
    AssertionError
        A tree that ought to be GitHub's is not.
    """
    stamp = folder / "forge.json"
    key = _key(file, platform)
    with suppress(OSError, ValueError):
        facts = json.loads(stamp.read_text(encoding="utf-8"))
        if facts.pop("key") == key:
            for line in facts.pop("said"):
                say(line)
            return _from_facts(facts)
    said: list[str] = []

    def note(line: str) -> None:
        said.append(line)
        say(line)

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    forge = _filled(file, folder, platform=platform, cache=cache, say=note)
    stamp.write_text(json.dumps({"key": key, "said": said, **_to_facts(forge)}), encoding="utf-8")
    shutil.rmtree(folder / "trees")
    return forge


def _key(file: Path, platform: str) -> str:
    """Return a digest of what decides a forge: the recipe, its folder's overlays, this program."""
    words = [file_sha256(file), platform]
    words += [tree_digest(file.parent / name) for name in ("overlays", "shared")]
    words += [
        file_sha256(each) for each in (Path(__file__).with_name(f"{name}.py") for name in _PROGRAM)
    ]
    return hashlib.sha256(" ".join(words).encode()).hexdigest()


def _to_facts(forge: Forge) -> dict[str, Any]:
    return {
        "archives": {url: str(path) for url, path in forge.archives.items()},
        "repositories": {url: str(path) for url, path in forge.repositories.items()},
        "recipe": forge.recipe,
    }


def _from_facts(facts: Mapping[str, Any]) -> Forge:
    return Forge(
        archives={url: Path(path) for url, path in facts["archives"].items()},
        repositories={url: Path(path) for url, path in facts["repositories"].items()},
        recipe=facts["recipe"],
    )


def _filled(
    file: Path, folder: Path, *, platform: PlatformName, cache: ContentCache, say: Say
) -> Forge:
    recipe = load_recipe(file)
    tree = _source_tree(recipe, folder, cache=cache)
    archives: dict[str, Path] = {}
    for dependency in recipe.dependencies:
        if platform not in dependency.platforms or platform not in dependency.hosts:
            say(f"  left out: {dependency.name}, which {platform} does not need")
            continue
        try:
            stand = make_tree(dependency, folder / "trees", cache=cache, recipes=file.parent)
        except NothingToStandFor as error:
            say(f"  left out: {error}")
            continue
        archives |= _archives(dependency, stand, folder, day=recipe.source.date)
        say(f"  {stand.name}: {stand.note}")
    hashes: dict[str, FileHashes] = {address: hash_file(path) for address, path in archives.items()}
    list_archives(tree / "cmake" / "deps.txt", hashes)
    origin = next(each for each in recipe.source.origins if isinstance(each, GitOrigin))
    repository, tag = folder / "git" / "source.git", origin.tag or "release"
    commit = publish(tree, repository, tag=tag, day=recipe.source.date)
    say(
        f"  source: the distribution's, these archives in deps.txt, commit {commit[:12]}, tag {tag}"
    )
    text = with_pins(file.read_text(encoding="utf-8"), commit=commit, archives=hashes)
    return Forge(archives=archives, repositories={origin.url: repository}, recipe=text)


def list_archives(deps: Path, hashes: Mapping[str, FileHashes]) -> None:
    """Let upstream's own list of archives name these, by the SHA-1s that they have here."""
    rows = [line.split(";") for line in deps.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        if len(row) == 3 and row[1] in hashes:
            row[2] = hashes[row[1]].sha1
    deps.write_text("".join(";".join(row) + "\n" for row in rows), encoding="utf-8")


def _source_tree(recipe: Recipe, folder: Path, *, cache: ContentCache) -> Path:
    stand = next(each for each in recipe.source.origins if isinstance(each, DebianOrigin))
    found = cache.find(stand.sha256)
    if found is None:
        raise FileNotFoundError(f"{stand.path} is not in the cache: run `nox -s fetch`")
    tree = folder / "trees" / "source"
    unpack(found, tree, strip_root=True)
    return tree


def _archives(dependency: Dependency, stand: Stand, folder: Path, *, day: str) -> dict[str, Path]:
    urls = [each.url for each in dependency.origins if isinstance(each, ArchiveOrigin)]
    made: dict[str, Path] = {}
    repository = folder / "git" / f"{stand.name}.git"
    commit = ""
    for number, url in enumerate(urls):
        into = folder / "archives" / f"{stand.name}-{number}.zip"
        if release := release_of(url):
            commit = commit or commit_tree(stand.path, repository, day=day)
            archive(repository, commit, release.prefix, into)
            if stand.name in GITHUB_TREES:
                _check_round_trip(into, stand)
        else:
            plain_zip(stand.path, into)
        made[url] = into
    return made


def _check_round_trip(zipped: Path, stand: Stand) -> None:
    """Check that what ``git archive`` made of a tree unpacks to that tree, link for link."""
    again = stand.path.with_name(f"{stand.name}.again")
    unpack(zipped, again, strip_root=True)
    actual, expected = nar_hash(again), GITHUB_TREES[stand.name]
    if actual != expected:
        raise AssertionError(f"{zipped.name} unpacks to NAR {actual}, not to {expected}")
    shutil.rmtree(again)
