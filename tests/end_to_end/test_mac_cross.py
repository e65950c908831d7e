"""What the cross toolchain links for macOS: read, judged, installed as an SDK and linked against.

Nothing is run of what is made here: this is no Mac. The toolchain is the one that an earlier cross
build laid out in the cache.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from build.binary.machine_paths import find_path
from build.binary.macho import MachoFacts, inspect_macho
from build.binary.rules import compare_macho, macho_weaknesses
from build.errors import WheelError
from build.package.licences import LicenceText
from build.package.mac_wheel import check_mac_wheel
from build.package.release import Release
from build.package.sdk import SdkArtifact, make_sdk
from build.package.wheel import check_binaries
from build.tree.workspace import open_workspace
from tests.end_to_end import test_sdk as native
from tests.end_to_end.test_sdk import cmake, unpack
from tests.kit.programs import run
from tests.kit.recipe_examples import ROOT, shipped

__all__ = ["cmake"]

TOOLCHAIN = open_workspace(ROOT, os.environ).tree(shipped(), "macos-arm64").toolchain
CLANG = TOOLCHAIN / "bin" / "clang"
pytestmark = [
    pytest.mark.cross,
    pytest.mark.integration,
    pytest.mark.skipif(
        sys.platform != "linux" or not CLANG.is_file(),
        reason="NO CROSS TOOLCHAIN in the cache, so nothing that it links is tested here: "
        "`nox -s build -- --platform macos-arm64` on Linux lays it out",
    ),
]

VERSION = "1.21.0+ortmill.0b5e77aa"
LIBRARY = "libonnxruntime.1.21.0.dylib"
LIMITS = {"architecture": "arm64", "minimum_os": "13.3"}
SOURCE = r"""
#include <stdio.h>
#include <string.h>
int tiny(const char *text) {
  char buffer[64];
  int n = snprintf(buffer, sizeof buffer, "%s at %s", text, __FILE__);
  strcat(buffer, text);
  return n + buffer[1];
}
int another(void) { return 1; }
static int hidden(void) { return 2; }
int (*use)(void) = hidden;
#ifdef PYTHON
extern void *PyLong_FromLong(long);
void *PyInit_tiny(void) { return PyLong_FromLong(another()); }
#endif
#ifdef FORGOTTEN
extern int forgotten(void);
int uses(void) { return forgotten(); }
#endif
"""
FLAGS = (
    *("-O2", "-Wp,-D_FORTIFY_SOURCE=2", "-fstack-protector-strong", "-dynamiclib"),
    *("-Wl,-install_name,@rpath/libtiny.dylib", "-Wl,-rpath,@loader_path"),
)


def build(folder: Path, *flags: str) -> Path:
    source, library = folder / "tiny.c", folder / "libtiny.dylib"
    source.write_text(SOURCE)
    run([str(CLANG), *FLAGS, *flags, "-o", str(library), str(source)])
    return library


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> MachoFacts:
    return inspect_macho(build(tmp_path_factory.mktemp("sound")))


def test_facts_of_a_library_of_the_cross_toolchain(sound: MachoFacts) -> None:
    assert sound.architectures == ("arm64",)
    assert (sound.filetype, sound.platform, sound.minos) == ("dylib", "macOS", "13.3")
    assert sound.install_name == "@rpath/libtiny.dylib"
    assert "/usr/lib/libSystem.B.dylib" in sound.dependencies
    assert sound.exports == {"_tiny", "_another", "_use"}
    assert sound.has_stack_protector
    assert "___strcat_chk" in sound.fortified_symbols
    assert sound.function_starts
    assert macho_weaknesses(sound, **LIMITS, file="libtiny.dylib") == []


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["-Wl,-no_adhoc_codesign"], "not signed"),
        (["--target=arm64-apple-macosx14.0"], "macOS 14.0, newer than 13.3"),
        (["-DFORGOTTEN", "-Wl,-undefined,dynamic_lookup"], "_forgotten"),
        (["-DPYTHON", "-Wl,-undefined,dynamic_lookup"], "_PyLong_FromLong"),
        (["-Wl,-rpath,/opt/lib"], "/opt/lib"),
        (["-Wl,-install_name,/opt/lib/libtiny.dylib"], "install name"),
        (["-Wl,-flat_namespace", "-Wl,-undefined,dynamic_lookup"], "flat namespace"),
        (["-fno-stack-protector"], "stack protector"),
        (["-Wp,-U_FORTIFY_SOURCE,-D_FORTIFY_SOURCE=0"], "fortified"),
        (["-Wl,-no_uuid"], "UUID"),
        (["-Wl,-no_function_starts"], "function starts"),
    ],
)
def test_each_weakness_is_seen_in_a_real_file(
    tmp_path: Path, sound: MachoFacts, flags: list[str], part: str
) -> None:
    facts = inspect_macho(build(tmp_path, *flags))
    found = compare_macho(facts, sound, **LIMITS)
    assert len(found) == 1
    assert part in found[0]


def test_a_python_module_looks_for_python_alone(tmp_path: Path) -> None:
    flags = ["-Wl,-install_name,@rpath/tiny.so", "-Wl,-undefined,dynamic_lookup", "-DPYTHON"]
    module = build(tmp_path, *flags).read_bytes()
    assert inspect_macho(module).flat_lookups == ("_PyLong_FromLong",)
    check_mac_wheel({"a/tiny.so": module}, architecture="arm64")
    check_binaries({"a/tiny.so": module}, minimum_os="13.3")


def test_a_changed_byte_breaks_the_signature(tmp_path: Path) -> None:
    content = bytearray(build(tmp_path).read_bytes())
    at = content.index(b"%s at %s")
    content[at] ^= 1
    with pytest.raises(WheelError, match=r"1 of \d+ pages have changed"):
        check_binaries({"libtiny.dylib": bytes(content)}, minimum_os="13.3")


def test_a_path_of_the_machine_is_in_the_library_until_it_is_mapped(tmp_path: Path) -> None:
    plain = build(tmp_path).read_bytes()
    assert find_path(plain, [str(tmp_path)]).text == str(tmp_path / "tiny.c")
    mapped = build(tmp_path, f"-ffile-prefix-map={tmp_path}=/src").read_bytes()
    assert find_path(mapped, [str(tmp_path), str(TOOLCHAIN)]) is None


def cache_entries() -> list[str]:
    """Return what the recipe tells CMake about libraries for macOS."""
    platform = shipped().platforms["macos-arm64"]
    assert platform.cross
    entries = {**platform.defines, **platform.cross.defines}
    return [
        f"-D{name}={'ON' if value is True else 'OFF' if value is False else value}"
        for name, value in entries.items()
        if name.startswith("CMAKE_") and "{" not in str(value)
    ]


def configure(
    cmake: Path, source: Path, compiled: Path, *more: str, env: Mapping[str, str] | None = None
) -> None:
    tools = [f"-DCMAKE_TOOLCHAIN_FILE={TOOLCHAIN / 'toolchain.cmake'}", *cache_entries()]
    run(
        [
            *(str(cmake), "-G", "Unix Makefiles", "-S", str(source), "-B", str(compiled)),
            *("-DCMAKE_BUILD_TYPE=Release", *tools, *more),
        ],
        env=env,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, cmake: Path) -> SdkArtifact:
    root = tmp_path_factory.mktemp("tree")
    source, compiled = root / "source", root / "build"
    (source / "dependency").mkdir(parents=True)
    # As upstream does for macOS; the recipe's defines make CMake link with it from the start.
    project = native.PROJECT.replace(
        "if(APPLE)\n",
        'if(APPLE)\nset_target_properties(onnxruntime PROPERTIES INSTALL_RPATH "@loader_path")\n',
    )
    for name, text in {
        "onnxruntime_c_api.h": native.HEADER,
        "onnxruntime_cxx_api.h": '#pragma once\n#include "onnxruntime_c_api.h"\n',
        "ort.c": native.LIBRARY,
        "CMakeLists.txt": project,
        "dependency/CMakeLists.txt": native.DEPENDENCY,
        "LICENSE": "MIT\n",
    }.items():
        (source / name).write_text(text)
    configure(cmake, source, compiled, "-DCMAKE_INSTALL_LIBDIR=lib")
    run([str(cmake), "--build", str(compiled), "--target", "onnxruntime"])
    release = Release(
        into=tmp_path_factory.mktemp("sdk"),
        version=VERSION,
        platform="macos-arm64",
        source_date_epoch=1_700_000_000,
        licences=[LicenceText(name="re2", file="LICENSE", text=b"BSD\n")],
        minimum_os="13.3",
        forbidden_paths=[str(root), str(TOOLCHAIN)],
    )
    return make_sdk(
        release,
        build_dir=compiled,
        source_dir=source,
        cmake=cmake,
        # Nothing is on the PATH that could rename or strip a Mach-O file.
        run=partial(run, env={"PATH": "/nonexistent"}),
    )


@pytest.fixture
def prefix(made: SdkArtifact, tmp_path: Path) -> Path:
    return unpack(made.path, tmp_path / "sdk")


def test_the_sdk_is_installed_without_any_tool_of_apples(made: SdkArtifact, prefix: Path) -> None:
    assert made.path.name == f"onnxruntime-sdk-{VERSION}-macos-arm64.tar.gz"
    library = prefix / "lib" / LIBRARY
    facts = inspect_macho(library)
    assert facts.install_name == f"@rpath/{LIBRARY}"
    assert set(facts.rpaths) <= {"@loader_path"}
    assert macho_weaknesses(facts, **LIMITS, file=LIBRARY) == []
    assert (prefix / "lib" / "libonnxruntime.dylib").readlink() == Path(LIBRARY)
    targets = prefix / "lib/cmake/onnxruntime/onnxruntimeTargets-release.cmake"
    assert f'IMPORTED_SONAME_RELEASE "@rpath/{LIBRARY}"' in targets.read_text()
    assert "macOS 13.3 or newer" in (prefix / "README.md").read_text()


def check_program(program: Path) -> None:
    facts = inspect_macho(program)
    assert (facts.filetype, facts.architectures) == ("executable", ("arm64",))
    assert f"@rpath/{LIBRARY}" in facts.dependencies
    assert facts.flat_lookups == ()
    assert facts.signature is not None
    assert facts.signature.problems == ()


def test_a_program_links_against_it_with_cmake(prefix: Path, tmp_path: Path, cmake: Path) -> None:
    work = tmp_path / "use"
    work.mkdir()
    (work / "main.cc").write_text(native.CONSUMER)
    (work / "CMakeLists.txt").write_text(native.CONSUMER_PROJECT)
    # CMake asks this program of every Mac for its version; without an answer it knows no @rpath.
    (tmp_path / "sw_vers").write_text("#!/bin/sh\necho 13.3\n")
    (tmp_path / "sw_vers").chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    configure(cmake, work, work / "b", f"-DCMAKE_PREFIX_PATH={prefix}", env=env)
    run([str(cmake), "--build", str(work / "b")])
    check_program(work / "b" / "consumer")


def test_a_program_links_against_it_with_pkg_configs_words(prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text(native.CONSUMER.replace("<cstdio>", "<stdio.h>")
        .replace("std::", "").replace("nullptr", "0"))  # fmt: skip
    fields = native.pkg_config(prefix / "lib" / "pkgconfig" / "libonnxruntime.pc")
    run(
        [
            *(str(CLANG), *fields["Cflags"].split(), str(tmp_path / "main.c")),
            *(*fields["Libs"].split(), "-Wl,-rpath,@loader_path/lib"),
            *("-o", str(tmp_path / "consumer")),
        ]
    )
    check_program(tmp_path / "consumer")
