"""Read recipes strictly: every fault at once, each with its path and, for a typo, the right key."""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from build.errors import RecipeError
from build.recipe import ModelRecipe, Recipe

_Loaded = TypeVar("_Loaded", Recipe, ModelRecipe)


def load_recipe(path: Path) -> Recipe:
    """Load a build recipe.

    Raises
    ------
    RecipeError
        The file cannot be read, is no TOML, or does not fit the format; every fault is named.
    """
    recipe = _load(path, Recipe)
    faults = _contradictions(recipe)
    if faults:
        raise _refused(path, faults)
    return recipe


def load_model_recipe(path: Path) -> ModelRecipe:
    """Load a model recipe; raises as :func:`load_recipe` does."""
    recipe = _load(path, ModelRecipe)
    names = {file.name for file in recipe.files}
    faults = [
        f"origins.{index}.paths: names {', '.join(sorted(set(origin.paths)))}, "
        f"but the files are {', '.join(sorted(names))}"
        for index, origin in enumerate(recipe.origins)
        if set(origin.paths) != names
    ]
    if faults:
        raise _refused(path, faults)
    return recipe


def _load(path: Path, kind: type[_Loaded]) -> _Loaded:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(
            f"cannot read the recipe {path}: {error.strerror or error}",
            hint="list the recipes with `python -m build recipes`",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"{path} is no valid TOML: {error}", hint="mend the line that the message names"
        ) from error
    try:
        # Through JSON, because a strict tuple refuses TOML's lists but takes JSON's.
        return TypeAdapter(kind).validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        raise _refused(path, [_fault(kind, detail) for detail in error.errors()]) from error


def _refused(path: Path, faults: list[str]) -> RecipeError:
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return RecipeError(
        f"{path} has {count}:\n" + "\n".join(f"  - {fault}" for fault in faults),
        hint="docs/recipe.md explains every key",
    )


def _fault(kind: type[Any], detail: ErrorDetails) -> str:
    location = [part for part in detail["loc"] if part != "[key]"]
    where = _shown(location)
    if detail["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        key = str(location[-1])
        known = _keys_at(kind, location[:-1])
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        advice = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(known)}"
        return f"{where}: unknown key; {advice}"
    if detail["type"] in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return f"{where}: this key is missing"
    given = detail.get("input")
    shown = f" (it is {given!r})" if isinstance(given, str | int | float | bool) else ""
    return f"{where}: {detail['msg'][:1].lower()}{detail['msg'][1:]}{shown}"


_KINDS = frozenset({"git", "archive", "debian", "pypi", "overlay", "hub"})


def _shown(location: list[Any]) -> str:
    # pydantic names the member of a tagged union by its tag, which is no key of the file.
    parts: list[str] = []
    for index, part in enumerate(location):
        follows_number = index > 0 and isinstance(location[index - 1], int)
        if part in _KINDS and follows_number:
            continue
        parts.append(str(part))
    return ".".join(parts) or "the file"


def _keys_at(kind: Any, location: list[Any]) -> list[str]:
    classes = [kind]
    for part in location:
        classes = [found for each in classes for found in _step(each, part)]
    keys: set[str] = set()
    for each in classes:
        if dataclasses.is_dataclass(each):
            keys.update(field.name for field in dataclasses.fields(each))
    return sorted(keys)


def _step(kind: Any, part: Any) -> list[Any]:
    if isinstance(part, int):
        return [kind]
    if part in _KINDS:
        return [each for each in _leaves(kind) if _tag(each) == part] or [kind]
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return _leaves(hints[part]) if part in hints else []
    return [kind]


def _tag(kind: Any) -> str:
    hint = typing.get_type_hints(kind).get("kind") if dataclasses.is_dataclass(kind) else None
    values = typing.get_args(hint)
    return str(values[0]) if values else ""


def _leaves(hint: Any) -> list[Any]:
    if dataclasses.is_dataclass(hint):
        return [hint]
    if typing.get_origin(hint) is types.UnionType or typing.get_args(hint):
        return [leaf for inner in typing.get_args(hint) for leaf in _leaves(inner)]
    return []


def _contradictions(recipe: Recipe) -> list[str]:
    faults: list[str] = []
    seen: dict[str, int] = {}
    for index, dependency in enumerate(recipe.dependencies):
        where = f"dependencies.{index}"
        if dependency.name in seen:
            faults.append(
                f"{where}.name: `{dependency.name}` stands twice, "
                f"first as dependencies.{seen[dependency.name]}"
            )
        seen.setdefault(dependency.name, index)
        for number, origin in enumerate(dependency.origins):
            if origin.kind == "archive" and origin.sha256 is None and origin.sha1 is None:
                faults.append(f"{where}.origins.{number}: an archive needs sha256, or at least sha1")
        faults += _patch_faults(where, dependency.patches)
    if recipe.dependencies_by_cmake == bool(recipe.dependencies):
        faults.append(
            "dependencies: list them, or set dependencies_by_cmake = true, and not both"
        )
    faults += _patch_faults("source", recipe.source.patches)
    for number, origin in enumerate(recipe.source.origins):
        if origin.kind == "git" and origin.commit != recipe.source.commit:
            faults.append(
                f"source.origins.{number}.commit: differs from source.commit {recipe.source.commit}"
            )
    return faults


def _patch_faults(where: str, patches: tuple[Any, ...]) -> list[str]:
    return [
        f"{where}.patches.{index}: {text}"
        for index, patch in enumerate(patches)
        for text in (
            ["a patch of our own needs sha256"] if not patch.upstream and not patch.sha256 else []
        )
        + (["a patch of the source tree is pinned with it, drop sha256"]
           if patch.upstream and patch.sha256 else [])
    ]
