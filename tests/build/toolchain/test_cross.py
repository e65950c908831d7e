"""A cross build: which applies, what its programs say, and what is laid out."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from build.compile.plan import cmake_defines, make_plan
from build.errors import RecipeError, SourceError, ToolchainError, UsageError
from build.fetch.fetched import Fetched
from build.fetch.wanted import plan_fetch
from build.package.artefacts import manifest_inputs
from build.pipeline import artefacts_key
from build.recipe.cross import CrossBuild, cross_of, cross_origins, find_cross, pins_digest
from build.recipe.format import PLATFORMS, PlatformName, source_digest
from build.recipe.load import load_recipe
from build.request import Request, the_compiler
from build.toolchain.cross import (
    CrossPlaces,
    cross_compiler,
    cross_defines,
    packing_environment,
    packing_texts,
    toolchain_text,
    wrapper_texts,
)
from build.toolchain.cross_layout import check_sdk, replace_changed, unpack_shared, write_own
from build.toolchain.programs import Programs
from build.tree.workspace import Tree, Workspace
from tests.build.tree.test_unpack import deb_of, special, tar_of, zip_of
from tests.kit.recipe_examples import shipped, small

TARGETS: tuple[PlatformName, ...] = ("macos-arm64", "linux-aarch64")
PLACES = CrossPlaces(compiler=Path("/c/clang"), linker=Path("/c/lld"), own=Path("/t/toolchain"))


def mac() -> CrossBuild:
    return cross_of(shipped(), "macos-arm64")


def words(script: str) -> list[str]:
    """Return the words of a wrapper's one command."""
    return shlex.split(script.splitlines()[-1])


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_platform_needs_no_cross_build_on_itself(platform: PlatformName) -> None:
    assert find_cross(shipped(), platform, platform) is None


@pytest.mark.parametrize("platform", TARGETS)
def test_linux_builds_for_the_others(platform: PlatformName) -> None:
    found = find_cross(shipped(), platform, "linux-x86_64")
    assert found == cross_of(shipped(), platform)


@pytest.mark.parametrize(
    ("platform", "host"), [("linux-x86_64", "macos-arm64"), ("macos-arm64", "linux-aarch64")]
)
def test_where_no_way_is_known_the_error_says_where_to_build(
    platform: PlatformName, host: PlatformName
) -> None:
    with pytest.raises(UsageError) as caught:
        find_cross(shipped(), platform, host)
    assert platform in str(caught.value)
    assert platform in caught.value.hint


def test_a_cross_section_needs_the_tools(tmp_path: Path) -> None:
    cross = """
[platforms.linux-x86_64.cross]
hosts = ["macos-arm64"]
triple = "x86_64-linux-gnu"
linker = "bin/ld.lld"
sysroot = []
[platforms.linux-x86_64.cross.flags]
c = []

[[dependencies]]
name = "tiny\""""
    with pytest.raises(RecipeError, match="a cross build needs cross_tools"):
        load_recipe(small(tmp_path, ('\n[[dependencies]]\nname = "tiny"', cross)))


def test_the_compiler_is_told_the_target_first_and_the_caller_has_the_last_word() -> None:
    texts = wrapper_texts(mac(), PLACES)
    for name in ("clang", "clang++"):
        found = words(texts[name])
        assert found[:3] == ["exec", "/c/clang/ziglang/zig", "clang"]
        assert "--target=arm64-apple-macosx13.3" in found
        assert found[-1] == "$@"
        assert "-isystem/t/toolchain/sysroot/usr/include" in found
        assert not [word for word in found if "{" in word]
    assert "--driver-mode=g++" in words(texts["clang++"])
    assert "--driver-mode=g++" not in words(texts["clang"])


def test_cxx_headers_stand_before_those_of_c() -> None:
    found = words(wrapper_texts(mac(), PLACES)["clang++"])
    cxx = found.index("-isystem/c/clang/ziglang/lib/libcxx/include")
    assert cxx < found.index("-isystem/c/clang/ziglang/lib/include")


def test_the_system_is_not_part_of_the_compilers_text() -> None:
    """Or a changed declaration would make the compiler cache forget everything."""
    cross = mac()
    system = replace(cross.target.sysroot[0], sha256="0" * 64)
    other = replace(cross, target=replace(cross.target, sysroot=(system,)))
    assert wrapper_texts(other, PLACES)["clang++"] == wrapper_texts(cross, PLACES)["clang++"]
    assert cross_compiler(other, PLACES).identity != cross_compiler(cross, PLACES).identity


def test_a_changed_flag_is_another_compiler() -> None:
    """Or every object that stands would be taken for one that the new flag made."""
    cross = mac()
    flags = replace(cross.target.flags, c=(*cross.target.flags.c, "-fwrapv"))
    other = replace(cross, target=replace(cross.target, flags=flags))
    assert pins_digest(other) == pins_digest(cross)
    assert cross_compiler(other, PLACES).identity != cross_compiler(cross, PLACES).identity
    assert cross_compiler(cross, PLACES).identity == cross_compiler(mac(), PLACES).identity


def test_another_sdk_is_another_build(tmp_path: Path) -> None:
    def key(sdk: Path | None) -> str:
        request = Request(
            recipe=shipped(), recipe_file="r", platform="macos-arm64", host="linux-x86_64",
            workspace=Workspace(root=tmp_path, cache=tmp_path, recipes=tmp_path), env={}, sdk=sdk,
        )  # fmt: skip
        return artefacts_key(request, the_compiler(request, Tree(root=tmp_path)))

    assert len({key(None), key(Path("/one.sdk")), key(Path("/two.sdk"))}) == 3


def test_the_linker_runs_with_its_own_libraries_and_ends_with_the_systems() -> None:
    found = words(wrapper_texts(mac(), PLACES)["ld64.lld"])
    assert found[1] == "/c/lld/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
    assert found[found.index("--argv0") + 1] == "ld64.lld"
    after = found[found.index("$@") :]
    assert "/t/toolchain/lib/os_version.o" in after
    assert {"-lc++", "-lSystem", "-x", "-S"} <= set(after)


def test_a_users_sdk_takes_the_place_of_our_declarations() -> None:
    places = replace(PLACES, sdk=Path("/sdk"))
    texts = wrapper_texts(mac(), places)
    assert "-isysroot/sdk" in words(texts["clang"])
    assert "-isystem/sdk/usr/include/c++/v1" in words(texts["clang++"])
    assert not [word for word in words(texts["clang++"]) if "libcxx" in word]
    assert "/t/toolchain/sysroot" not in texts["clang++"]
    assert "an SDK of the user's" in cross_compiler(mac(), places).identity


def test_only_apple_has_an_sdk() -> None:
    with pytest.raises(UsageError, match="no use for aarch64-linux-gnu"):
        wrapper_texts(cross_of(shipped(), "linux-aarch64"), replace(PLACES, sdk=Path("/sdk")))


def test_what_is_no_sdk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no System/Library/Frameworks/CoreML.framework"):
        check_sdk(tmp_path)
    (tmp_path / "System/Library/Frameworks/CoreML.framework").mkdir(parents=True)
    assert check_sdk(tmp_path) == tmp_path.resolve()


@pytest.mark.parametrize("platform", TARGETS)
def test_cmake_learns_the_system_and_finds_nothing_of_this_machine(platform: PlatformName) -> None:
    text = toolchain_text(cross_of(shipped(), platform), PLACES)
    system = "Darwin" if platform == "macos-arm64" else "Linux"
    assert f'set(CMAKE_SYSTEM_NAME "{system}")' in text
    assert "set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)" in text
    assert 'set(CMAKE_CXX_COMPILER "/t/toolchain/bin/clang++")' in text


def test_the_plan_of_a_cross_build_says_everything() -> None:
    recipe, tree = shipped(), Tree(root=Path("/t"))
    programs = Programs(
        python=Path("/x/python"),
        cmake=Path("/x/cmake"),
        ctest=Path("/x/ctest"),
        c=PLACES.program("clang"),
        cxx=PLACES.program("clang++"),
        launcher=None,
        path=("/x",),
        cross=PLACES,
    )
    defines = cmake_defines(recipe, "macos-arm64", tree, programs, chosen={})
    assert defines["CMAKE_TOOLCHAIN_FILE"] == "/t/toolchain/toolchain.cmake"
    assert defines["Iconv_LIBRARY"] == "/t/toolchain/sysroot/usr/lib/libiconv.tbd"
    assert defines["CMAKE_OSX_ARCHITECTURES"] == "arm64"
    request = Request(
        recipe=recipe,
        recipe_file="recipe.toml",
        platform="macos-arm64",
        workspace=Workspace(root=Path("/w"), cache=Path("/c"), recipes=Path("/r")),
        env={},
    )
    plan = make_plan(request, tree, programs, {}, env={"A": "b"})
    assert "--use_binskim_compliant_compile_flags" not in plan.step("configure").argv
    assert plan.step("configure").env == {"A": "b"}
    assert plan.step("wheel").env["PYTHONPATH"] == "/t/toolchain/packing"


def test_upstreams_packing_sees_the_target(tmp_path: Path) -> None:
    for name, text in packing_texts(mac()).items():
        (tmp_path / name).write_text(text)
    env = packing_environment(mac(), PLACES, {"LC_ALL": "C"})
    answer = subprocess.run(
        [sys.executable, "-c", "import platform as p; print(p.system(), p.mac_ver()[::2])"],
        env={**env, "PYTHONPATH": str(tmp_path), "MACOSX_DEPLOYMENT_TARGET": "13.3"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == "Darwin ('13.3', 'arm64')"


def test_the_toolchain_is_fetched_for_a_cross_build_alone() -> None:
    cross = mac()
    here = plan_fetch(shipped(), "macos-arm64", host="linux-x86_64", cross=cross)
    there = plan_fetch(shipped(), "macos-arm64")
    names = {item.name for item in here if item.role == "toolchain"}
    assert names == {name for name, _ in cross_origins(cross)}
    assert not [item for item in there if item.role == "toolchain"]


def test_a_program_of_the_build_machine_is_the_build_machines() -> None:
    here = plan_fetch(shipped(), "macos-arm64", host="linux-x86_64", cross=mac())
    there = plan_fetch(shipped(), "macos-arm64")
    assert "protoc_linux_x64" in {item.name for item in here}
    assert "protoc_mac_universal" not in {item.name for item in here}
    assert "protoc_mac_universal" in {item.name for item in there}
    assert "protoc_linux_x64" not in {item.name for item in there}


def test_the_coreml_overlay_stands_in_for_a_cross_build_alone() -> None:
    def coreml(choice: str, *, cross: bool) -> list[str]:
        found = plan_fetch(
            shipped(),
            "macos-arm64",
            choice,
            host="linux-x86_64" if cross else "macos-arm64",
            cross=mac() if cross else None,
        )
        item = next(each for each in found if each.name == "coremltools")
        return [origin.kind for origin in item.origins]

    assert "overlay" in coreml("auto", cross=True)
    assert coreml("upstream", cross=True) == ["archive"]
    assert coreml("auto", cross=False) == ["archive"]
    assert coreml("registry", cross=False) == []


def test_pins_decide_the_folders() -> None:
    cross = mac()
    compiler = replace(cross.tools.compiler, sha256="1" * 64)
    other = replace(cross, tools=replace(cross.tools, compiler=compiler))
    assert pins_digest(cross, "cross-compiler") != pins_digest(other, "cross-compiler")
    assert pins_digest(cross, "cross-linker") == pins_digest(other, "cross-linker")


def test_flags_and_tools_leave_the_source_tree_alone() -> None:
    recipe = shipped()
    assert source_digest(recipe) == source_digest(replace(recipe, defines={"A": 1}))
    assert source_digest(recipe) != source_digest(
        replace(recipe, dependencies=recipe.dependencies[1:])
    )


# ── what is laid out ─────────────────────────────────────────────────────────────────────────

FAKE = '#!/bin/sh\nwhile [ $# -gt 1 ]; do [ "$1" = -o ] && echo object > "$2"; shift; done\n'


def laid_out(
    folder: Path, *, program: str = FAKE
) -> tuple[CrossBuild, CrossPlaces, dict[str, Fetched]]:
    """Return a cross build whose compiler is a script, with its fetched parts."""
    cross = mac()
    target = replace(cross.target, copies={"ziglang/stub.tbd": {"old-": "new-"}})
    tools = replace(cross.tools, linker=cross.tools.linker[:1])
    cross = replace(cross, tools=tools, target=target)
    wheel = {"ziglang/zig": program.encode(), "ziglang/stub.tbd": b"old-arch"}
    package = tar_of(
        {"usr/lib/llvm-19/bin/ld64.lld": b"lld", cross.tools.loader: b"loader"},
        special("lib64/loader", b"2", "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
    )
    (folder / "wheel.whl").write_bytes(zip_of(wheel, mode=0o100755))
    (folder / "lld.deb").write_bytes(deb_of(("debian-binary", b"2.0\n"), ("data.tar.gz", package)))
    overlay = folder / "apple"
    for name in ("runtime/os_version.c", "python/pyconfig.h", "python/endian.h", "usr/include/a.h"):
        (overlay / name).parent.mkdir(parents=True, exist_ok=True)
        (overlay / name).write_text(name)

    def part(name: str, path: Path) -> Fetched:
        return Fetched(
            name=name,
            version="",
            origin=cross.tools.compiler,
            path=path,
            sha256="0" * 64,
            size=1,
        )

    places = CrossPlaces(
        compiler=folder / "c" / "clang", linker=folder / "c" / "lld", own=folder / "t" / "own"
    )
    parts = {
        "cross-compiler": part("cross-compiler", folder / "wheel.whl"),
        "cross-linker-0": part("cross-linker-0", folder / "lld.deb"),
        "cross-sysroot-0": part("cross-sysroot-0", overlay),
    }
    return cross, places, parts


def test_a_toolchain_is_unpacked_once_and_written_for_the_tree(tmp_path: Path) -> None:
    cross, places, parts = laid_out(tmp_path)
    unpack_shared(cross, places, parts)
    write_own(cross, places, parts, dict(os.environ))
    assert places.program("clang++").stat().st_mode & stat.S_IXUSR
    assert (places.own / "lib" / "stub.tbd").read_text() == "new-arch"
    assert (places.own / "lib" / "os_version.o").read_text() == "object\n"
    assert (places.own / "python" / "pyconfig.h").read_text() == "python/pyconfig.h"
    assert (places.own / "python" / "endian.h").is_file()
    assert (places.own / "python" / "Python.h").is_file()
    assert (places.overlay / "usr" / "include" / "a.h").is_file()
    # An absolute link of the package leads into the folder and not to this machine.
    assert (places.linker / "lib64" / "loader").read_bytes() == b"loader"
    (tmp_path / "wheel.whl").unlink()
    unpack_shared(cross, places, parts)


def test_what_did_not_change_keeps_its_time_stamp(tmp_path: Path) -> None:
    cross, places, parts = laid_out(tmp_path)
    unpack_shared(cross, places, parts)
    write_own(cross, places, parts, dict(os.environ))
    header, other = places.overlay / "usr/include/a.h", places.own / "toolchain.cmake"
    for file in (header, other):
        os.utime(file, (1, 1))
    stale = places.own / "bin" / "stale"
    stale.write_text("of an earlier version")
    (tmp_path / "apple" / "usr" / "include" / "a.h").write_text("changed")
    write_own(cross, places, parts, dict(os.environ))
    assert other.stat().st_mtime == 1
    assert header.read_text() == "changed"
    assert header.stat().st_mtime > 1
    assert not stale.exists()


def test_a_part_that_lacks_its_program_is_refused(tmp_path: Path) -> None:
    cross, places, parts = laid_out(tmp_path)
    (tmp_path / "wheel.whl").write_bytes(zip_of({"ziglang/readme": b""}))
    with pytest.raises(SourceError, match="holds no ziglang/zig"):
        unpack_shared(cross, places, parts)
    assert not places.compiler.exists()


def test_a_compiler_that_does_not_work_is_told(tmp_path: Path) -> None:
    cross, places, parts = laid_out(
        tmp_path, program="#!/bin/sh\necho no such target >&2\nexit 3\n"
    )
    unpack_shared(cross, places, parts)
    with pytest.raises(ToolchainError) as caught:
        write_own(cross, places, parts, dict(os.environ))
    assert "no such target" in caught.value.context["it said"]


def test_replacing_keeps_links_and_modes(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    new.mkdir()
    (new / "run").write_text("x")
    (new / "run").chmod(0o755)
    (new / "link").symlink_to("run")
    replace_changed(new, old)
    assert (old / "link").readlink() == Path("run")
    assert os.access(old / "run", os.X_OK)
    assert not new.exists()


@pytest.mark.parametrize("platform", TARGETS)
def test_cross_defines_hold_no_placeholder(platform: PlatformName) -> None:
    for value in cross_defines(cross_of(shipped(), platform), PLACES).values():
        assert not (isinstance(value, str) and "{" in value)


def test_what_runs_while_building_is_a_tool_and_in_no_sbom() -> None:
    recipe = shipped()
    plan = plan_fetch(recipe, "macos-arm64", host="linux-x86_64", cross=mac())
    wanted = [item for item in plan if item.name in {"protoc_linux_x64", "re2", "cross-compiler"}]
    inputs = [
        (
            item,
            Fetched(
                name=item.name,
                version="1",
                origin=mac().tools.compiler,
                path=Path("/x"),
                sha256="0" * 64,
                size=1,
            ),
        )
        for item in wanted
    ]
    kinds = {entry.name: entry.kind for entry in manifest_inputs(recipe, inputs)}
    assert kinds == {"protoc_linux_x64": "tool", "re2": "pypi", "cross-compiler": "tool"}
