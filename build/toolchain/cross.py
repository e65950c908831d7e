"""The compiler, linker and CMake files that a cross build uses.

A compiler wrapper is two lines of shell: the pinned Clang with the flags of the recipe. CMake and
the compiler cache then see an ordinary Clang for the target, and everything that decides the code
is in the wrapper's text, which the compiler cache hashes.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..recipe.cross import CrossBuild, cross_digest
from ..recipe.format import CompilerFlags, DefineValue
from .compiler import Compiler

_LANGUAGES = {"clang": "C", "clang++": "CXX"}


@dataclass(frozen=True, kw_only=True)
class CrossPlaces:
    """Folders of a cross toolchain.

    ``compiler`` and ``linker`` are unpacked once for all trees, ``own`` is written for one tree;
    ``sdk`` is the user's own SDK, or None.
    """

    compiler: Path
    linker: Path
    own: Path
    sdk: Path | None = None

    @property
    def overlay(self) -> Path:
        """What the recipe brings of the target's system.

        In the tree and not in a folder named by its digest: the wrappers' text must not change
        with it, or the compiler cache would forget everything for one header's sake.
        """
        return self.own / "sysroot"

    @property
    def sysroot(self) -> Path:
        """What stands for the target's system."""
        return self.sdk or self.overlay

    def program(self, name: str) -> Path:
        """Return one of the programs that are written for the tree."""
        return self.own / "bin" / name

    def words(self) -> dict[str, str]:
        """Return what the placeholders of the recipe stand for."""
        return {
            "{compiler}": self.compiler.as_posix(),
            "{linker}": self.linker.as_posix(),
            "{sysroot}": self.sysroot.as_posix(),
            "{toolchain}": self.own.as_posix(),
        }


def cross_compiler(cross: CrossBuild, places: CrossPlaces) -> Compiler:
    """Return the cross compiler as the build knows compilers."""
    tools = cross.tools
    identity = f"clang {tools.compiler_version} for {cross.target.triple}"
    identity += f", LLD {tools.linker_version}"
    if places.sdk:
        identity += ", with an SDK of the user's"
    return Compiler(
        c=places.program("clang"),
        cxx=places.program("clang++"),
        family="clang",
        version=cross.tools.compiler_version,
        identity=f"{identity}, recipe {cross_digest(cross)[:16]}",
    )


def filled(text: str, places: CrossPlaces) -> str:
    """Return a text of the recipe with its placeholders replaced."""
    for word, value in places.words().items():
        text = text.replace(word, value)
    return text


def flags_of(cross: CrossBuild, places: CrossPlaces) -> CompilerFlags:
    """Return the compiler's flags, those for a real SDK where the user named one.

    Raises
    ------
    UsageError
        The platform has no SDK to be named.
    """
    if not places.sdk:
        return cross.target.flags
    if not cross.target.flags_with_sdk:
        raise UsageError(
            f"--sdk is of no use for {cross.target.triple}",
            hint="leave it out: only Apple has SDKs",
        )
    return cross.target.flags_with_sdk


def wrapper_texts(cross: CrossBuild, places: CrossPlaces) -> dict[str, str]:
    """Return the programs of the toolchain as shell scripts, by name.

    ``clang`` and ``clang++`` compile and link for the target, ``ar`` and ``ranlib`` make archives,
    and the linker runs with the libraries that it was built against. The last one, which CMake
    insists on, refuses: names are right when they are linked, and a name that is changed later
    would break the signature.
    """
    flags = flags_of(cross, places)
    program = shlex.quote((places.compiler / cross.tools.program).as_posix())
    linker_name = Path(cross.target.linker).name
    clang = f"clang {cross.tools.compiler_version} for {cross.target.triple}"
    head = f"#!/bin/sh\n# Written by ortmill: {clang}.\n"
    always = [f"--target={cross.target.triple}", *(filled(each, places) for each in flags.c)]
    cxx = [filled(each, places) for each in flags.cxx]

    def script(*words: str) -> str:
        return f'{head}exec {program} {shlex.join(words)} "$@"\n'

    def driver(*words: str) -> str:
        # A compile has no use for what is said about linking, and must not warn of it.
        return script(
            *("clang", "--start-no-unused-arguments", *words),
            *(f"--ld-path={places.program(linker_name).as_posix()}", "--end-no-unused-arguments"),
        )

    libraries = ":".join((places.linker / each).as_posix() for each in cross.tools.libraries)
    loader = [
        (places.linker / cross.tools.loader).as_posix(),
        *("--library-path", libraries, "--argv0", linker_name),
        (places.linker / cross.target.linker).as_posix(),
    ]
    # Said to the linker itself and not to the driver: the compiler cache hashes the driver's text.
    after = [
        *(
            (places.own / "lib" / (Path(each).stem + ".o")).as_posix()
            for each in cross.target.runtime
        ),
        *(filled(each, places) for each in flags.link),
    ]
    return {
        "clang": driver(*always),
        "clang++": driver("--driver-mode=g++", *cxx, *always),
        "ar": script("ar"),
        "ranlib": script("ranlib"),
        linker_name: f'{head}exec {shlex.join(loader)} "$@" {shlex.join(after)}\n',
        "install_name_tool": f"{head}echo 'install_name_tool: ortmill links with final names; "
        "nothing is to be renamed afterwards' >&2\nexit 1\n",
    }


def toolchain_text(cross: CrossBuild, places: CrossPlaces) -> str:
    """Return CMake's toolchain file."""
    lines = ["# Written by ortmill."]
    for name, value in cross.target.variables.items():
        lines.append(f"set({name} {_quoted(filled(value, places))})")
    for name, language in _LANGUAGES.items():
        lines.append(f"set(CMAKE_{language}_COMPILER {_quoted(places.program(name).as_posix())})")
    lines += [
        f"set(CMAKE_AR {_quoted(places.program('ar').as_posix())})",
        f"set(CMAKE_RANLIB {_quoted(places.program('ranlib').as_posix())})",
        f"set(CMAKE_INSTALL_NAME_TOOL {_quoted(places.program('install_name_tool').as_posix())})",
        # Nothing of this machine is for the target; only programs are looked for here.
        f"set(CMAKE_FIND_ROOT_PATH {_quoted(places.sysroot.as_posix())})",
        "set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)",
        "set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)",
        "set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE BOTH)",
        "set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE BOTH)",
    ]
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def packing_texts(cross: CrossBuild) -> dict[str, str]:
    """Return the Python files that make upstream's packing think of the target, by name.

    Its setup.py chooses the libraries by ``platform.system()``, and setuptools' check of the tag
    asks ``platform.mac_ver()``; Python reads a module of this name when it starts (:mod:`site`).
    """
    system = cross.target.variables.get("CMAKE_SYSTEM_NAME", "")
    if not system:
        return {}
    lines = ["import os", "import platform", "", f"platform.system = lambda: {system!r}"]
    if system == "Darwin":
        machine = cross.target.variables.get("CMAKE_SYSTEM_PROCESSOR", "")
        release = 'os.environ.get("MACOSX_DEPLOYMENT_TARGET", "")'
        lines.append(f'platform.mac_ver = lambda: ({release}, ("", "", ""), {machine!r})')
    return {"sitecustomize.py": '"""Written by ortmill."""\n\n' + "\n".join(lines) + "\n"}


def packing_environment(
    cross: CrossBuild, places: CrossPlaces, env: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of the step that packs the wheel."""
    packing = (places.own / "packing").as_posix()
    return {**env, **cross.target.environment, "PYTHONPATH": packing}


def cross_defines(cross: CrossBuild, places: CrossPlaces) -> Mapping[str, DefineValue]:
    """Return the CMake cache entries that a cross build adds."""
    defines: dict[str, DefineValue] = {
        name: filled(value, places) if isinstance(value, str) else value
        for name, value in cross.target.defines.items()
    }
    defines["CMAKE_TOOLCHAIN_FILE"] = (places.own / "toolchain.cmake").as_posix()
    defines["Python_INCLUDE_DIR"] = (places.own / "python").as_posix()
    return defines
