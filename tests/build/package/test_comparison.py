"""Our wheel beside the official one, on wheels whose libraries are weak or strong on purpose."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from build.package.comparison import inspect_wheels
from tests.build.binary.test_elf_real import STRONG, build

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="makes ELF files with a Linux toolchain"),
]

STATE = "onnxruntime/capi/onnxruntime_pybind11_state"


def wheel(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr("onnxruntime-1.21.0.dist-info/RECORD", "")
    return path


@pytest.fixture(scope="module")
def strong(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return build(tmp_path_factory.mktemp("strong"), *STRONG).read_bytes()


def official(folder: Path, strong: bytes) -> Path:
    return wheel(
        folder / "official.whl", {f"{STATE}.cpython-311-x86_64-linux-gnu.so": strong, "a.py": b"1"}
    )


def test_an_equal_wheel_has_no_fault(tmp_path: Path, strong: bytes) -> None:
    ours = wheel(tmp_path / "ours.whl", {f"{STATE}.so": strong, "a.py": b"1"})
    found = inspect_wheels(ours, official(tmp_path, strong))
    assert found.faults == []
    assert found.binaries == 1
    assert {each.explanation is None for each in found.differences} == {False}


def test_a_missing_and_an_extra_file_are_faults(tmp_path: Path, strong: bytes) -> None:
    ours = wheel(tmp_path / "ours.whl", {f"{STATE}.so": strong, "b.py": b"1"})
    found = inspect_wheels(ours, official(tmp_path, strong))
    assert found.faults == [
        "a.py is only in the official wheel",
        "b.py is only in our wheel",
    ]


def test_a_weaker_library_is_a_fault_under_its_name(tmp_path: Path, strong: bytes) -> None:
    weak = build(tmp_path, "-O2", "-Wl,-z,execstack", name="weak.so").read_bytes()
    ours = wheel(tmp_path / "ours.whl", {f"{STATE}.so": weak, "a.py": b"1"})
    faults = inspect_wheels(ours, official(tmp_path, strong)).faults
    assert f"{STATE}.so: its stack is executable" in faults
