"""Where everything is: the checkout, the cache, and the tree that is compiled."""

from __future__ import annotations

import platform as host
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import ResourceError, UsageError
from ..fetch.cache import default_cache_root
from ..program import recipes_folder
from ..recipe.format import PLATFORMS, PlatformName, Recipe

_MACHINES = {
    ("linux", "x86_64"): "linux-x86_64",
    ("linux", "aarch64"): "linux-aarch64",
    ("darwin", "arm64"): "macos-arm64",
}


@dataclass(frozen=True, kw_only=True)
class Tree:
    """One source tree and what is compiled from it.

    Its path holds the name, the version and the platform, and nothing that changes with the
    recipe: compiler caches know a file by its path, so a stable path keeps them warm. It is
    in the cache and not in the checkout, outside any git repository.
    """

    root: Path

    @property
    def source(self) -> Path:
        """ONNX Runtime's own tree."""
        return self.root / "source"

    @property
    def deps(self) -> Path:
        """One folder for each dependency."""
        return self.root / "deps"

    @property
    def licences(self) -> Path:
        """Licence files as they were unpacked, one folder for each input."""
        return self.root / "licences"

    @property
    def build(self) -> Path:
        """CMake's build tree; upstream's script adds the configuration's name."""
        return self.root / "build"

    @property
    def toolchain(self) -> Path:
        """Wrappers and CMake files of a cross build."""
        return self.root / "toolchain"

    @property
    def records(self) -> Path:
        """What the stages left behind, as JSON."""
        return self.root / "records"

    @property
    def running(self) -> Path:
        """What names the running program, for the build that comes after a killed one."""
        return self.root / "running.json"

    @property
    def lock(self) -> Path:
        """The file that one build at a time holds."""
        return self.root.with_name(self.root.name + ".lock")


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Recipes, a working folder and a cache.

    ``root`` is the folder of wheels and ``.work``: the checkout, or the current folder elsewhere.
    ``variant`` is a platform that this machine is not: its artefacts and logs have folders of
    their own.
    """

    root: Path
    cache: Path
    recipes: Path
    variant: str = ""

    @property
    def wheels(self) -> Path:
        """Where a build's artefacts go."""
        return self.root / "wheels" / self.variant

    @property
    def logs(self) -> Path:
        """Whole output of every program that a stage ran."""
        return self.root / ".work" / "logs" / self.variant

    @property
    def models(self) -> Path:
        """Verified model files."""
        return self.root / ".work" / "models"

    @property
    def compiler_cache(self) -> Path:
        """The compiler cache's folder."""
        return self.cache / "sccache"

    def tools(self, lock_sha256: str) -> Path:
        """Return the virtual environment of the build's own tools."""
        tag = f"py{sys.version_info.major}.{sys.version_info.minor}"
        return self.cache / "tools" / f"{lock_sha256[:16]}-{tag}"

    def toolchain(self, pins_digest: str) -> Path:
        """Return the folder of an unpacked cross toolchain, by the digest of its pins."""
        return self.cache / "toolchains" / pins_digest[:16]

    def tree(self, recipe: Recipe, platform: PlatformName) -> Tree:
        """Return the tree of a recipe and a platform."""
        return Tree(root=self.cache / "trees" / f"{recipe.name}-{recipe.version}-{platform}")


def open_workspace(root: Path, env: Mapping[str, str]) -> Workspace:
    """Return the workspace of a checkout, or of the folder that an installed ortmill works in.

    Raises
    ------
    ResourceError
        The cache's path holds a character that the compilers' command lines cannot carry.
    """
    cache = default_cache_root(env).resolve()
    if any(character in str(cache) for character in " ;\"'$`\\\n"):
        raise ResourceError(
            f"the cache folder {cache} has a space or a quote in its path, "
            "which upstream's build scripts cannot take",
            hint="set ORTMILL_CACHE to a folder without one; "
            "the checkout itself may stand anywhere",
        )
    return Workspace(root=root.resolve(), cache=cache, recipes=recipes_folder(root.resolve()))


def host_platform() -> PlatformName:
    """Return the platform that this machine is.

    Raises
    ------
    UsageError
        ortmill knows no such platform.
    """
    key = (sys.platform, host.machine())
    if key not in _MACHINES:
        raise UsageError(
            f"ortmill has no platform for {key[0]} on {key[1]}",
            hint=f"build on one of {', '.join(PLATFORMS)}",
        )
    name = _MACHINES[key]
    return next(each for each in PLATFORMS if each == name)
