"""Read recipes strictly: every fault at once, each with its path and, for a typo, the right key."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from ..errors import RecipeError
from .build_flags import argument_faults
from .format import (
    GitUrl,
    HttpsUrl,
    HubOrigin,
    Identifier,
    ModelRecipe,
    PackagedModelOrigin,
    Recipe,
    RelativePath,
    Release,
    Sha1,
    Sha256,
    SplitModelOrigin,
)
from .include import Merged, read_merged, read_toml
from .words import meant, nearest

_Loaded = TypeVar("_Loaded", Recipe, ModelRecipe)


def load_recipe(path: Path, *, recipes: Path | None = None) -> Recipe:
    """Load a build recipe with the files that it includes.

    They are below ``recipes``, by default the folder that ortmill comes with.

    Raises
    ------
    RecipeError
        A file cannot be read, is no TOML, or does not fit the format; every fault is named.
    """
    recipe = _load(path, Recipe, read_merged(path, recipes))
    faults = _contradictions(recipe)
    if faults:
        raise _refused(path, faults)
    return recipe


def load_model_recipe(path: Path) -> ModelRecipe:
    """Load a model recipe; raises as :func:`load_recipe` does."""
    data = read_toml(path)
    recipe = _load(path, ModelRecipe, Merged(data=data, parts=(("", data),)))
    names = {file.name for file in recipe.files}
    faults = [
        f"origins.{index}.paths: names {', '.join(sorted(set(origin.paths)))}, "
        f"but the files are {', '.join(sorted(names))}"
        for index, origin in enumerate(recipe.origins)
        if isinstance(origin, HubOrigin | PackagedModelOrigin | SplitModelOrigin)
        and set(origin.paths) != names
    ]
    if faults:
        raise _refused(path, faults)
    return recipe


def _load(path: Path, kind: type[_Loaded], merged: Merged) -> _Loaded:
    others = [*merged.faults, *_duplicates(merged.data)]
    try:
        # Through JSON, because a strict tuple refuses TOML's lists but takes JSON's.
        loaded = TypeAdapter(kind).validate_json(json.dumps(merged.data, default=str))
    except ValidationError as error:
        faults = [_fault(kind, detail, merged) for detail in _own_faults(error.errors())]
        raise _refused(path, faults + others) from error
    except ValueError as error:
        raise RecipeError(f"{path} cannot be understood: {error}") from error
    if others:
        raise _refused(path, others)
    return loaded


def _refused(path: Path, faults: list[str]) -> RecipeError:
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return RecipeError(
        f"{path} has {count}:\n" + "\n".join(f"  - {fault}" for fault in faults),
        hint="docs/recipe.md explains every key",
    )


def _own_faults(details: list[ErrorDetails]) -> list[ErrorDetails]:
    # A list whose one entry is wrong is "too short" for pydantic, which is no second fault.
    places = [detail["loc"] for detail in details]
    return [
        detail
        for detail in details
        if detail["type"] != "too_short"
        or not any(
            len(place) > len(detail["loc"]) and place[: len(detail["loc"])] == detail["loc"]
            for place in places
        )
    ]


def _fault(kind: type[Any], detail: ErrorDetails, merged: Merged) -> str:
    location = [part for part in detail["loc"] if part != "[key]"]
    shared = merged.file_of(location)
    return _described(kind, detail, location) + (f" (in {shared})" if shared else "")


def _described(kind: type[Any], detail: ErrorDetails, location: list[Any]) -> str:
    where = _shown(location)
    if detail["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        key = str(location[-1])
        return f"{where}: unknown key; {_advice(key, _keys_at(kind, location[:-1]), 'keys', '`')}"
    if detail["type"] in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return f"{where}: this key is missing"
    given, facts = detail.get("input"), detail.get("ctx", {})
    if detail["type"] == "union_tag_not_found":
        for key in given if isinstance(given, dict) else ():
            if nearest(key, [*_keys_at(kind, location), "kind"])[:1] == ["kind"]:
                return f"{where}.{key}: unknown key; did you mean `kind`?"
        return f"{where}.kind: this key is missing"
    if detail["type"] == "union_tag_invalid":
        known = re.findall(r"'([^']*)'", str(facts["expected_tags"]))
        tag = str(facts["tag"])
        return f"{where}.kind: unknown kind {tag!r}; {_advice(tag, known, 'kinds', chr(39))}"
    shown = f" (it is {given!r})" if isinstance(given, str | int | float | bool) else ""
    if detail["type"] == "string_pattern_mismatch" and facts.get("pattern") in _PHRASES:
        return f"{where}: {_PHRASES[facts['pattern']]}{shown}"
    if detail["type"] == "literal_error" and isinstance(given, str):
        known = re.findall(r"'([^']*)'", str(facts["expected"]))
        return f"{where}: unknown value {given!r}; {_advice(given, known, 'values', chr(39))}"
    return f"{where}: {detail['msg'][:1].lower()}{detail['msg'][1:]}{shown}"


def _pattern(kind: Any) -> str:
    return str(typing.get_args(kind)[1].pattern)


_PHRASES = {
    _pattern(Sha256): "64 lower-case hex digits expected",
    _pattern(Sha1): "40 lower-case hex digits expected",
    _pattern(Identifier): "letters, digits and `_.-` expected, a letter or a digit first",
    _pattern(RelativePath): "a relative path expected, with `/` and without `..`",
    _pattern(HttpsUrl): "an address like https://HOST/PATH expected",
    _pattern(GitUrl): "an address of a git repository expected",
    r"^\d{4}-\d{2}-\d{2}$": "a day like 2025-03-08 expected",
    _pattern(Release): "a version like 14.0.3 expected",
    r"^(\d+(\.\d+)*)?$": "a version like 13.3 expected",
    r"^\d+\.\d+\.\d+$": "a version like 1.21.0 expected",
    r"^3\.\d+$": "a version of Python like 3.11 expected",
}


def _advice(word: str, known: list[str], what: str, quote: str) -> str:
    return meant(word, known, quote) or f"known {what}: {', '.join(known)}"


_KINDS = frozenset(
    {"git", "archive", "debian", "pypi", "overlay", "hub", "derived", "local", "split"}
)


def _shown(location: list[Any]) -> str:
    # pydantic names the member of a tagged union by its tag, which is no key of the file.
    parts: list[str] = []
    for index, part in enumerate(location):
        follows_number = index > 0 and isinstance(location[index - 1], int)
        if part in _KINDS and follows_number:
            continue
        parts.append(str(part))
    return ".".join(parts) or "the file"


def _keys_at(kind: type[Any], location: list[Any]) -> list[str]:
    """Return the keys that the format knows at a place, as its JSON schema says."""
    schema = TypeAdapter(kind).json_schema()

    def resolved(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if reference := node.get("$ref"):
            yield from resolved(schema["$defs"][reference.rpartition("/")[2]])
        for alternative in node.get("anyOf", node.get("oneOf", ())):
            yield from resolved(alternative)
        if "$ref" not in node:
            yield node

    def inside(node: dict[str, Any], part: Any) -> Iterator[dict[str, Any]]:
        fields = node.get("properties", {})
        if isinstance(part, int):
            yield from resolved(node.get("items", {}))
        elif fields.get("kind", {}).get("const") == part:
            yield node
        elif inner := fields.get(part) or node.get("additionalProperties"):
            yield from resolved(inner)

    places = list(resolved(schema))
    for part in location:
        places = [found for place in places for found in inside(place, part)]
    return sorted({key for place in places for key in place.get("properties", {})})


def _duplicates(data: Mapping[str, Any]) -> list[str]:
    # Looked for in the file's own data, so that it is reported together with every other fault.
    faults: list[str] = []
    for table in ("dependencies", "files"):
        rows = data.get(table)
        first: dict[str, int] = {}
        for index, row in enumerate(rows if isinstance(rows, list) else ()):
            name = row.get("name") if isinstance(row, dict) else None
            if not isinstance(name, str):
                continue
            if name in first:
                faults.append(
                    f"{table}.{index}.name: `{name}` stands twice, first as {table}.{first[name]}"
                )
            first.setdefault(name, index)
    return faults


def _contradictions(recipe: Recipe) -> list[str]:
    faults: list[str] = []
    for index, dependency in enumerate(recipe.dependencies):
        where = f"dependencies.{index}"
        for number, origin in enumerate(dependency.origins):
            if origin.kind == "archive" and origin.sha256 is None and origin.sha1 is None:
                faults.append(
                    f"{where}.origins.{number}: an archive needs sha256, or at least sha1"
                )
        faults += _patch_faults(where, dependency.patches)
    if recipe.dependencies_by_cmake == bool(recipe.dependencies):
        faults.append("dependencies: list them, or set dependencies_by_cmake = true, and not both")
    faults += [
        f"platforms.{name}.cross: a cross build needs cross_tools"
        for name, platform in recipe.platforms.items()
        if platform.cross and not recipe.cross_tools
    ]
    faults += argument_faults(recipe)
    faults += _minimum_faults(recipe)
    faults += _patch_faults("source", recipe.source.patches)
    if not _is_day(recipe.source.date):
        faults.append(
            f"source.date: {recipe.source.date} is no day from 1980 to 2107, the years of a wheel"
        )
    for number, origin in enumerate(recipe.source.origins):
        if origin.kind == "git" and origin.commit != recipe.source.commit:
            faults.append(
                f"source.origins.{number}.commit: differs from source.commit {recipe.source.commit}"
            )
    return faults


def _minimum_faults(recipe: Recipe) -> list[str]:
    """Return where a platform's oldest macOS is not the one that the compiler is told."""
    faults = []
    for name, platform in recipe.platforms.items():
        oldest = platform.minimum_os
        told = {
            "defines.CMAKE_OSX_DEPLOYMENT_TARGET": platform.defines,
            "environment.MACOSX_DEPLOYMENT_TARGET": platform.environment,
        }
        for key, table in told.items():
            value = table.get(key.partition(".")[2])
            if value is not None and value != oldest:
                faults.append(f"platforms.{name}.{key}: {value} is not minimum_os {oldest}")
        if platform.cross and oldest and not platform.cross.triple.endswith(f"macosx{oldest}"):
            faults.append(
                f"platforms.{name}.cross.triple: {platform.cross.triple} is not for {oldest}"
            )
    return faults


def _is_day(text: str) -> bool:
    try:
        # The years that an entry of a zip archive can bear.
        return 1980 <= date.fromisoformat(text).year <= 2107
    except ValueError:
        return False


def _patch_faults(where: str, patches: tuple[Any, ...]) -> list[str]:
    files = [patch.file for patch in patches]
    twice = [
        f"{where}.patches.{index}.file: `{file}` stands twice, "
        f"first as {where}.patches.{files.index(file)}"
        for index, file in enumerate(files)
        if files.index(file) < index
    ]
    return twice + [
        f"{where}.patches.{index}: {text}"
        for index, patch in enumerate(patches)
        for text in (
            ["a patch of our own needs sha256"] if not patch.upstream and not patch.sha256 else []
        )
        + (
            ["a patch of the source tree is pinned with it, drop sha256"]
            if patch.upstream and patch.sha256
            else []
        )
    ]
