"""The dependencies of another version: what CMake asks for, from where ``deps.txt`` has it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit

from ..errors import BuildError, FetchError, IntegrityError, SourceError
from ..fetch.fetched import Fetched
from ..fetch.origins.kinds import obtain
from ..fetch.wanted import Wanted
from ..recipe.format import PLATFORMS, ArchiveOrigin
from ..tree.patch import apply_patch
from ..tree.unpack import unpack
from .document import Say, Writing, build_pairs, tables
from .tree import Archive, Asked, asked_for

_REF = re.compile(
    r"/(?:releases/download|archive)/(?:refs/tags/)?([^/]+?)(?:\.zip|\.tar\.gz)?(?:/|$)"
)
_LICENCE = re.compile(r"LICEN[CS]E|COPYING|COPYRIGHT|NOTICE", re.IGNORECASE)
_COMMIT = re.compile("[0-9a-f]{40}")


def write_dependencies(writing: Writing) -> None:
    """Write what CMake may fetch for the recipe's platforms; each archive is fetched and read.

    Raises
    ------
    FetchError, IntegrityError
        An archive cannot be had, or its SHA-1 is not that of ``deps.txt``.
    SourceError
        CMake asks for what ``deps.txt`` does not list, or an archive cannot be unpacked.
    """
    recipe, say = writing.recipe, writing.say
    asked = asked_for(
        writing.tree, writing.facts, build_pairs(recipe), args=writing.args, defines=recipe.defines
    )
    archives = writing.facts.archives
    if unlisted := sorted(asked.keys() - archives.keys()):
        raise SourceError(
            f"CMake asks for {', '.join(unlisted)}, which cmake/deps.txt does not list",
            hint="look into cmake/external of the tree, and write the recipe by hand",
        )
    known = _shared_dependencies(writing, archives)
    rows: Any = writing.own["dependencies"]
    for index in reversed(range(len(rows))):
        if rows[index]["name"] not in asked:
            say(f"{rows[index]['name']}: dropped: this version does not ask for it")
            del rows[index]
    known |= {row["name"] for row in rows}
    for row in rows:
        _write_dependency(writing, row, asked[row["name"]], archives[row["name"]])
    for name in (each for each in archives if each in asked.keys() - known):
        say(f"{name}: new: this version asks for it")
        new: dict[str, Any] = {"name": name, "origins": []}
        _write_dependency(writing, new, asked[name], archives[name])
        rows.append(tomlkit.item(new))


def _shared_dependencies(writing: Writing, archives: Mapping[str, Archive]) -> set[str]:
    """Return the dependencies of included files that hold; those of the others become own ones."""
    held = set[str]()
    for name, part in list(writing.shared.items()):
        rows = part.get("dependencies", [])
        pins = [(each["name"], origin.get("sha1")) for each in rows for origin in each["origins"]]
        wanted = {each["name"]: archives.get(each["name"]) for each in rows}
        if all(each and (name, each.sha1) in pins for name, each in wanted.items()):
            held |= wanted.keys()
        else:
            writing.leave_out(name)
            for row in rows:
                writing.own["dependencies"].append(tomlkit.item(row))
    return held


def _write_dependency(writing: Writing, row: Any, asked: Asked, archive: Archive) -> None:
    name, say = row["name"], writing.say
    origin, fetched = _obtain(writing, name, archive, row["origins"])
    same = next((each for each in row["origins"] if each.get("url") == origin["url"]), None)
    if same is None:
        ref = match[1] if (match := _REF.search(archive.url)) else ""
        version = ref[:8] if _COMMIT.fullmatch(ref) else re.sub(r"^[A-Za-z_-]+", "", ref)
        if row["origins"]:
            say(f"{name}: {row.get('version')} -> {version}; its registries' origins are dropped")
        row["version"], row["origins"] = version, tables([origin])
    else:
        if any(same.get(key) not in (None, origin[key]) for key in ("sha256", "sha1")):
            say(f"{name}: the same address, other bytes: sha256 {origin['sha256']}")
        same.update(origin | ({"size": fetched.size} if "size" in same else {}))
    tree = writing.scratch / name
    unpack(fetched.path, tree, strip_root=True)
    _write_licence(row, tree, say)
    if asked.content.lower() != name and row.get("content") != asked.content:
        row["content"] = asked.content
    every = build_pairs(writing.recipe)
    for side, key in enumerate(("hosts", "platforms")):
        all_of = {pair[side] for pair in every}
        needed = {pair[side] for pair in asked.pairs}
        if needed != all_of & set(row.get(key, all_of)):
            row[key] = [each for each in PLATFORMS if each in needed]
            say(f"{name}: {key}: {', '.join(row[key])}")
    _write_patches(writing, row, asked, tree, keep_own=same is not None)


def _obtain(
    writing: Writing, name: str, archive: Archive, before: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], Fetched]:
    """Fetch the archive that ``deps.txt`` names, or the same one from where the nearest has it."""
    stem = archive.url.rpartition("/")[2]
    ways = [ArchiveOrigin(kind="archive", url=archive.url, sha1=archive.sha1)]
    ways += [
        ArchiveOrigin(kind="archive", url=o["url"], sha256=o.get("sha256"), sha1=o.get("sha1"))
        for o in before
        if o["kind"] == "archive" and o["url"].endswith(f"/{stem}") and o["url"] != archive.url
    ]
    wanted = Wanted(name=name, role="dependency", choice="auto", origins=tuple(ways))
    first: BuildError | None = None
    for way in ways:
        try:
            fetched = obtain(wanted, way, writing.context)
        except (FetchError, IntegrityError) as error:
            first = first or error
            continue
        if first:
            writing.say(f"{name}: taken from {way.url}, because of: {first.problem}")
        sha1 = {"sha1": way.sha1} if way.sha1 else {}
        origin = {"kind": "archive", "url": way.url, "sha256": fetched.sha256, **sha1}
        return origin, fetched
    raise first or FetchError(f"{name}: no address is known")


def _write_licence(row: Any, tree: Path, say: Say) -> None:
    """Name the licence files: those of the nearest recipe where they are there, else all."""
    named = row.get("licence_files", ())
    if not named or any(not (tree / file).is_file() for file in named):
        files = [f for f in sorted(tree.iterdir()) if f.is_file() and _LICENCE.match(f.name)]
        files += sorted((tree / "LICENSES").glob("*.txt"))  # REUSE 3.0
        found = [file.relative_to(tree).as_posix() for file in files]
        if found != list(named):
            say(f"{row['name']}: licence files: {', '.join(found) or 'none'}")
        row["licence_files"] = found
    if "licence" not in row:
        row["licence"] = "NOASSERTION"
        say(f"{row['name']}: read its licence and write it down: NOASSERTION stands for it")


def _write_patches(writing: Writing, row: Any, asked: Asked, tree: Path, *, keep_own: bool) -> None:
    """List the patches that CMake applies, and ours where the library is the same."""
    name, say = row["name"], writing.say
    before = {each["file"]: dict(each) for each in row.get("patches", ())}
    patches = [each for each in before.values() if keep_own and not each.get("upstream")]
    for file, pairs in asked.patches.items():
        patches.append(before.get(file, {"file": file, "upstream": True}))
        if pairs != asked.pairs:
            targets = ", ".join(sorted({target for _, target in pairs}))
            say(f"{name}: upstream applies {file} for {targets} alone")
        try:
            apply_patch(writing.tree / file, tree, lenient=True)
        except SourceError as error:
            say(f"{name}: {error.problem}")
    listed = [each["file"] for each in patches]
    for word, files in (("new", [f for f in listed if f not in before]),
                        ("dropped", [f for f in before if f not in listed])):  # fmt: skip
        if files:
            say(f"{name}: patches: {word}: {', '.join(files)}")
    if listed != list(before):
        array = tomlkit.array()
        for each in patches:
            table = tomlkit.inline_table()
            table.update(each)
            array.append(table)
        row["patches"] = array
