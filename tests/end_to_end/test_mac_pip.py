"""The platform tag of a wheel for macOS, asked of pip itself for several versions of macOS."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.build.package.test_mac_wheel import VERSION, finish, raw_wheel

pytestmark = pytest.mark.integration


def pip_takes(wheels: Path, into: Path, platform: str, python: str = "311") -> bool:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check"),
            *("download", "--no-deps", "--no-index", "--find-links", str(wheels)),
            *("--only-binary=:all:", "--python-version", python, "--implementation", "cp"),
            *("--abi", f"cp{python}", "--platform", platform, "--dest", str(into)),
            f"onnxruntime=={VERSION}",
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    taken = done.returncode == 0
    assert taken == bool(list(into.glob("*.whl"))), done.stdout + done.stderr
    assert taken or "No matching distribution" in done.stderr, done.stderr
    return taken


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    finish(raw_wheel(tmp_path_factory.mktemp("raw")), folder)
    return folder


@pytest.mark.parametrize(
    ("platform", "taken"),
    [
        ("macosx_14_0_arm64", True),
        ("macosx_15_5_arm64", True),
        ("macosx_26_0_arm64", True),
        ("macosx_13_0_arm64", False),
        # It would work there, but pip knows no minor version: the price of an honest tag.
        ("macosx_13_6_arm64", False),
        ("macosx_12_0_arm64", False),
        ("macosx_14_0_x86_64", False),
        ("manylinux_2_35_aarch64", False),
    ],
)
def test_pip_takes_it_where_it_works_and_nowhere_else(
    wheels: Path, tmp_path: Path, platform: str, taken: bool
) -> None:
    assert pip_takes(wheels, tmp_path, platform) is taken


def test_pip_does_not_take_it_for_another_python(wheels: Path, tmp_path: Path) -> None:
    assert not pip_takes(wheels, tmp_path, "macosx_14_0_arm64", python="312")
