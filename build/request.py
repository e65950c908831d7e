"""What is asked to be built, with which compiler, and its inputs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import FetchError, ToolchainError
from .fetch.cache import ContentCache
from .fetch.context import FetchContext
from .fetch.fetched import Fetched
from .fetch.inputs import deliver, fetch_all
from .fetch.wanted import Choice, Wanted, plan_fetch
from .recipe.cross import CrossBuild, find_cross, pins_digest
from .recipe.format import PlatformName, PypiOrigin, Recipe
from .system.console import Reporter
from .toolchain.apple import find_apple_compiler
from .toolchain.compiler import Compiler, find_compiler
from .toolchain.cross import CrossPlaces, cross_compiler
from .tree.workspace import Tree, Workspace


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asked to build.

    ``recipe_file`` is the recipe's path below the checkout, for the manifest; ``jobs`` overrides
    the number of compilers at once; ``fresh`` lays out the tree anew. ``host`` is the machine's own
    platform, by default the one to build; ``sdk`` a macOS SDK to use in place of our declarations.
    """

    recipe: Recipe
    recipe_file: str
    platform: PlatformName
    workspace: Workspace
    env: Mapping[str, str]
    choice: Choice = "auto"
    offline: bool = False
    jobs: int | None = None
    fresh: bool = False
    host: PlatformName | None = None
    sdk: Path | None = None

    @property
    def cross(self) -> CrossBuild | None:
        """How the platform is built here, where it is not the machine's own."""
        return find_cross(self.recipe, self.platform, self.host or self.platform)

    def places(self, tree: Tree) -> CrossPlaces | None:
        """Return the folders of the cross toolchain, where there is one."""
        if not (cross := self.cross):
            return None
        return CrossPlaces(
            compiler=self.workspace.toolchain(pins_digest(cross, "cross-compiler")),
            linker=self.workspace.toolchain(pins_digest(cross, "cross-linker")),
            own=tree.toolchain,
            sdk=self.sdk,
        )


def the_compiler(request: Request, tree: Tree) -> Compiler:
    """Return the compiler of a build: the machine's own, or the recipe's cross compiler."""
    if (cross := request.cross) and (places := request.places(tree)):
        return cross_compiler(cross, places)
    platform = request.recipe.platforms[request.platform]
    find = find_apple_compiler if request.platform == "macos-arm64" else find_compiler
    return find(request.env, platform)


def check_python(recipe: Recipe, running: tuple[int, int]) -> None:
    """Refuse a Python that the recipe's version cannot be built for.

    Raises
    ------
    ToolchainError
        It is none of those that the recipe lists.
    """
    mine = ".".join(map(str, running))
    if not recipe.python or mine in recipe.python:
        return
    newest = recipe.python[-1]
    raise ToolchainError(
        f"ONNX Runtime {recipe.version} builds for Python {', '.join(recipe.python)}; "
        f"this is Python {mine}",
        hint=f"run the build with one of them: `python{newest} -m nox -s build`; a newer version "
        "of ONNX Runtime may know yours (`python -m build recipes`)",
    )


def fetch_inputs(request: Request, reporter: Reporter) -> list[tuple[Wanted, Fetched | None]]:
    """Bring every input into the cache.

    Raises
    ------
    ToolchainError
        This Python is none that the recipe lists: said before anything is fetched.
    FetchError, IntegrityError
        As :func:`build.fetch.inputs.fetch_all`.
    """
    check_python(request.recipe, sys.version_info[:2])
    if request.offline and request.recipe.dependencies_by_cmake:
        raise FetchError(
            f"{request.recipe_file} leaves its dependencies to CMake, which needs a network",
            hint="build it without --offline, or list its dependencies in the recipe",
        )
    context = _context(request, reporter)
    items = plan_fetch(
        request.recipe, request.platform, request.choice, host=request.host, cross=request.cross
    )
    return list(zip(items, fetch_all(items, context), strict=True))


def fetch_official(request: Request, origin: PypiOrigin, reporter: Reporter) -> Fetched:
    """Bring the published wheel that ours is compared with into the cache."""
    item = Wanted(
        name="official wheel",
        version=origin.release,
        role="data",
        choice=request.choice,
        origins=(origin,),
    )
    return deliver(item, _context(request, reporter))


def fetch_context(
    workspace: Workspace,
    env: Mapping[str, str],
    reporter: Reporter,
    *,
    choice: Choice,
    offline: bool,
) -> FetchContext:
    """Return what every fetch of a workspace goes by."""
    return FetchContext(
        cache=ContentCache(workspace.cache),
        recipes_dir=workspace.recipes,
        env=env,
        progress=reporter,
        choice=choice,
        offline=offline,
    )


def _context(request: Request, reporter: Reporter) -> FetchContext:
    return fetch_context(
        request.workspace, request.env, reporter, choice=request.choice, offline=request.offline
    )
