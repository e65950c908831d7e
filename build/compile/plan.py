"""The exact commands of a build, worked out from a recipe and a platform; nothing is run here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..recipe.cross import cross_of
from ..recipe.format import DefineValue, PlatformName, Recipe, digest
from ..recipe.version import local_version, source_date_epoch
from ..request import Request
from ..system.environment import network_settings
from ..toolchain.compiler import parallel_jobs
from ..toolchain.cross import cross_defines, packing_environment
from ..toolchain.programs import Programs
from ..tree.workspace import Tree

CONFIGURATION = "Release"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command: what it is for, its arguments and its whole environment."""

    stage: str
    argv: tuple[str, ...]
    env: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """Everything that will be run, and with what."""

    version: str
    platform: PlatformName
    recipe_digest: str
    build_args: tuple[str, ...]
    defines: Mapping[str, DefineValue]
    top_level_include: str
    steps: tuple[Step, ...]

    def step(self, stage: str) -> Step:
        """Return the command of a stage: ``configure``, ``compile`` or ``wheel``."""
        return next(step for step in self.steps if step.stage == stage)


def top_level_include(tree: Tree) -> str:
    """Return the CMake file that every project of the build includes first.

    It maps the tree's path out of everything the compiler writes, so that no path of the machine
    that built a wheel is found in it. An include and not ``CMAKE_CXX_FLAGS``: upstream's script
    sets those, and ``get_build_info()`` prints them.
    """
    return f"add_compile_options(-ffile-prefix-map={tree.root.as_posix()}/=/ortmill/)\n"


def cmake_defines(
    recipe: Recipe,
    platform: PlatformName,
    tree: Tree,
    programs: Programs,
    *,
    chosen: Mapping[str, str],
) -> dict[str, DefineValue]:
    """Return CMake's cache entries.

    ``chosen`` has the kind of origin of each dependency that will be compiled in; one that is
    missing there adds its ``fallback_defines``.
    """
    defines: dict[str, DefineValue] = {}
    defines.update(recipe.defines)
    defines.update(recipe.platforms[platform].defines)
    defines["ORTMILL_SOURCE_COMMIT"] = recipe.source.commit
    defines["ORTMILL_VERSION"] = local_version(recipe.version, digest(recipe))
    defines["CMAKE_PROJECT_TOP_LEVEL_INCLUDES"] = (tree.root / "top_level.cmake").as_posix()
    if programs.cross:
        defines.update(cross_defines(cross_of(recipe, platform), programs.cross))
    defines["CMAKE_C_COMPILER"] = programs.c.as_posix()
    defines["CMAKE_CXX_COMPILER"] = programs.cxx.as_posix()
    if programs.launcher:
        defines["CMAKE_C_COMPILER_LAUNCHER"] = programs.launcher.as_posix()
        defines["CMAKE_CXX_COMPILER_LAUNCHER"] = programs.launcher.as_posix()
    for dependency in recipe.dependencies:
        if platform not in dependency.platforms or (
            dependency.name not in chosen and not dependency.fallback_defines
        ):
            continue
        if dependency.name not in chosen:
            defines.update(dependency.fallback_defines)
            continue
        content = dependency.content or dependency.name
        place = tree.deps / dependency.name
        if dependency.package_dir and chosen[dependency.name] == "pypi":
            defines[f"{content}_DIR"] = (place / dependency.package_dir).as_posix()
        else:
            # Wins over find_package() as well, so no library of the machine is taken by mistake.
            defines[f"FETCHCONTENT_SOURCE_DIR_{content.upper()}"] = place.as_posix()
    return defines


def define_argument(name: str, value: DefineValue) -> str:
    """Return ``name=value`` as upstream's script takes it."""
    if isinstance(value, bool):
        value = "ON" if value else "OFF"
    return f"{name}={value}"


def build_environment(
    request: Request,
    programs: Programs,
    *,
    home: str,
    cache_socket: str,
    network: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the whole environment of a build command: nothing of the caller's leaks in.

    ``network`` is the caller's environment: proxies and certificates are taken from it where CMake
    itself fetches the dependencies, and only there.
    """
    recipe, compiler_cache = request.recipe, request.workspace.compiler_cache
    environment = {
        # The cache may be below somebody's repository, whose commit nothing must pick up.
        "GIT_CEILING_DIRECTORIES": str(compiler_cache.parent),
        "HOME": home,
        "LC_ALL": "C",
        "PATH": ":".join(programs.path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "SCCACHE_DIR": str(compiler_cache),
        "SCCACHE_CACHE_SIZE": "10G",
        "SCCACHE_SERVER_UDS": cache_socket,
        "SOURCE_DATE_EPOCH": str(source_date_epoch(recipe)),
        "ZERO_AR_DATE": "1",
    }
    environment.update(recipe.platforms[request.platform].environment)
    environment.update(programs.variables)
    if recipe.dependencies_by_cmake:
        environment.update(network_settings(network or {}))
    return environment


def make_plan(
    request: Request,
    tree: Tree,
    programs: Programs,
    chosen: Mapping[str, str],
    *,
    env: Mapping[str, str],
    as_root: bool = False,
) -> BuildPlan:
    """Return the commands that configure, compile and pack a wheel.

    All three are upstream's own ``tools/ci_build/build.py`` with the same arguments; only the
    phase differs, so that a phase can be repeated alone. ``chosen`` is as for
    :func:`cmake_defines`, ``env`` the whole environment of the commands; upstream's script must
    know whether they run ``as_root``.
    """
    recipe, platform = request.recipe, request.platform
    defines = cmake_defines(recipe, platform, tree, programs, chosen=chosen)
    target_args, packing = recipe.platforms[platform].build_args, env
    if programs.cross:
        cross = cross_of(recipe, platform)
        target_args = cross.target.build_args
        packing = packing_environment(cross, programs.cross, env)
    generator = ("--cmake_generator", "Ninja")
    arguments = [
        *("--build_dir", str(tree.build)),
        *("--cmake_path", str(programs.cmake)),
        *("--ctest_path", str(programs.ctest)),
        *generator,
        *("--parallel", str(request.jobs or parallel_jobs())),
        *recipe.build_args,
        *target_args,
        *(["--allow_running_as_root"] if as_root else []),
    ]
    extra = ["--cmake_extra_defines", *(define_argument(*pair) for pair in defines.items())]
    script = str(tree.source / "tools" / "ci_build" / "build.py")

    def step(stage: str, *phase: str) -> Step:
        argv = (str(programs.python), script, *arguments, *phase, *extra)
        return Step(stage=stage, argv=argv, env=packing if stage == "wheel" else env)

    return BuildPlan(
        version=local_version(recipe.version, digest(recipe)),
        platform=platform,
        recipe_digest=digest(recipe),
        # What the manifest shows: nothing that names a place on this machine.
        build_args=(*generator, *recipe.build_args, *target_args),
        defines=defines,
        top_level_include=top_level_include(tree),
        steps=(
            step("configure", "--update"),
            step("compile", "--build"),
            step("wheel", "--build", "--build_wheel"),
        ),
    )
