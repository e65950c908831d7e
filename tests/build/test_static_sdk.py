"""The static SDK: what is merged, with what, and when it is refused."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from build.errors import ToolchainError, UsageError
from build.recipe.format import PlatformName
from build.static_sdk import SYSTEM, _archiver, linked_archives, merge

NINJA = """\
build libonnxruntime_lora.a: CXX_STATIC_LIBRARY_LINKER__onnxruntime_lora_Release lora.o
  LINK_LIBRARIES = wrong.a

build libonnxruntime.so.1.21.0: CXX_SHARED_LIBRARY_LINKER__onnxruntime_Release generated.o | a.a
  LINK_FLAGS = -Wl,--gc-sections
  LINK_LIBRARIES = libonnxruntime_session.a  _deps/b/libb.a  -ldl  libonnxruntime_session.a  -lrt

build libother.so: CXX_SHARED_LIBRARY_LINKER__other_Release o.o
  LINK_LIBRARIES = other.a
"""


def test_the_archives_are_those_of_the_shared_librarys_own_link_line() -> None:
    wanted = ["libonnxruntime_session.a", "_deps/b/libb.a"]
    assert linked_archives(NINJA) == wanted
    mac = NINJA.replace("libonnxruntime.so.1.21.0", "libonnxruntime.1.21.0.dylib")
    assert linked_archives(mac) == wanted


def test_a_tree_without_that_rule_is_refused() -> None:
    with pytest.raises(UsageError, match="no rule for the shared library"):
        linked_archives(NINJA.replace("libonnxruntime.so", "libsomething.so"))


@pytest.mark.parametrize(
    ("cache", "program"),
    [
        ("CMAKE_AR:FILEPATH=/usr/bin/ar\nX=1\n", "/usr/bin/ar"),
        ("CMAKE_C_COMPILER_AR:FILEPATH=/usr/bin/llvm-ar\n", "/usr/bin/llvm-ar"),
    ],
)
def test_the_archiver_is_the_builds_own(cache: str, program: str) -> None:
    assert _archiver(cache) == program


@pytest.mark.parametrize(
    "cache", ["", "CMAKE_AR:FILEPATH=/Library/Developer/CommandLineTools/usr/bin/ar\n"]
)
def test_apples_archiver_is_refused(cache: str) -> None:
    with pytest.raises(UsageError, match="on a Mac"):
        _archiver(cache)


@pytest.mark.parametrize("platform", ["linux-x86_64", "linux-aarch64"])
def test_the_link_line_gives_a_program_no_executable_stack(platform: PlatformName) -> None:
    """One object of the real archive lacks the note that says it needs none."""
    assert "-Wl,-z,noexecstack" in SYSTEM[platform].split()


@pytest.mark.integration
def test_members_of_the_same_name_are_kept_and_the_bytes_are_the_same_again(
    tmp_path: Path,
) -> None:
    ar, compiler = shutil.which("ar"), shutil.which("cc")
    assert ar, "the tests need an archiver, as the build does"
    assert compiler, "the tests need a compiler, as the build does"
    made = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "same.c").write_text(f"int {name}(void) {{ return 1; }}\n")
        subprocess.run([compiler, "-c", "same.c"], cwd=folder, check=True)
        subprocess.run([ar, "qc", "lib.a", "same.o"], cwd=folder, check=True)
        made.append(folder / "lib.a")
    merged = merge(ar, made)
    assert merge(ar, made) == merged
    (tmp_path / "merged.a").write_bytes(merged)
    (tmp_path / "main.c").write_text(
        "int first(void); int second(void); int main(void) { return first() + second() - 2; }\n"
    )
    program = tmp_path / "program"
    subprocess.run(
        [compiler, tmp_path / "main.c", tmp_path / "merged.a", "-o", program], check=True
    )
    subprocess.run([program], check=True)


def test_an_archiver_that_cannot_merge_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="false -M could not merge"):
        merge("/bin/false", [tmp_path / "a.a"])
