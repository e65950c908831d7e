"""Write the recipe of another version: what its tag says, in the form of the nearest recipe."""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomlkit
from packaging.version import Version
from pydantic import TypeAdapter

from ..errors import FetchError, SourceError
from ..fetch.context import FetchContext
from ..fetch.fetched import Fetched
from ..fetch.inputs import deliver
from ..fetch.origins.git import tagged_commit
from ..fetch.wanted import Wanted
from ..recipe.format import GitOrigin, Platform
from ..recipe.include import read_merged
from ..recipe.load import load_recipe
from ..tree.patch import apply_patch
from ..tree.unpack import unpack
from .dependencies import write_dependencies
from .document import Say, Writing, lines, table_at, tables
from .official import Official, read_official
from .tree import read_tree


def new_recipe(version: str, like: Path, context: FetchContext, say: Say) -> str:
    """Return a recipe for another version; every difference to the one that it is like is said.

    The commit, the day, the dependencies, their patches and hashes, and build.py's flags come
    from the tag; macOS's minimum and the official wheels from the Python index; how a build is
    made, the toolchain and each known library's licence from the nearest recipe. A registry's
    origin is kept where the library is the same release.

    Raises
    ------
    FetchError
        The tag, an archive or a wheel cannot be had.
    IntegrityError
        An archive's SHA-1 is not that of ``deps.txt``, and the nearest recipe knows no other way.
    SourceError
        The tree calls itself another version, or is not laid out as expected.
    """
    recipe = load_recipe(like, recipes=context.recipes_dir)
    merged, text = read_merged(like, context.recipes_dir), like.read_text(encoding="utf-8")
    origin = next((o for o in recipe.source.origins if isinstance(o, GitOrigin)), None)
    if origin is None:
        raise FetchError(
            f"{recipe.name} {recipe.version} names no git repository to look for v{version} in",
            hint="take another recipe with --like",
        )
    commit = tagged_commit(
        origin.url, f"v{version}", transfer=context.transfer, env=context.env, label="source"
    )
    git = GitOrigin(kind="git", url=origin.url, commit=commit, tag=f"v{version}")
    wanted = Wanted(
        name="onnxruntime", version=version, role="source", choice="auto", origins=(git,)
    )
    source = deliver(wanted, context)
    with _unpacked(source, context) as tree, tempfile.TemporaryDirectory(dir=tree.parent) as other:
        writing = Writing(
            recipe=recipe,
            context=context,
            say=say,
            own=tomlkit.parse(text),
            tree=tree,
            facts=read_tree(tree),
            scratch=Path(other),
            shared={name: dict(part) for name, part in merged.parts if name},
        )
        if writing.facts.version != version:
            raise SourceError(
                f"the tree of tag v{version} calls itself {writing.facts.version}",
                hint="check the version; a release candidate is no release",
            )
        _write_source(writing, git, source.path)
        _write_flags(writing)
        write_dependencies(writing)
        _write_official(writing, version)
    head = f"# ONNX Runtime {version}, written by `python -m build recipe new` from its tag.\n"
    text = re.sub(r"\A(#.*\n)*", head, tomlkit.dumps(writing.own))
    return re.sub(r"(?m)^([^#\n].*\n)(?=\[)", r"\1\n", text)


@contextmanager
def _unpacked(fetched: Fetched, context: FetchContext) -> Iterator[Path]:
    folder = context.cache.scratch_folder()
    try:
        unpack(fetched.path, folder / "tree", strip_root=True)
        yield folder / "tree"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_source(writing: Writing, git: GitOrigin, archive: Path) -> None:
    own, recipe, say = writing.own, writing.recipe, writing.say
    version = writing.facts.version
    with tarfile.open(archive) as tar:
        day = datetime.fromtimestamp(max(member.mtime for member in tar), UTC).date().isoformat()
    say(f"source: {recipe.version} -> {version}, commit {git.commit}, {day}")
    own["version"] = version
    own["summary"] = f"ONNX Runtime {version}, written from its tag (never built)"
    source: Any = own["source"]
    source["commit"], source["date"] = git.commit, day
    source["origins"] = tables(
        [{"kind": "git", "url": git.url, "commit": git.commit, "tag": git.tag}]
    )
    kept = []
    for patch in recipe.source.patches:
        try:
            file = writing.context.recipes_dir / "patches" / patch.file
            apply_patch(file, writing.tree, sha256=patch.sha256)
            kept.append({"file": patch.file, "sha256": patch.sha256})
        except SourceError as error:
            say(f"source: a patch of ours is dropped: {error.problem}")
    source["patches"] = tables(kept)
    if not kept:
        source.pop("patches")
    # What they replace is in the tree of a tag.
    own.pop("data", None)


def _write_flags(writing: Writing) -> None:
    """Drop the arguments that build.py does not know, switch telemetry off, name news."""
    own, say, facts = writing.own, writing.say, writing.facts
    recipe, known = writing.recipe, frozenset(facts.flags)
    args = _known_args(recipe.build_args, known, say)
    if "--no_telemetry" in known and "--no_telemetry" not in args:
        args.append("--no_telemetry")
        say("build_args: --no_telemetry, which this version sends unless told")
    writing.args += args
    if args != list(recipe.build_args):
        own["build_args"] = lines(args)
    for name, platform in recipe.platforms.items():
        words = _known_args(platform.build_args, known, say)
        writing.args += words
        if words != list(platform.build_args):
            table_at(own, "platforms", name)["build_args"] = words
    if facts.cmake_minimum and facts.cmake_minimum != recipe.tools.cmake_minimum:
        say(f"tools.cmake_minimum: {recipe.tools.cmake_minimum} -> {facts.cmake_minimum}")
        table_at(own, "tools")["cmake_minimum"] = facts.cmake_minimum
        if Version(recipe.tools.cmake) < Version(facts.cmake_minimum):
            say(f"tools.cmake: {recipe.tools.cmake} is too old; lock another one")
    script = recipe.build_script
    if script is None or (script.path, script.flags) != (facts.script, facts.flags):
        for file in [file for file, part in writing.shared.items() if "build_script" in part]:
            writing.leave_out(file)
        own["build_script"] = {"path": facts.script, "flags": lines(facts.flags)}
        before = frozenset(script.flags if script else ())
        for word, flags in (("new", known - before), ("gone", before - known)):
            if flags:
                say(f"build.py: {word}: {', '.join(sorted(flags))}")


def _known_args(words: Sequence[str], known: frozenset[str], say: Say) -> list[str]:
    kept, dropped = list[str](), False
    for word in words:
        if word.startswith("--"):
            dropped = word.partition("=")[0] not in known
            if dropped:
                say(f"build_args: {word} is dropped: this version's build.py does not know it")
        if not dropped:
            kept.append(word)
    return kept


def _write_official(writing: Writing, version: str) -> None:
    own, recipe, say = writing.own, writing.recipe, writing.say
    pins = [p.official for p in recipe.platforms.values() if p.official]
    match = re.search(r"-(cp\d+)-", pins[0].file) if pins else None
    official: Official = read_official(
        recipe.name,
        version,
        list(recipe.platforms),
        interpreter=match[1] if match else "cp311",
        context=writing.context,
    )
    pythons = [name.replace("cp3", "3.") for name in official.pythons]
    if not pythons:
        say(f"python: no official wheel tells; left as {recipe.version} has it")
    elif pythons != list(recipe.python):
        say(f"python: {', '.join(recipe.python)} -> {', '.join(pythons)}")
        own["python"] = pythons
    for name, platform in recipe.platforms.items():
        table = table_at(own, "platforms", name)
        pin = official.wheels.get(name)
        if pin and pin != platform.official:
            table["official"] = {
                key: getattr(pin, key)
                for key in ("kind", "project", "release", "file", "size", "sha256")
            }
        elif not pin and table.pop("official", None) is not None:
            say(f"{name}: there is no official wheel of {version} to compare with")
        old, minimum = platform.minimum_os, official.minimum_os
        if old and not minimum:
            say(f"{name}: minimum_os stays {old}: no official wheel tells another")
        elif old and old != minimum:
            say(f"{name}: minimum_os: {old} -> {minimum}")
            data = TypeAdapter(Platform).dump_python(platform, mode="json", exclude_defaults=True)
            _replaced(table, data, old, minimum)


def _replaced(own: Any, data: Mapping[str, Any], old: str, new: str) -> None:
    """Write a platform's values that name a system's version again, with another version."""
    pattern = re.compile(rf"(?<![\d.]){re.escape(old)}(?![\d.])")
    for key, value in data.items():
        if key in ("official", "compiler_minimum"):
            continue
        if isinstance(value, dict):
            if pattern.search(str(value)):
                _replaced(table_at(own, key), value, old, new)
        elif isinstance(value, str) and pattern.search(value):
            own[key] = pattern.sub(new, value)
        elif isinstance(value, list | tuple) and pattern.search(str(value)):
            own[key] = [pattern.sub(new, each) for each in value]
