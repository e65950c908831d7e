"""``python -m build recipe new`` and ``recipe pins``."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from packaging.version import Version

from ..commands import Call, recipe_file
from ..errors import FetchError, IntegrityError, RecipeError, UsageError
from ..fetch.cache import ContentCache
from ..recipe.format import Recipe
from ..recipe.load import load_recipe
from ..request import fetch_context
from ..tree.workspace import Workspace
from .check import Broken, broken_pins
from .new import new_recipe


def add_verbs(verbs: Any, common: argparse.ArgumentParser) -> None:
    """Add the verbs to the parser of ``recipe``."""
    new = verbs.add_parser(
        "new", parents=[common], help="write the recipe of another version from its tag"
    )
    new.add_argument("version", help="such as 1.32.0")
    new.add_argument("--like", metavar="RECIPE", help="write it after this one, not the nearest")
    new.add_argument("--output", type=Path, metavar="FILE", help="where to write it")
    new.set_defaults(do=write_new)
    pins = verbs.add_parser(
        "pins", parents=[common], help="ask for everything that is pinned, and say what is not so"
    )
    pins.add_argument("file", nargs="*", metavar="RECIPE", help="default: all recipes")
    pins.add_argument(
        "--origin",
        choices=("auto", "upstream", "registry"),
        default="auto",
        help="which origins of the sources to ask (default: all)",
    )
    pins.set_defaults(do=check_pins)


def write_new(call: Call) -> None:
    """Write a recipe; UsageError where a file is in the way, else as :func:`new_recipe`."""
    arguments, workspace, reporter = call.arguments, call.workspace, call.reporter
    version = arguments.version.removeprefix("v")
    try:
        like = _like(arguments.like, Version(version), workspace)
    except ValueError as error:
        raise UsageError(f"{version!r} is no version", hint="give one such as 1.32.0") from error
    target = arguments.output or workspace.recipes / f"onnxruntime-{version}.toml"
    if target.exists():
        raise UsageError(
            f"{target} is there already", hint="name another file with --output, or remove it"
        )
    context = fetch_context(workspace, call.env, reporter, choice="auto", offline=False)
    with reporter.stage("new", f"{version}, after {like.name}"):
        text = new_recipe(version, like, context, reporter.say)
        target.write_text(text, encoding="utf-8")
        load_recipe(target, recipes=workspace.recipes)
    reporter.finish(f"written: {target}; every line above differs from {like.name}")


def _like(name: str | None, version: Version, workspace: Workspace) -> Path:
    files = [recipe_file(workspace, name)] if name else sorted(workspace.recipes.glob("*.toml"))
    recipes = [(file, load_recipe(file, recipes=workspace.recipes)) for file in files]
    listing = [(file, recipe) for file, recipe in recipes if recipe.dependencies]
    if not listing:
        raise RecipeError(
            f"{name or 'no recipe'} lists dependencies to write others after",
            hint="take a recipe without dependencies_by_cmake",
        )

    def distance(each: tuple[Path, Recipe]) -> tuple[int, ...]:
        other = Version(each[1].version)
        return tuple(abs(a - b) for a, b in zip(version.release, other.release, strict=False))

    return min(listing, key=distance)[0]


def check_pins(call: Call) -> None:
    """Say which pins do not hold.

    Raises
    ------
    IntegrityError
        A pin does not hold any more.
    FetchError
        All that could be asked hold, and not all could be asked.
    """
    arguments, workspace, reporter = call.arguments, call.workspace, call.reporter
    known = sorted(workspace.recipes.glob("*.toml"))
    files = [recipe_file(workspace, name) for name in arguments.file] or known
    asked, broken = 0, list[Broken]()
    folder = ContentCache(workspace.cache).scratch_folder()
    context = fetch_context(
        replace(workspace, cache=folder), call.env, reporter, choice="auto", offline=False
    )
    try:
        for file in files:
            recipe = load_recipe(file, recipes=workspace.recipes)
            with reporter.stage("pins", file.name):
                count, found = broken_pins(recipe, arguments.origin, context)
                asked, broken = asked + count, broken + found
                if recipe.dependencies_by_cmake:
                    reporter.say(f"{file.name} leaves its dependencies to CMake: not asked for")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    lines = "".join(f"\n  - {b.how}: {b.name}: {b.locator}\n    {b.problem}" for b in broken)
    lost = sum(each.how != "not asked" for each in broken)
    if lost:
        raise IntegrityError(
            f"{lost} of {asked} pins no longer hold:{lines}",
            hint="find out what upstream changed before a recipe is changed",
        )
    if broken:
        raise FetchError(
            f"{len(broken)} of {asked} pins could not be asked for:{lines}",
            hint="check the network and the mirrors, and run it again",
        )
    reporter.finish(f"{asked} pins hold")
