"""What the shipped recipes say, where it was once wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from build.errors import RecipeError, ToolchainError
from build.fetch.wanted import plan_fetch
from build.recipe.cross import find_cross
from build.recipe.format import ArchiveOrigin, Dependency, PlatformName, sha1_alone
from build.recipe.load import load_recipe
from build.request import check_python
from tests.kit.recipe_examples import ROOT, SHIPPED, shipped, small

LATER = ROOT / "recipes" / "onnxruntime-1.26.0.toml"


def dependency(name: str) -> Dependency:
    return next(each for each in shipped().dependencies if each.name == name)


def kinds(platform: PlatformName, host: PlatformName, choice: str = "auto") -> list[str]:
    recipe = shipped()
    items = plan_fetch(
        recipe,
        platform,
        choice,
        host=host,
        cross=find_cross(recipe, platform, host),
    )
    return next([o.kind for o in item.origins] for item in items if item.name == "coremltools")


def test_two_archives_at_most_are_pinned_by_sha1_alone() -> None:
    assert sha1_alone(shipped()) == ["coremltools", "protoc_mac_universal"]


def test_every_archive_that_a_sha1_pins_is_the_one_of_upstreams_own_list() -> None:
    archives = [
        each
        for dependency in shipped().dependencies
        for each in dependency.origins
        if isinstance(each, ArchiveOrigin)
    ]
    assert len(archives) == 20
    assert all(each.sha1 for each in archives)


def test_eigens_archive_that_changed_is_no_origin() -> None:
    places = [each.url for each in dependency("eigen").origins if isinstance(each, ArchiveOrigin)]
    assert len(places) == 1
    assert "eigen-mirror" in places[0]
    assert "gitlab" not in SHIPPED.read_text(encoding="utf-8")


def test_the_overlay_goes_first_where_it_may_stand_in() -> None:
    assert kinds("linux-x86_64", "linux-x86_64") == ["overlay", "archive"]
    assert kinds("macos-arm64", "linux-x86_64") == ["overlay", "archive"]
    assert kinds("macos-arm64", "macos-arm64") == ["archive"]
    assert kinds("linux-x86_64", "linux-x86_64", "upstream") == ["archive"]


@pytest.mark.parametrize(
    ("file", "first", "last"), [(SHIPPED, "3.10", "3.13"), (LATER, "3.11", "3.14")]
)
def test_pythons_of_a_version(file: Path, first: str, last: str) -> None:
    recipe = load_recipe(file)
    assert (recipe.python[0], recipe.python[-1]) == (first, last)
    for each in recipe.python:
        major, minor = map(int, each.split("."))
        check_python(recipe, (major, minor))
    for minor in (9, int(last.split(".")[1]) + 1):
        with pytest.raises(ToolchainError) as caught:
            check_python(recipe, (3, minor))
        assert caught.value.problem == (
            f"ONNX Runtime {recipe.version} builds for Python {', '.join(recipe.python)}; "
            f"this is Python 3.{minor}"
        )
        assert f"python{last} -m nox -s build" in caught.value.hint


def test_a_recipe_without_pythons_is_for_all(tmp_path: Path) -> None:
    check_python(load_recipe(small(tmp_path)), (3, 99))


def test_the_later_version_is_what_was_published() -> None:
    recipe = load_recipe(LATER)
    mac = recipe.platforms["macos-arm64"]
    assert recipe.source.date == "2026-05-08"
    assert mac.minimum_os == mac.sdk_minimum == mac.defines["CMAKE_OSX_DEPLOYMENT_TARGET"] == "14.0"
    assert mac.environment["_PYTHON_HOST_PLATFORM"] == "macosx-14.0-arm64"
    assert mac.official
    assert mac.official.file.endswith("cp311-cp311-macosx_14_0_arm64.whl")
    assert mac.official.size == 18005108
    assert mac.official.sha256.startswith("ee1109ef4ef27cad")
    assert recipe.tools == shipped().tools


def test_an_oldest_macos_that_contradicts_itself_is_a_fault(tmp_path: Path) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    file = tmp_path / "x.toml"
    file.write_text(text.replace('minimum_os = "13.3"', 'minimum_os = "14.0"'))
    with pytest.raises(RecipeError) as caught:
        load_recipe(file)
    assert [
        line.partition("macos-arm64.")[2] for line in caught.value.problem.splitlines()[1:]
    ] == [
        "defines.CMAKE_OSX_DEPLOYMENT_TARGET: 13.3 is not minimum_os 14.0",
        "environment.MACOSX_DEPLOYMENT_TARGET: 13.3 is not minimum_os 14.0",
        "cross.triple: arm64-apple-macosx13.3 is not for 14.0",
    ]
