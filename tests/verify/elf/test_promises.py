"""A Linux wheel held to its tags, and ours to our standards."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.kit.elf_files import NAME, elf, wheel
from verify.elf.library import ElfUnreadable, read_library
from verify.elf.promises import check_promise, check_standards
from verify.environment.promise import read_promise

EXTENSION = "onnxruntime/capi/onnxruntime_pybind11_state.so"


def problems(path: Path) -> str:
    return "; ".join(check_promise(path, read_promise(path.name)).problems)


def standards(path: Path, manifest: Mapping[str, Any] | None = None) -> str:
    return "; ".join(check_standards(path, read_promise(path.name), manifest).problems)


def test_what_stands_in_a_library() -> None:
    found = read_library(
        elf(
            versions={"libc.so.6": ["GLIBC_2.28", "GLIBC_2.2.5"], "libm.so.6": ["GLIBC_2.27"]},
            needed=("libm.so.6", "libc.so.6"),
            runpath="$ORIGIN:/opt/lib",
        ),
        "x.so",
    )
    assert found.machine == "x86_64"
    assert found.needed == ("libm.so.6", "libc.so.6")
    assert found.rpaths == ("$ORIGIN", "/opt/lib")
    assert set(found.versions) == {
        ("libc.so.6", "GLIBC_2.28"), ("libc.so.6", "GLIBC_2.2.5"), ("libm.so.6", "GLIBC_2.27"),
    }  # fmt: skip
    assert "PyInit_onnxruntime_pybind11_state" in found.exports
    assert (found.relro, found.executable_stack, found.stripped) == (True, False, True)


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"MZ" * 80, elf()[:-40]])
def test_what_is_no_library_is_an_error(data: bytes) -> None:
    with pytest.raises(ElfUnreadable):
        read_library(data, "x.so")


@example([(17, 1)])  # a kind of file that there is not: lief raises SystemError
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4))
@settings(max_examples=60, deadline=None)
def test_damage_is_an_error_or_a_library(changes: list[tuple[int, int]]) -> None:
    data = bytearray(elf())
    for at, value in changes:
        data[at] = value
    try:
        assert read_library(bytes(data), "x.so").name == "x.so"
    except ElfUnreadable:
        return


def test_a_sound_wheel_keeps_its_promise(tmp_path: Path) -> None:
    path = wheel(tmp_path)
    result = check_promise(path, read_promise(path.name)).result()
    assert result.status == "passed", result.summary
    assert "glibc 2.28 by the tag, the libraries ask for 2.17" in result.summary
    assert standards(path) == ""


@pytest.mark.parametrize(
    ("library", "said"),
    [
        (elf(machine="aarch64"), "is for aarch64, the tag for x86_64"),
        (elf(versions={"libc.so.6": ["GLIBC_2.29"]}), "GLIBC_2.29, newer than the 2.28"),
        (elf(versions={"libstdc++.so.6": ["GLIBCXX_3.4.29"]}), "newer than the 3.4.24"),
        (elf(versions={"libstdc++.so.6": ["CXXABI_1.3.13"]}), "newer than the 1.3.11"),
        (elf(needed=("libcudart.so.12",)), "needs libcudart.so.12, which is neither"),
        (elf(exports=("other",)), "does not export PyInit"),
    ],
)
def test_promises_that_are_broken(tmp_path: Path, library: bytes, said: str) -> None:
    assert said in problems(wheel(tmp_path, {EXTENSION: library}))


@pytest.mark.parametrize(
    "library",
    [
        elf(versions={"libc.so.6": ["GLIBC_2.28"]}),
        elf(versions={"libstdc++.so.6": ["GLIBCXX_3.4.24"]}),
        elf(needed=("ld-linux-x86-64.so.2", "libstdc++.so.6")),
        elf(stack=7),
        elf(now=False),
        elf(text=b"/home/me/src/onnxruntime\0"),
        elf(runpath="/opt/lib"),
    ],
)
def test_what_no_tag_forbids_is_no_broken_promise(tmp_path: Path, library: bytes) -> None:
    assert problems(wheel(tmp_path, {EXTENSION: library})) == ""


def test_the_oldest_of_several_tags_counts(tmp_path: Path) -> None:
    library = elf(versions={"libc.so.6": ["GLIBC_2.28"]})
    both = NAME.replace("_2_28_", "_2_27_").replace(".whl", ".manylinux_2_28_x86_64.whl")
    found = problems(wheel(tmp_path, {EXTENSION: library}, name=both))
    assert "newer than the 2.27" in found
    bare = NAME.replace("manylinux_2_28_", "linux_")
    assert problems(wheel(tmp_path, {EXTENSION: library}, name=bare)) == ""


def test_a_library_may_lie_in_the_wheel(tmp_path: Path) -> None:
    needing = elf(needed=("libomp.so.5",), runpath="$ORIGIN/../../onnxruntime.libs")
    inside = {"onnxruntime.libs/libomp.so.5": elf(exports=("omp",))}
    assert problems(wheel(tmp_path / "a", {EXTENSION: needing, **inside})) == ""
    assert "needs libomp.so.5" in problems(wheel(tmp_path / "b", {EXTENSION: needing}))


def test_an_extension_of_another_python(tmp_path: Path) -> None:
    other = EXTENSION.replace(".so", ".cpython-312-x86_64-linux-gnu.so")
    path = wheel(tmp_path, {EXTENSION: None, other: elf()})
    assert "is for another Python than cp311" in problems(path)
    right = other.replace("312", "311")
    assert problems(wheel(tmp_path / "b", {EXTENSION: None, right: elf()})) == ""
    assert "no Python extension" in problems(wheel(tmp_path / "c", {EXTENSION: None}))


def test_the_archive_counts(tmp_path: Path) -> None:
    info = "onnxruntime-1.30.0.dist-info"
    older = b"Metadata-Version: 2.1\nName: onnxruntime\nVersion: 1.29.0\n"
    assert "METADATA says version 1.29.0, the name 1.30.0" in problems(
        wheel(tmp_path / "a", {f"{info}/METADATA": older})
    )
    path = wheel(tmp_path / "b")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("onnxruntime/more.py", b"")
    assert "onnxruntime/more.py is not in RECORD" in problems(path)


@pytest.mark.parametrize(
    ("library", "said"),
    [
        (elf(stack=7), "has an executable stack"),
        (elf(now=False), "leaves its relocations writable"),
        (elf(text_relocations=True), "text relocations"),
        (elf(runpath="/opt/lib"), "looks for libraries in /opt/lib"),
        (elf(text=b"/home/me/src/onnxruntime\0"), "build paths, such as /home/me/src"),
    ],
)
def test_our_own_standards(tmp_path: Path, library: bytes, said: str) -> None:
    assert said in standards(wheel(tmp_path, {EXTENSION: library}))


def test_our_own_wheels_are_as_the_manifest_says_and_name_a_glibc(tmp_path: Path) -> None:
    path = wheel(tmp_path)
    with zipfile.ZipFile(path) as archive:
        files = {n: hashlib.sha256(archive.read(n)).hexdigest() for n in archive.namelist()}
    assert standards(path, {"wheel": {"files": files}}) == ""
    files[EXTENSION] = "0" * 64
    assert "1 files differ from the manifest" in standards(path, {"wheel": {"files": files}})
    bare = wheel(tmp_path / "b", name=NAME.replace("manylinux_2_28_", "linux_"))
    assert "promises no glibc" in standards(bare)
