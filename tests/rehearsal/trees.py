"""What upstream's trees hold, as far as the registries carry it.

Seven are GitHub's own, shown by a public hash of the whole tree. The others have upstream's layout
and other content: another release, or files that a package left out. Each says so.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from build.fetch.cache import ContentCache
from build.fetch.fetched import locator
from build.recipe.format import DebianOrigin, Dependency, OverlayOrigin, PypiOrigin
from build.tree.patch import parse_patch
from build.tree.protos import recover_protos
from build.tree.unpack import unpack
from tests.rehearsal.nar import nar_hash

GITHUB_TREES: Mapping[str, str] = {
    "abseil_cpp": "sha256-51jpDhdZ0n+KLmxh8KVaTz53pZAB0dHjmILFX+OLud4=",
    "re2": "sha256-IeANwJlJl45yf8iu/AZNDoiyIvTCZIeK1b74sdCfAIc=",
    "onnx": "sha256-9oORW0YlQ6SphqfbjcYb0dTlHc+1gzy9quH/Lj6By8Q=",
    "protobuf": "sha256-VZQEFHq17UsTH5CZZOcJBKiScGV2xPJ/e6gkkVliRCU=",
    "json": "sha256-7F0Jon+1oWL7uqet5i1IgHX0fUw/+z0QwEcA3zs5xHg=",
    "microsoft_gsl": "sha256-cXDFqt2KgMFGfdh6NGE+JmP4R0Wm9LNHM0eIblYe6zU=",
    "psimd": "sha256-lV+VZi2b4SQlRYrhKx9Dxc6HlDEFz3newvcBjTekupo=",
}
"""Public NAR hashes of the trees that the recipe's archives hold, by dependency."""

_PYBIND11 = """\
# Stands for pybind11's own, which no registry carries: the targets of its headers and tools.
cmake_minimum_required(VERSION 3.15)
project(pybind11 LANGUAGES CXX)
set(pybind11_INCLUDE_DIR "${CMAKE_CURRENT_LIST_DIR}/include" CACHE INTERNAL "")
add_library(pybind11_headers INTERFACE)
add_library(pybind11::headers ALIAS pybind11_headers)
target_include_directories(pybind11_headers SYSTEM INTERFACE "${pybind11_INCLUDE_DIR}")
target_compile_features(pybind11_headers INTERFACE cxx_inheriting_constructors cxx_user_literals
                                                  cxx_right_angle_brackets)
include("${CMAKE_CURRENT_LIST_DIR}/tools/pybind11Common.cmake")
"""


@dataclass(frozen=True, kw_only=True)
class Stand:
    """A tree that stands for one of upstream's; ``note`` says what it is made of."""

    name: str
    path: Path
    note: str


class NothingToStandFor(Exception):
    """No registry carries anything that could stand for this input."""


def make_tree(dependency: Dependency, folder: Path, *, cache: ContentCache, recipes: Path) -> Stand:
    """Lay out what stands for a dependency's upstream tree.

    Raises
    ------
    NothingToStandFor
        The recipe has no origin but upstream for it.
    """
    origins = [
        each
        for each in dependency.origins
        if isinstance(each, DebianOrigin | PypiOrigin | OverlayOrigin)
    ]
    if not origins:
        raise NothingToStandFor(f"{dependency.name}: the recipe names no other origin")
    origin, tree = origins[0], folder / dependency.name
    note = f"upstream's layout, content of {locator(origin)}"
    if isinstance(origin, OverlayOrigin):
        shutil.copytree(recipes / origin.path, tree, ignore=shutil.ignore_patterns("__pycache__"))
        if isinstance(origin.descriptors, PypiOrigin):
            wheel = _file(cache, origin.descriptors)
            into = tree / origin.descriptors_to
            into.mkdir(parents=True, exist_ok=True)
            for name, text in recover_protos(wheel).items():
                (into / name).write_text(text, encoding="utf-8")
            note += f" and {locator(origin.descriptors)}"
        note += _with_patched_lines(dependency, tree, folder / "source")
    else:
        _unpack(dependency.name, _file(cache, origin), tree, origin)
    for licence in dependency.licence_files:
        if not (tree / licence).exists():
            (tree / licence).write_text(f"No registry carries {licence}.\n", encoding="utf-8")
            note += f"; {licence} is a stand-in"
    if dependency.name in GITHUB_TREES and (actual := nar_hash(tree)):
        expected = GITHUB_TREES[dependency.name]
        if actual != expected:
            raise AssertionError(f"{dependency.name}: NAR {actual}, GitHub's tree has {expected}")
        note = f"GitHub's tree, NAR {actual}"
    return Stand(name=dependency.name, path=tree, note=note)


def _with_patched_lines(dependency: Dependency, tree: Path, source: Path) -> str:
    """Add the lines that upstream's patches change, as texts that no code uses; say so.

    The files that stand for upstream's are other ones, and a patch of upstream's must find its
    place in them.
    """
    files = [
        each
        for patch in dependency.patches
        if patch.upstream
        for each in parse_patch((source / patch.file).read_bytes())
        if each.old
    ]
    for each in files:
        place = tree / str(each.old)
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("ab") as stream:
            for number, hunk in enumerate(each.hunks):
                name = f"{place.stem}_{place.suffix[1:]}_{number}".encode()
                stream.write(b"\n[[maybe_unused]] static const char* patched_" + name)
                stream.write(b' = R"patched(\n' + b"".join(hunk.old) + b')patched";\n')
    return "; the lines that a patch of upstream's changes are texts" if files else ""


def _file(cache: ContentCache, origin: DebianOrigin | PypiOrigin) -> Path:
    found = cache.find(origin.sha256)
    if found is None:
        raise FileNotFoundError(f"{locator(origin)} is not in the cache: run `nox -s fetch`")
    return found


def _unpack(name: str, file: Path, tree: Path, origin: DebianOrigin | PypiOrigin) -> None:
    whole = tree.with_name(f"{tree.name}.whole")
    located = locator(origin)
    unpack(file, whole, strip_root=not located.endswith((".whl", ".deb")))
    _SHAPES.get(name, _as_it_is)(whole / origin.subdir, tree)
    for licence in origin.licence_files or ():
        if not (tree / "LICENSE").exists() and (whole / licence).exists():
            shutil.copyfile(whole / licence, tree / "LICENSE")
    shutil.rmtree(whole, ignore_errors=True)


def _as_it_is(found: Path, tree: Path) -> None:
    found.rename(tree)


def _pybind11(found: Path, tree: Path) -> None:
    """Make the repository's layout out of the wheel's: headers, tools, and a project file."""
    package = found / "pybind11"
    shutil.copytree(package / "include", tree / "include")
    shutil.copytree(package / "share" / "cmake" / "pybind11", tree / "tools")
    (tree / "CMakeLists.txt").write_text(_PYBIND11, encoding="utf-8")


_SHAPES: Mapping[str, Callable[[Path, Path], None]] = {"pybind11": _pybind11}
