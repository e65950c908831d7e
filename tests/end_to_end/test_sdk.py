"""The SDK, used as its users do: found by CMake and by pkg-config's file, linked and run."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from build.errors import WheelError
from build.package.licences import LicenceText
from build.package.release import Release
from build.package.sdk import (
    Member,
    SdkArtifact,
    install_argv,
    library_names,
    make_sdk,
    write_archive,
)
from tests.kit.programs import run

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
VERSION = "1.21.0+ortmill.0b5e77aa"
LINUX = sys.platform == "linux"
PLATFORM = "linux-x86_64" if LINUX else "macos-arm64"
BIN = Path(sys.executable).parent

# A stand-in for ONNX Runtime: the two entries of its C API that the consumer below calls.
HEADER = """\
#pragma once
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
#define ORT_API_VERSION 21
typedef struct OrtStatus OrtStatus;
typedef struct OrtApi {
  OrtStatus* (*GetAvailableProviders)(char*** out, int* length);
} OrtApi;
typedef struct OrtApiBase {
  const OrtApi* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)(void);
} OrtApiBase;
const OrtApiBase* OrtGetApiBase(void);
#ifdef __cplusplus
}
#endif
"""
LIBRARY = """\
#include "onnxruntime_c_api.h"
static char cpu[] = "CPUExecutionProvider";
static char* names[] = {cpu};
static OrtStatus* providers(char*** out, int* length) { *out = names; *length = 1; return 0; }
static const OrtApi api = {providers};
static const OrtApi* get(uint32_t version) { return version == ORT_API_VERSION ? &api : 0; }
static const char* version(void) { return "1.21.0"; }
static const OrtApiBase base = {get, version};
const OrtApiBase* OrtGetApiBase(void) { return &base; }
"""
# The install rules are those of upstream's cmake/onnxruntime.cmake and CMakeLists.txt in shape.
PROJECT = """\
cmake_minimum_required(VERSION 3.28)
project(onnxruntime C CXX)
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
add_library(onnxruntime SHARED ort.c)
target_include_directories(onnxruntime PUBLIC $<INSTALL_INTERFACE:include/onnxruntime>)
set_target_properties(onnxruntime PROPERTIES VERSION 1.21.0
  PUBLIC_HEADER "onnxruntime_c_api.h;onnxruntime_cxx_api.h")
if(APPLE)
  target_link_options(onnxruntime PRIVATE "LINKER:-x" "LINKER:-S")
else()
  set_target_properties(onnxruntime PROPERTIES SOVERSION 1)
endif()
install(TARGETS onnxruntime EXPORT onnxruntimeTargets
  PUBLIC_HEADER DESTINATION include/onnxruntime LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
file(WRITE ${CMAKE_BINARY_DIR}/in
  "@PACKAGE_INIT@\\ninclude(\\"\\${CMAKE_CURRENT_LIST_DIR}/onnxruntimeTargets.cmake\\")")
install(EXPORT onnxruntimeTargets NAMESPACE onnxruntime::
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/onnxruntime)
configure_package_config_file(${CMAKE_BINARY_DIR}/in onnxruntimeConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/onnxruntime)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/onnxruntimeConfigVersion.cmake
  VERSION 1.21.0 COMPATIBILITY SameMajorVersion)
install(FILES ${CMAKE_BINARY_DIR}/onnxruntimeConfig.cmake
  ${CMAKE_BINARY_DIR}/onnxruntimeConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/onnxruntime)
add_subdirectory(dependency)
"""
# A dependency with install rules of its own, for a target that is never built.
DEPENDENCY = """\
add_library(re2 STATIC EXCLUDE_FROM_ALL ../ort.c)
install(TARGETS re2 ARCHIVE DESTINATION lib)
"""
CONSUMER = r"""
#include <onnxruntime_c_api.h>
#include <cstdio>
int main() {
  const OrtApiBase* base = OrtGetApiBase();
  const OrtApi* api = base->GetApi(ORT_API_VERSION);
  if (api == nullptr) return 2;
  char** names = nullptr;
  int length = 0;
  if (api->GetAvailableProviders(&names, &length) != nullptr) return 3;
  std::printf("%s", base->GetVersionString());
  for (int i = 0; i < length; ++i) std::printf(" %s", names[i]);
  std::printf("\n");
  return 0;
}
"""
CONSUMER_PROJECT = """\
cmake_minimum_required(VERSION 3.28)
project(consumer CXX)
find_package(onnxruntime 1.20 CONFIG REQUIRED)
add_executable(consumer main.cc)
target_link_libraries(consumer PRIVATE onnxruntime::onnxruntime)
"""


@pytest.fixture(scope="module")
def cmake() -> Path:
    found = shutil.which("cmake", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    assert found, "the tests need the pinned CMake in their environment"
    return Path(found)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, cmake: Path) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("a tree")
    source, compiled = root / "source", root / "build"
    (source / "dependency").mkdir(parents=True)
    for name, text in {
        "onnxruntime_c_api.h": HEADER,
        "onnxruntime_cxx_api.h": '#pragma once\n#include "onnxruntime_c_api.h"\n',
        "ort.c": LIBRARY,
        "CMakeLists.txt": PROJECT,
        "dependency/CMakeLists.txt": DEPENDENCY,
        "LICENSE": "MIT\n",
    }.items():
        (source / name).write_text(text)
    run(
        [
            *(str(cmake), "-S", str(source), "-B", str(compiled)),
            *("-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_INSTALL_LIBDIR=lib"),
        ]
    )
    run([str(cmake), "--build", str(compiled), "--target", "onnxruntime"])
    return source, compiled


def sdk(tree: tuple[Path, Path], cmake: Path, into: Path) -> SdkArtifact:
    source, compiled = tree
    release = Release(
        into=into,
        version=VERSION,
        platform=PLATFORM,
        source_date_epoch=1_700_000_000,
        licences=[LicenceText(name="re2", file="LICENSE", text=b"BSD\n")],
    )
    return make_sdk(release, build_dir=compiled, source_dir=source, cmake=cmake, run=run)


def unlicensed(into: Path, *forbidden_paths: str) -> Release:
    return Release(
        into=into,
        version=VERSION,
        platform=PLATFORM,
        source_date_epoch=0,
        forbidden_paths=forbidden_paths,
    )


@pytest.fixture(scope="module")
def archive(
    tree: tuple[Path, Path], cmake: Path, tmp_path_factory: pytest.TempPathFactory
) -> SdkArtifact:
    return sdk(tree, cmake, tmp_path_factory.mktemp("sdk"))


def unpack(archive: Path, into: Path) -> Path:
    with tarfile.open(archive) as tar:
        tar.extractall(into, filter="data")
    (folder,) = into.iterdir()
    return folder


def use_with_cmake(prefix: Path, work: Path, cmake: Path) -> str:
    work.mkdir()
    (work / "main.cc").write_text(CONSUMER)
    (work / "CMakeLists.txt").write_text(CONSUMER_PROJECT)
    found = f"-DCMAKE_PREFIX_PATH={prefix}"
    run([str(cmake), "-S", str(work), "-B", str(work / "b"), found])
    run([str(cmake), "--build", str(work / "b")])
    return run([str(work / "b" / "consumer")])


def pkg_config(file: Path) -> dict[str, str]:
    """Return what pkg-config would print, from the file alone (pc(5): variables, then fields)."""
    variables, fields = {"pcfiledir": str(file.parent)}, {}

    def expand(text: str) -> str:
        return re.sub(r"\$\{(\w+)\}", lambda match: variables[match[1]], text)

    for line in file.read_text().splitlines():
        if match := re.fullmatch(r"(\w+)=(.*)", line):
            variables[match[1]] = expand(match[2])
        elif match := re.fullmatch(r"(\w+): (.*)", line):
            fields[match[1]] = expand(match[2])
    return fields


def use_with_pkg_config(prefix: Path, work: Path) -> str:
    work.mkdir()
    (work / "main.cc").write_text(CONSUMER)
    fields = pkg_config(prefix / "lib" / "pkgconfig" / "libonnxruntime.pc")
    compiler = shutil.which("c++")
    assert compiler, "the tests need a C++ compiler, as the build does"
    program = work / "consumer"
    run(
        [
            *(compiler, "-std=c++17", *fields["Cflags"].split(), str(work / "main.cc")),
            *(*fields["Libs"].split(), f"-Wl,-rpath,{prefix / 'lib'}", "-o", str(program)),
        ]
    )
    return run([str(program)])


def test_cmake_finds_links_and_runs_it_after_a_move(
    archive: SdkArtifact, tmp_path: Path, cmake: Path
) -> None:
    moved = tmp_path / "moved"
    unpack(archive.path, tmp_path / "first").rename(moved)
    assert use_with_cmake(moved, tmp_path / "use", cmake) == "1.21.0 CPUExecutionProvider\n"


def test_pkg_configs_file_links_and_runs_it(archive: SdkArtifact, tmp_path: Path) -> None:
    prefix = unpack(archive.path, tmp_path / "sdk")
    assert use_with_pkg_config(prefix, tmp_path / "use") == "1.21.0 CPUExecutionProvider\n"


def test_pkg_configs_file_says_the_version_and_no_absolute_path(
    archive: SdkArtifact, tmp_path: Path
) -> None:
    file = unpack(archive.path, tmp_path / "sdk") / "lib/pkgconfig/libonnxruntime.pc"
    assert pkg_config(file)["Version"] == "1.21.0"
    assert "=/" not in file.read_text()


def test_the_archive_holds_library_links_headers_and_licences(
    archive: SdkArtifact, tmp_path: Path
) -> None:
    assert archive.path.name == f"onnxruntime-sdk-{VERSION}-{PLATFORM}.tar.gz"
    prefix = unpack(archive.path, tmp_path / "sdk")
    assert prefix.name == f"onnxruntime-sdk-{VERSION}-{PLATFORM}"
    for name, link in library_names("1.21.0", PLATFORM).items():
        path = prefix / "lib" / name
        assert path.is_file()
        assert (str(path.readlink()) if path.is_symlink() else "") == link
    assert (prefix / "include/onnxruntime/onnxruntime_c_api.h").read_text() == HEADER
    assert (prefix / "licences/re2/LICENSE").read_bytes() == b"BSD\n"
    assert (prefix / "LICENSE").read_text() == "MIT\n"
    assert VERSION in (prefix / "README.md").read_text()
    assert not list(prefix.rglob("*.a"))
    files = {
        path.relative_to(prefix).as_posix()
        for path in prefix.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    assert set(archive.files) == files


def test_the_same_tree_gives_the_same_bytes_without_owner_or_date(
    tree: tuple[Path, Path], archive: SdkArtifact, tmp_path: Path, cmake: Path
) -> None:
    again = sdk(tree, cmake, tmp_path)
    assert again.sha256 == archive.sha256
    assert again.path.read_bytes() == archive.path.read_bytes()
    assert archive.path.read_bytes()[4:8] == bytes(4)
    with tarfile.open(archive.path) as tar:
        members = tar.getmembers()
    assert {(item.uid, item.gid, item.uname, item.gname) for item in members} == {(0, 0, "", "")}
    assert {item.mtime for item in members} == {1_700_000_000}
    assert [item.name for item in members] == sorted(item.name for item in members)


def test_a_tree_without_the_library_is_refused(
    tree: tuple[Path, Path], tmp_path: Path, cmake: Path
) -> None:
    def forgetful(argv: Sequence[str], **kwargs: object) -> str:
        text = run(argv)
        prefix = Path(argv[1].partition("=")[2])
        for path in (prefix / "lib").glob("libonnxruntime.*"):
            path.unlink()
        return text

    source, compiled = tree
    with pytest.raises(WheelError, match="is missing") as caught:
        make_sdk(
            unlicensed(tmp_path),
            build_dir=compiled,
            source_dir=source,
            cmake=cmake,
            run=forgetful,
        )
    assert "libonnxruntime" in caught.value.context["missing"]
    assert list(tmp_path.iterdir()) == []


def test_a_path_of_the_machine_in_the_library_is_refused(
    tree: tuple[Path, Path], tmp_path: Path, cmake: Path
) -> None:
    source, compiled = tree
    with pytest.raises(WheelError, match="a path of the machine"):
        make_sdk(
            unlicensed(tmp_path, "ExecutionProvider"),
            build_dir=compiled,
            source_dir=source,
            cmake=cmake,
            run=run,
        )
    assert list(tmp_path.iterdir()) == []


def test_the_install_command_is_exact() -> None:
    assert install_argv(Path("/t/cmake"), Path("/b"), Path("/p")) == [
        "/t/cmake",
        "-DCMAKE_INSTALL_PREFIX=/p",
        "-DCMAKE_INSTALL_LOCAL_ONLY=1",
        *("-P", "/b/cmake_install.cmake"),
    ]


def test_library_names_by_platform() -> None:
    assert library_names("1.21.0", "macos-arm64") == {
        "libonnxruntime.1.21.0.dylib": "",
        "libonnxruntime.dylib": "libonnxruntime.1.21.0.dylib",
    }
    assert library_names("1.26.0", "macos-arm64") == {
        "libonnxruntime.1.26.0.dylib": "",
        "libonnxruntime.1.dylib": "libonnxruntime.1.26.0.dylib",
        "libonnxruntime.dylib": "libonnxruntime.1.dylib",
    }
    assert library_names("1.21.0", "linux-aarch64") == {
        "libonnxruntime.so.1.21.0": "",
        "libonnxruntime.so.1": "libonnxruntime.so.1.21.0",
        "libonnxruntime.so": "libonnxruntime.so.1",
    }


def test_an_archive_is_a_gzip_file_without_a_name(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    write_archive(
        {"b": Member(content=b"1"), "a": Member(link="b")}, "f", path, source_date_epoch=5
    )
    assert path.read_bytes()[3] == 0
    with gzip.open(path) as stream, tarfile.open(fileobj=stream) as tar:
        assert [(item.name, item.linkname) for item in tar] == [("f/a", "b"), ("f/b", "")]


BUILT = sorted((ROOT / "wheels").glob(f"onnxruntime-sdk-*-{PLATFORM}.tar.gz"))


@pytest.mark.skipif(not BUILT, reason="no SDK has been built in wheels/: nothing real is tested")
def test_the_sdk_of_a_real_build_works(tmp_path: Path, cmake: Path) -> None:
    prefix = unpack(BUILT[-1], tmp_path / "sdk")
    version = re.sub(r".*-sdk-([\d.]+)\+.*", r"\1", BUILT[-1].name)
    for said in (
        use_with_cmake(prefix, tmp_path / "with-cmake", cmake),
        use_with_pkg_config(prefix, tmp_path / "with-pkg-config"),
    ):
        assert said.split()[0] == version
        assert {"CoreMLExecutionProvider", "CPUExecutionProvider"} <= set(said.split()[1:])
    assert (prefix / "include/onnxruntime/coreml_provider_factory.h").is_file()
