"""What the machine brings: compilers by what they answer, cores, memory, disk."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build.errors import ResourceError, ToolchainError
from build.recipe.format import Platform
from build.toolchain.compiler import GIB, check_cmake, check_disk, find_compiler, parallel_jobs

LINUX = Platform(repair="auditwheel", compiler_minimum={"gcc": "11.1", "clang": "14.0"})
Usage = namedtuple("Usage", "total used free")


def program(folder: Path, name: str, answer: str, *, status: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\nexit {status}\n")
    path.chmod(0o755)
    return path


def machine(folder: Path, answer: str, *names: str) -> dict[str, str]:
    for name in names or ("cc", "c++"):
        program(folder / "bin", name, answer)
    # cat is all that the stand-ins need.
    return {"PATH": f"{folder / 'bin'}:/usr/bin:/bin"}


@pytest.mark.parametrize(
    ("answer", "family", "version"),
    [
        ("c++ (Debian 12.2.0-14+deb12u1) 12.2.0\nCopyright", "gcc", "12.2.0"),
        ("g++ (Ubuntu 11.4.0-1ubuntu1~22.04) 11.4.0", "gcc", "11.4.0"),
        ("g++ (GCC) 14.2.1 20240912 (Red Hat 14.2.1-3)", "gcc", "14.2.1"),
        ("g++-13 (SUSE Linux) 13.3.0", "gcc", "13.3.0"),
        ("x86_64-conda-linux-gnu-c++ (conda-forge gcc 13.2.0-5) 13.2.0", "gcc", "13.2.0"),
        ("Debian clang version 14.0.6\nTarget: x86_64-pc-linux-gnu", "clang", "14.0.6"),
        ("Ubuntu clang version 18.1.3 (1ubuntu1)", "clang", "18.1.3"),
        ("clang version 19.1.0 (https://forge.invalid/llvm 0123abc)", "clang", "19.1.0"),
        ("Apple clang version 15.0.0 (clang-1500.3.9.4)\nTarget: arm64", "apple-clang", "15.0.0"),
    ],
)
def test_a_compiler_is_known_by_its_answer(
    tmp_path: Path, answer: str, family: str, version: str
) -> None:
    found = find_compiler(machine(tmp_path, answer), LINUX)
    assert (found.family, found.version) == (family, version)
    assert found.identity == answer.splitlines()[0]
    assert found.cxx == tmp_path / "bin" / "c++"
    assert found.c == tmp_path / "bin" / "cc"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("g++ (GCC) 9.4.0", "is gcc 9.4.0; the recipe needs gcc 11.1 or newer"),
        ("clang version 13.0.1", "is clang 13.0.1; the recipe needs clang 14.0 or newer"),
    ],
)
def test_an_old_compiler_is_refused(tmp_path: Path, answer: str, said: str) -> None:
    with pytest.raises(ToolchainError, match=said) as caught:
        find_compiler(machine(tmp_path, answer), LINUX)
    assert "CC and CXX" in caught.value.hint


def test_versions_are_compared_as_numbers(tmp_path: Path) -> None:
    env = machine(tmp_path, "g++ (GCC) 11.10.0")
    assert find_compiler(env, LINUX).version == "11.10.0"


def test_no_compiler(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match=r"there is no C\+\+ compiler on the PATH") as caught:
        find_compiler({"PATH": str(tmp_path)}, LINUX)
    assert "g++" in caught.value.hint


def test_cxx_and_cc_win(tmp_path: Path) -> None:
    env = machine(tmp_path, "g++ (GCC) 12.2.0")
    other = program(tmp_path / "opt", "g++-14", "g++-14 (GCC) 14.1.0")
    beside = program(tmp_path / "opt", "gcc-14", "gcc-14 (GCC) 14.1.0")
    found = find_compiler(env | {"CXX": str(other)}, LINUX)
    # Not the cc of the PATH, which is another compiler.
    assert (found.cxx, found.c, found.version) == (other, beside, "14.1.0")
    found = find_compiler(env | {"CXX": str(other), "CC": "cc"}, LINUX)
    assert found.c == tmp_path / "bin" / "cc"
    with pytest.raises(ToolchainError, match="CXX=g4 is not a program on the PATH"):
        find_compiler(env | {"CXX": "g4"}, LINUX)


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [("", 0, "does not say which compiler"), ("x", 0, "which compiler"), ("1.2.3", 1, "answer")],
)
def test_a_compiler_that_answers_nothing_of_use(
    tmp_path: Path, answer: str, status: int, said: str
) -> None:
    program(tmp_path / "bin", "cc", answer)
    program(tmp_path / "bin", "c++", answer, status=status)
    env = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    with pytest.raises(ToolchainError, match=said):
        find_compiler(env, LINUX)


def test_cmake_is_asked_for_its_version() -> None:
    assert check_cmake("cmake version 3.31.10\n\nCMake suite", "3.28") == "3.31.10"
    assert check_cmake("warning\ncmake version 4.0.1", "3.28") == "4.0.1"
    with pytest.raises(ToolchainError, match=r"CMake 3\.9\.6 is too old; .* needs 3\.28") as old:
        check_cmake("cmake version 3.9.6", "3.28")
    assert "tools.cmake" in old.value.hint
    for answer in ("", "command not found", "cmake version unknown"):
        with pytest.raises(ToolchainError, match="does not answer like CMake"):
            check_cmake(answer, "3.28")


@given(cores=st.integers(1, 512), memory=st.integers(0, 4096 * GIB))
def test_jobs_fit_cores_and_memory_and_are_at_least_one(cores: int, memory: int) -> None:
    jobs = parallel_jobs(cores=cores, memory=memory)
    assert 1 <= jobs <= cores
    assert jobs == 1 or jobs * 1.5 * GIB <= memory
    # One more would be too many.
    assert jobs == cores or (jobs + 1) * 1.5 * GIB > memory


def test_jobs_of_this_machine() -> None:
    assert parallel_jobs() >= 1


def test_disk_is_checked_where_the_folder_will_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def usage(place: Path) -> Usage:
        asked.append(place)
        return Usage(100 * GIB, 98 * GIB, 2 * GIB)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    folder = tmp_path / "not" / "yet"
    with pytest.raises(ResourceError, match=r"2\.0 GiB free; the build needs 3\.0 GiB") as caught:
        check_disk(folder)
    assert asked == [tmp_path]
    assert str(folder) in caught.value.problem
    assert "ORTMILL_CACHE" in caught.value.hint
    check_disk(folder, already=GIB)
    check_disk(folder, needed=2 * GIB)
    with pytest.raises(ResourceError):
        check_disk(folder, already=GIB - 1)
