"""The exact commands of a build, on any machine, from the recipe alone."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from build import cli
from build.compile.plan import (
    BuildPlan,
    build_environment,
    make_plan,
)
from build.fetch.wanted import plan_fetch
from build.package.repair import Repair, repair_argv, repair_environment
from build.recipe.format import PLATFORMS, PlatformName, Recipe, digest
from build.recipe.load import load_recipe
from build.recipe.version import local_version, source_date_epoch
from build.request import Request
from build.system.environment import is_network
from build.toolchain.programs import Programs
from build.tree.workspace import Tree, Workspace
from tests.kit.recipe_examples import ROOT, SHIPPED, shipped, small

TREE = Tree(root=Path("/cache/trees/t"))
TOOLS = Path("/cache/tools/bin")
PROGRAMS = Programs(
    python=TOOLS / "python",
    cmake=TOOLS / "cmake",
    ctest=TOOLS / "ctest",
    c=Path("/usr/bin/cc"),
    cxx=Path("/usr/bin/c++"),
    launcher=TOOLS / "sccache",
    path=(str(TOOLS), "/usr/bin", "/bin", "/usr/sbin", "/sbin"),
)
GOLDEN = ROOT / "tests" / "data"


def first_origins(recipe: Recipe, platform: PlatformName) -> dict[str, str]:
    return {
        item.name: item.origins[0].kind
        for item in plan_fetch(recipe, platform)
        if item.role == "dependency" and item.origins
    }


def asked(recipe: Recipe, platform: PlatformName) -> Request:
    return Request(
        recipe=recipe,
        recipe_file="recipe.toml",
        platform=platform,
        workspace=Workspace(root=ROOT, cache=Path("/cache"), recipes=ROOT / "recipes"),
        env={},
        jobs=4,
    )


def environment(request: Request, network: dict[str, str] | None = None) -> dict[str, str]:
    return build_environment(
        request, PROGRAMS, home="/home/me", cache_socket="/tmp/s", network=network
    )


def planned(
    recipe: Recipe, platform: PlatformName, *, chosen: dict[str, str] | None = None
) -> BuildPlan:
    request = asked(recipe, platform)
    chosen = first_origins(recipe, platform) if chosen is None else chosen
    return make_plan(request, TREE, PROGRAMS, chosen, env=environment(request))


@pytest.mark.parametrize("platform", ["linux-x86_64", "macos-arm64"])
def test_the_commands_are_exactly_these(platform: PlatformName) -> None:
    found = planned(shipped(), platform)
    lines: list[str] = []
    for step in found.steps:
        lines += [f"{step.stage}:", *(f"  {word}" for word in step.argv)]
    env = found.step("configure").env
    lines += ["environment:", *(f"  {name}={value}" for name, value in env.items())]
    expected = (GOLDEN / f"plan-{platform}.txt").read_text(encoding="utf-8")
    # The digest is the recipe's, whatever stands in it.
    assert "\n".join(lines) + "\n" == expected.replace("{version}", found.version)
    assert (
        found.top_level_include
        == "add_compile_options(-ffile-prefix-map=/cache/trees/t/=/ortmill/)\n"
    )


def test_macos_gets_one_architecture_one_target_and_no_package_managers_prefix() -> None:
    found = planned(shipped(), "macos-arm64")
    assert found.defines["CMAKE_OSX_DEPLOYMENT_TARGET"] == "13.3"
    assert found.defines["CMAKE_OSX_ARCHITECTURES"] == "arm64"
    assert {"/opt/homebrew", "/usr/local", "/opt/local"} <= set(
        str(found.defines["CMAKE_IGNORE_PREFIX_PATH"]).split(";")
    )
    env = found.step("configure").env
    assert env["MACOSX_DEPLOYMENT_TARGET"] == "13.3"
    for place in ("/opt/homebrew", "/usr/local", "/opt/local", "/sw"):
        assert place not in env["PATH"]
        assert not any(
            place in word
            for word in found.step("configure").argv
            if not word.startswith("CMAKE_IGNORE_PREFIX_PATH=")
        )
    assert "--use_coreml" in found.step("configure").argv


def test_the_wheel_is_repaired_by_the_platforms_tool() -> None:
    wheel, into = Path("/w/raw.whl"), Path("/w/out")
    platform = shipped().platforms["macos-arm64"]
    mac = Repair(
        kind=platform.repair, python=TOOLS / "python", deployment_target=platform.minimum_os
    )
    assert repair_argv(mac, wheel, into) == [
        *("/cache/tools/bin/python", "-m", "delocate.cmd.delocate_wheel"),
        *("--require-archs=arm64", "--verbose", "--wheel-dir", "/w/out", "/w/raw.whl"),
    ]
    env = repair_environment(mac, scratch=Path("/w"), source_date_epoch=1)
    assert env["MACOSX_DEPLOYMENT_TARGET"] == "13.3"
    assert env["PATH"] == "/cache/tools/bin:/usr/bin:/bin"
    assert shipped().platforms["linux-x86_64"].repair == "auditwheel"


def test_the_phases_differ_in_nothing_but_the_phase() -> None:
    steps = planned(shipped(), "linux-x86_64").steps
    phases = {"--update", "--build", "--build_wheel"}
    assert [[word for word in step.argv if word in phases] for step in steps] == [
        ["--update"],
        ["--build"],
        ["--build", "--build_wheel"],
    ]
    assert len({tuple(word for word in step.argv if word not in phases) for step in steps}) == 1


def test_a_dependency_that_is_missing_adds_its_fallback(tmp_path: Path) -> None:
    recipe = load_recipe(small(tmp_path))
    with_it = planned(recipe, "linux-x86_64", chosen={"tiny": "archive", "helper": "debian"})
    assert with_it.defines["FETCHCONTENT_SOURCE_DIR_HELPER"] == "/cache/trees/t/deps/helper"
    assert "USE_HELPER" not in with_it.defines
    without = planned(recipe, "linux-x86_64", chosen={"tiny": "archive"})
    assert "FETCHCONTENT_SOURCE_DIR_HELPER" not in without.defines
    assert "USE_HELPER=OFF" in without.step("configure").argv
    chosen = first_origins(shipped(), "linux-x86_64")
    del chosen["pytorch_cpuinfo"]
    argv = planned(shipped(), "linux-x86_64", chosen=chosen).step("configure").argv
    assert "onnxruntime_ENABLE_CPUINFO=OFF" in argv
    assert not any("CPUINFO" in word and "SOURCE_DIR" in word for word in argv)


def test_pybind11_of_a_registry_is_found_as_a_package() -> None:
    chosen = first_origins(shipped(), "linux-x86_64")
    defines = planned(shipped(), "linux-x86_64", chosen=chosen | {"pybind11": "pypi"}).defines
    assert str(defines["pybind11_project_DIR"]).endswith("pybind11/share/cmake/pybind11")
    assert "FETCHCONTENT_SOURCE_DIR_PYBIND11_PROJECT" not in defines


def test_values_are_written_as_cmake_wants_them(tmp_path: Path) -> None:
    argv = planned(load_recipe(small(tmp_path)), "linux-x86_64").step("configure").argv
    assert {"SWITCH=ON", "COUNT=3"} <= set(argv)


def test_no_compiler_cache_means_no_launcher() -> None:
    programs = replace(PROGRAMS, launcher=None)
    request = asked(shipped(), "linux-x86_64")
    found = make_plan(request, TREE, programs, {}, env={}, as_root=True)
    assert not any("LAUNCHER" in word for word in found.step("configure").argv)
    assert "--allow_running_as_root" in found.step("configure").argv
    assert "--allow_running_as_root" not in found.build_args


def test_what_the_manifest_shows_names_no_place_of_this_machine() -> None:
    shown = planned(shipped(), "linux-x86_64").build_args
    assert "--use_coreml" in shown
    assert not any(word.startswith("/") for word in shown)
    assert not {"--parallel", "--build_dir", "--cmake_path", "--ctest_path"} & {*shown}


def test_the_release_day_is_midnight_utc(tmp_path: Path) -> None:
    assert source_date_epoch(load_recipe(small(tmp_path))) == 1741392000


@given(number=st.integers(0, 2**256 - 1))
def test_the_version_is_in_its_normal_form_whatever_the_digest(number: int) -> None:
    version = local_version(shipped_once().version, f"{number:064x}")
    # pip, and the wheel's own check, take nothing else.
    assert str(Version(version)) == version
    assert Version(version).public == shipped_once().version


def shipped_once(cache: list[Recipe] = []) -> Recipe:  # noqa: B006 - read once for many examples
    if not cache:
        cache.append(shipped())
    return cache[0]


LEAKS = {
    "PYTHONPATH": "/leak/python",
    "PYTHONHOME": "/leak/home",
    "VIRTUAL_ENV": "/leak/venv",
    "CMAKE_PREFIX_PATH": "/leak/cmake",
    "CMAKE_GENERATOR": "leak Makefiles",
    "CPATH": "/leak/include",
    "LIBRARY_PATH": "/leak/lib",
    "LD_LIBRARY_PATH": "/leak/ld",
    "CFLAGS": "-Dleak",
    "CXXFLAGS": "-Dleak",
    "LDFLAGS": "-Lleak",
    "GIT_DIR": "/leak/.git",
    "SDKROOT": "/leak/sdk",
}


def as_json(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    *argv: str,
    env: dict[str, str] | None = None,
) -> dict[str, object]:
    code = cli.main(
        ["plan", *argv, "--json"], {"ORTMILL_CACHE": str(tmp_path / "cache"), **(env or {})}
    )
    found = capsys.readouterr()
    assert code == 0, found.err
    assert found.err == ""
    data = json.loads(found.out)
    assert isinstance(data, dict)
    return data


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_plan_as_json_is_the_same_twice_and_nothing_leaks_in(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    platform: PlatformName,
) -> None:
    # Free memory changes from one moment to the next.
    monkeypatch.setattr("build.compile.plan.parallel_jobs", lambda: 4)
    plain = as_json(capsys, tmp_path, "--platform", platform)
    leaky = as_json(capsys, tmp_path, "--platform", platform, env={**LEAKS, "PATH": "/leak"})
    assert leaky == plain
    assert "leak" not in json.dumps(leaky)
    assert plain["platform"] == platform
    assert not (tmp_path / "cache").exists(), "a plan writes nothing"


@pytest.mark.parametrize("file", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda f: f.stem)
def test_every_shipped_recipe_can_be_planned(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, file: Path
) -> None:
    for platform in load_recipe(file).platforms:
        data = as_json(capsys, tmp_path, file.stem, "--platform", platform)
        recipe = load_recipe(file)
        assert data["version"] == local_version(recipe.version, digest(recipe))


def test_a_registry_alone_is_no_origin_for_coreml_on_a_mac(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    argv = ["plan", "--platform", "macos-arm64", "--host", "macos-arm64", "--origin", "registry"]
    assert cli.main(argv, {"ORTMILL_CACHE": str(tmp_path)}) == 0
    out = capsys.readouterr().out
    lines = [line.strip() for line in out.splitlines()]
    place = next(index for index, line in enumerate(lines) if line.startswith("coremltools"))
    assert lines[place].endswith("no origin allowed")
    told = " ".join(lines[place + 1 : place + 3])
    assert "not overlay: the overlay stands in for the original on linux" in told
    assert "on macos-arm64 only in an artefact that is built elsewhere" in " ".join(lines)
    assert "SOURCE_DIR_COREMLTOOLS" not in out


def test_the_text_names_every_input_and_every_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    argv = ["plan", "--platform", "macos-arm64", "--host", "macos-arm64"]
    assert cli.main(argv, {"ORTMILL_CACHE": str(tmp_path)}) == 0
    out = capsys.readouterr().out
    for each in shipped().dependencies:
        if "macos-arm64" not in each.hosts:
            continue
        assert re.search(rf"^  {re.escape(each.name)} ", out, re.MULTILINE), each.name
    for stage in ("configure:", "compile:", "wheel:", "repair:"):
        assert f"\n{stage}\n" in out
    assert "delocate --require-archs=arm64" in out


def test_on_a_mac_the_plan_asks_xcrun(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    argv = ["plan", "--platform", "macos-arm64", "--host", "macos-arm64"]
    assert cli.main(argv, {"ORTMILL_CACHE": str(tmp_path)}) == 0
    out = capsys.readouterr().out
    assert "CMAKE_CXX_COMPILER=$(dirname $(xcrun --find clang))/clang++" in out
    assert "  SDKROOT=$(xcrun --sdk macosx --show-sdk-path)\n" in out
    assert cli.main(argv[:-2], {"ORTMILL_CACHE": str(tmp_path)}) == 0
    assert "xcrun" not in capsys.readouterr().out


def test_what_the_compiler_brings_is_in_every_environment() -> None:
    apple = {"DEVELOPER_DIR": "/X.app/Contents/Developer", "SDKROOT": "/X.app/MacOSX15.1.sdk"}
    programs = replace(PROGRAMS, variables=apple)
    request = asked(shipped(), "macos-arm64")
    found = build_environment(request, programs, home="/home/me", cache_socket="/tmp/s")
    assert found.items() >= apple.items()


@pytest.mark.skipif(sys.platform == "win32", reason="a path of another system")
def test_the_shipped_recipe_is_the_default() -> None:
    assert SHIPPED.stem == cli.DEFAULT_RECIPE


def test_cmake_reaches_the_network_as_the_user_does(tmp_path: Path) -> None:
    later = load_recipe(ROOT / "recipes" / "onnxruntime-1.26.0.toml")
    assert later.dependencies_by_cmake
    caller = {"https_proxy": "http://p:3128", "NO_PROXY": "x", "SSL_CERT_FILE": "/ca", "EVIL": "1"}
    known = {"https_proxy", "NO_PROXY", "SSL_CERT_FILE", "GIT_SSL_CAINFO"}
    for recipe, reached in ((later, known), (shipped(), set())):
        given = environment(asked(recipe, "linux-x86_64"), caller)
        assert given.keys() & (caller.keys() | known) == reached
        assert {name for name in given if is_network(name)} == reached
