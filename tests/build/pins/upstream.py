"""A small ONNX Runtime upstream on loopback: a repository, three archives, a package index."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from build.recipe.load import load_recipe
from build.system.digest import hash_file
from tests.kit.macho_files import macho
from tests.kit.recipe_examples import TOOLS
from tests.rehearsal.repositories import commit_tree, git
from tests.rehearsal.web import Site

DAY = "2026-03-04"

DEPS = """\
# A comment; with a semicolon.
tiny;https://forge.invalid/a/tiny/archive/refs/tags/v{tiny_version}.zip;{tiny}
json;https://forge.invalid/b/json/archive/refs/tags/v3.11.3.zip;{json}
moved;https://old.invalid/moved/-/archive/{commit}/moved-{commit}.zip;{moved}
gtest;https://forge.invalid/c/gtest/archive/refs/tags/v1.zip;{unused}
windows;https://forge.invalid/d/windows/archive/refs/tags/v1.zip;{unused}
protoc_mac;https://forge.invalid/p/protobuf/releases/download/v21.12/protoc-21.12-osx.zip;{protoc}
kleidiai;https://forge.invalid/k/kleidiai/-/archive/v1.2.0/kleidiai-v1.2.0.zip;{kleidiai}
"""
COMMIT = "0123456789abcdef0123456789abcdef01234567"

LISTS = """\
cmake_minimum_required(VERSION {cmake})
option(onnxruntime_USE_COREML "Core ML (with a parenthesis)" OFF)
option(onnxruntime_BUILD_TESTS "Tests" ON)
option(onnxruntime_USE_KLEIDIAI "KleidiAI" OFF)
cmake_dependent_option(onnxruntime_SMALL "Small" ON "NOT onnxruntime_USE_COREML" OFF)
include(external/deps.cmake)
"""
EXTERNAL = """\
include(external/helper.cmake)
if(Patch_FOUND)
  set(TINY_PATCH ${Patch_EXECUTABLE} -p1 < ${PROJECT_SOURCE_DIR}/patches/tiny/tiny.patch &&
      # one for another system
      ${Patch_EXECUTABLE} -p1 < ${PROJECT_SOURCE_DIR}/patches/tiny/more.patch)
else()
  set(TINY_PATCH "")
endif()
onnxruntime_fetchcontent_declare(
  tiny
  URL ${DEP_URL_tiny}
  PATCH_COMMAND ${TINY_PATCH}
)
if(onnxruntime_USE_COREML AND NOT (WIN32 OR onnxruntime_SMALL))
  onnxruntime_fetchcontent_declare(nlohmann_json URL ${DEP_URL_json} EXCLUDE_FROM_ALL)
elseif(WIN32)
  include(windows)
endif()
if (onnxruntime_BUILD_TESTS)
  FetchContent_Declare(gtest URL ${DEP_URL_gtest})
endif()
if(NOT PROTOC_GIVEN)
  if(CMAKE_HOST_APPLE)
    onnxruntime_fetchcontent_declare(protoc_binary URL ${DEP_URL_protoc_mac})
  elseif(CMAKE_SYSTEM_NAME STREQUAL "Emscripten")
    onnxruntime_fetchcontent_declare(windows URL ${DEP_URL_windows})
  endif()
endif()
onnxruntime_fetchcontent_declare(moved URL ${DEP_URL_moved})
if(onnxruntime_USE_KLEIDIAI)
  onnxruntime_fetchcontent_declare(kleidiai URL ${DEP_URL_kleidiai})
endif()
"""
HELPER = """\
function(onnxruntime_fetchcontent_declare name)
  FetchContent_Declare(${ARGV})
  set(onnxruntime_BUILD_TESTS ON PARENT_SCOPE)
endfunction()
"""
WINDOWS = "onnxruntime_fetchcontent_declare(windows URL ${DEP_URL_windows})\n"
SCRIPT = """\
def arguments(parser):
    parser.add_argument("--config")
    parser.add_argument("--use_coreml", action="store_true")
    parser.add_argument("--use_tests", action="store_true", help="--no_such_flag")
{more}

def cmake_arguments(args):
    found = ["-Donnxruntime_BUILD_TESTS=" + ("ON" if args.use_tests else "OFF")]
    if args.use_coreml:
        found += ["-Donnxruntime_USE_COREML=ON"]
    return found
"""
PATCH = """\
--- a/tiny.h
+++ b/tiny.h
@@ -1,1 +1,1 @@
-int tiny();
+int tiny(void);
"""
MORE = PATCH.replace("tiny(", "more(").replace("tiny.h", "more.h")


@dataclass
class Upstream:
    """What stands behind the addresses, and the recipe of version 1.0.0."""

    folder: Path
    site: Site = field(default_factory=lambda: Site(direct=True))
    archives: dict[str, Path] = field(default_factory=dict)

    @property
    def repository(self) -> Path:
        return self.folder / "onnxruntime.git"

    @property
    def recipes(self) -> Path:
        return self.folder / "recipes"

    def archive(self, name: str, files: Mapping[str, str]) -> Path:
        path = self.folder / f"{name}.zip"
        with zipfile.ZipFile(path, "w") as zipped:
            for file, text in files.items():
                zipped.writestr(zipfile.ZipInfo(f"{name}-1/{file}"), text)
        return path

    def publish(
        self,
        version: str,
        *,
        flags: str = "",
        tiny: str = "1.0",
        protoc: str = "no licence",
        **texts: str,
    ) -> str:
        """Tag a tree; return its commit."""
        tree = self.folder / f"tree-{version}"
        archives = {
            "tiny": self.archive(
                f"tiny{tiny}",
                {"LICENSE": f"MIT {tiny}", "tiny.h": "int tiny();\n", "more.h": "int more();\n"},
            ),
            "json": self.archive("json", {"LICENSE.MIT": "json", "docs/LICENSE": "no"}),
            "moved": self.archive("moved", {"COPYING": "moved"}),
            "protoc": self.archive("protoc", {"readme.txt": protoc}),
            "kleidiai": self.archive("kleidiai", {"LICENSES/Apache-2.0.txt": "Apache License"}),
        }
        pins = {name: hash_file(path).sha1 for name, path in archives.items()}
        files = {
            "VERSION_NUMBER": f"{version}\n",
            "LICENSE": "MIT",
            "setup.py": 'setup(python_requires=">=3.10")',
            "cmake/CMakeLists.txt": LISTS.format(cmake="3.28"),
            "cmake/deps.txt": DEPS.format(
                **pins, tiny_version=tiny, commit=COMMIT, unused="0" * 40
            ),
            "cmake/external/deps.cmake": EXTERNAL,
            "cmake/external/helper.cmake": HELPER,
            "cmake/external/windows.cmake": WINDOWS,
            "cmake/patches/tiny/tiny.patch": PATCH,
            "cmake/patches/tiny/more.patch": MORE,
            "tools/ci_build/build.py": SCRIPT.format(more=flags),
            **texts,
        }
        for name, text in files.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(text, encoding="utf-8")
        if not self.repository.exists():
            commit_tree(tree, self.repository, day=DAY, as_it_is=False)
        else:
            where = ("--git-dir", str(self.repository), "--work-tree", str(tree))
            git(tree, *where, "add", "--all", "--force", ".")
            when = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), f"{DAY}T00:00:00+00:00")
            git(tree, *where, "commit", "--quiet", "--message", version, env=when)
        git(self.repository, "config", "uploadpack.allowReachableSHA1InWant", "true")
        git(self.repository, "tag", "--force", f"v{version}")
        shutil.rmtree(tree)
        self.archives = archives
        return git(self.repository, "rev-parse", "HEAD")

    def serve(self, base: str) -> None:
        """Give the site its addresses below ``base``, where a mirror leads."""
        tiny = {path.stem.removeprefix("tiny"): path for path in self.folder.glob("tiny*.zip")}
        named = {
            **{f"a/tiny/archive/refs/tags/v{v}.zip": path for v, path in tiny.items()},
            "b/json/archive/refs/tags/v3.11.3.zip": self.archives["json"],
            f"m/moved/archive/moved-{COMMIT}.zip": self.archives["moved"],
            "p/protobuf/releases/download/v21.12/protoc-21.12-osx.zip": self.archives["protoc"],
            "k/kleidiai/-/archive/v1.2.0/kleidiai-v1.2.0.zip": self.archives["kleidiai"],
        }
        host = urlsplit(base).netloc
        self.site.storage = {host: host}
        self.site.archives = {
            f"{base}forge/{path}": file for path, file in named.items() if file.exists()
        }
        self.site.repositories = {f"{base}forge/onnxruntime.git": self.repository}

    def wheel(self, release: str, tag: str, *, minos: str = "") -> Path:
        """Put an official wheel where pip looks for it."""
        folder = self.folder / "wheels"
        folder.mkdir(exist_ok=True)
        path = folder / f"onnxruntime-{release}-{tag}.whl"
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as zipped:
            library = macho(minos=minos) if minos else b"ELF"
            zipped.writestr("onnxruntime/capi/onnxruntime_pybind11_state.so", library)
        path.write_bytes(content.getvalue())
        return path

    def write_recipe(self, commit: str) -> Path:
        """Write what somebody wrote by hand for 1.0.0."""
        self.recipes.mkdir(exist_ok=True)
        lock = self.recipes / "tools" / "requirements.txt"
        lock.parent.mkdir(exist_ok=True)
        lock.write_text("# No tool is needed.\n")
        pins = {name: hash_file(path) for name, path in self.archives.items()}
        hashes = {
            f"{name}_{kind}": getattr(pin, kind)
            for name, pin in pins.items()
            for kind in ("sha1", "sha256")
        }
        hashes["lock"] = hash_file(lock).sha256
        file = self.recipes / "onnxruntime-1.0.0.toml"
        file.write_text(BY_HAND.format(tools=TOOLS, commit=commit, moved=COMMIT, day=DAY, **hashes))
        load_recipe(file, recipes=self.recipes)
        return file


BY_HAND = """\
# ONNX Runtime 1.0.0, by hand.

schema = 1
name = "onnxruntime"
version = "1.0.0"
summary = "a stand-in"
python = ["3.11"]
build_args = ["--config", "Release", "--use_coreml"]

[build_script]
path = "tools/ci_build/build.py"
flags = ["--config", "--use_coreml", "--use_tests"]

[source]
commit = "{commit}"
date = "{day}"
licence = "MIT"
licence_files = ["LICENSE"]
version_file = "VERSION_NUMBER"

[[source.origins]]
kind = "git"
url = "https://forge.invalid/onnxruntime.git"
commit = "{commit}"
tag = "v1.0.0"

[defines]
FETCHCONTENT_FULLY_DISCONNECTED = true

[tools]
lock = "tools/requirements.txt"
lock_sha256 = "{lock}"
{tools}
[platforms.linux-x86_64]
repair = "auditwheel"

[platforms.macos-arm64]
repair = "delocate"
minimum_os = "13.3"
compiler_minimum = {{ apple-clang = "13.3" }}     # no version of macOS

[platforms.macos-arm64.environment]
_PYTHON_HOST_PLATFORM = "macosx-13.3-arm64"

[[dependencies]]
name = "tiny"
version = "1.0"
licence = "MIT"
licence_files = ["LICENSE"]
patches = [
    {{ file = "cmake/patches/tiny/tiny.patch", upstream = true }},
    {{ file = "cmake/patches/tiny/more.patch", upstream = true }},
]

[[dependencies.origins]]
kind = "archive"
url = "https://forge.invalid/a/tiny/archive/refs/tags/v1.0.zip"
sha256 = "{tiny_sha256}"
sha1 = "{tiny_sha1}"

[[dependencies.origins]]
kind = "debian"
path = "pool/main/t/tiny.tar.gz"
size = 10
sha256 = "{json_sha256}"

[[dependencies]]
name = "json"
version = "3.11.3"
licence = "MIT"
licence_files = ["LICENSE.MIT"]
content = "nlohmann_json"

[[dependencies.origins]]
kind = "archive"
url = "https://forge.invalid/b/json/archive/refs/tags/v3.11.3.zip"
sha256 = "{json_sha256}"
sha1 = "{json_sha1}"

[[dependencies]]
name = "moved"
version = "3.4.0+01234567"
licence = "MPL-2.0"
licence_files = ["COPYING"]

[[dependencies.origins]]
kind = "archive"
url = "https://forge.invalid/m/moved/archive/moved-{moved}.zip"
sha256 = "{moved_sha256}"
sha1 = "{moved_sha1}"
note = "the mirror whose bytes stayed"

[[dependencies]]
name = "protoc_mac"
version = "21.12"
licence = "BSD-3-Clause"
licence_files = []
content = "protoc_binary"
platforms = ["macos-arm64"]
hosts = ["macos-arm64"]

[[dependencies.origins]]
kind = "archive"
url = "https://forge.invalid/p/protobuf/releases/download/v21.12/protoc-21.12-osx.zip"
sha256 = "{protoc_sha256}"
sha1 = "{protoc_sha1}"
"""
