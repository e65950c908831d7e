"""Real wheels under the real emulator: the built aarch64 wheel, and a wheel with a wrong kernel.

The pinned Debian packages and wheels are fetched when the cache lacks them, hence `network`.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from build.fetch.cache import ContentCache, default_cache_root
from tests.emulation.cases import make_kernel_cases, run_cases
from tests.emulation.instructions import read_trace
from tests.emulation.judging import judge_instructions, judge_kernels
from tests.emulation.pins import read_pins
from tests.emulation.qemu import PROFILES, REPOSITORY, Profile
from tests.emulation.root import Emulator, ensure_root
from tests.emulation.wheels import LOCK, OFFICIAL_LOCK, install_locked

pytestmark = [
    pytest.mark.integration,
    pytest.mark.network,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(
        (sys.platform, platform.machine()) != ("linux", "x86_64"),
        reason="the pinned emulator runs on linux on x86_64 alone",
    ),
]

DOTPROD, I8MM = PROFILES
SMMLA_TO_UMMLA = (0x4E80A400, 0x6E80A400)


def test_the_built_aarch64_wheel_computes_right() -> None:
    wheels = sorted((REPOSITORY / "wheels").glob("onnxruntime-*_aarch64.whl"))
    if not wheels:
        pytest.skip("NOT SHOWN: wheels/ holds no linux-aarch64 wheel (`nox -s build` makes one)")
    done = subprocess.run(
        [sys.executable, "-m", "tests.emulation.run", str(wheels[-1])], cwd=REPOSITORY, check=False
    )
    assert done.returncode == 0


@pytest.fixture(scope="module")
def emulator() -> Emulator:
    return ensure_root(read_pins(), ContentCache(default_cache_root(os.environ)), os.environ, print)


@pytest.fixture(scope="module")
def sites() -> tuple[Path, Path]:
    cache = ContentCache(default_cache_root(os.environ))
    return (
        install_locked(OFFICIAL_LOCK, cache, os.environ, print),
        install_locked(LOCK, cache, os.environ, print),
    )


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kernels")
    make_kernel_cases(folder)
    return folder


@pytest.fixture
def wrong_site(sites: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The official wheel with its signed matrix product taken for the unsigned one."""
    official, needed = sites
    copy = tmp_path / "site"
    subprocess.run(["cp", "-r", str(official), str(copy)], check=True)
    (library,) = (copy / "onnxruntime" / "capi").glob("onnxruntime_pybind11_state*.so")
    code = bytearray(library.read_bytes())
    old, new = SMMLA_TO_UMMLA
    changed = 0
    for at in range(0, len(code) - 3, 4):
        word = int.from_bytes(code[at : at + 4], "little")
        if word & 0xFFE0FC00 == old:
            code[at : at + 4] = (word & ~0xFFE0FC00 | new).to_bytes(4, "little")
            changed += 1
    assert changed > 10
    library.write_bytes(code)
    return copy, needed


def run_products(
    emulator: Emulator, profile: Profile, site: tuple[Path, ...], products: Path, work: Path
) -> tuple[str, str]:
    trace = work / f"{profile.name}.in_asm"
    results = run_cases(
        emulator, profile, site=site, cases=products, journal=work / f"{profile.name}.jsonl",
        label="wheel", say=print, trace=trace,
    )  # fmt: skip
    return (
        judge_kernels(profile, results).status,
        judge_instructions(profile, read_trace(trace), None).status,
    )


def test_the_official_wheel_is_exact(
    emulator: Emulator, sites: tuple[Path, Path], products: Path, tmp_path: Path
) -> None:
    for profile in PROFILES:
        assert run_products(emulator, profile, sites, products, tmp_path) == ("passed", "passed")


def test_one_wrong_instruction_is_caught_where_it_runs(
    emulator: Emulator, wrong_site: tuple[Path, Path], products: Path, tmp_path: Path
) -> None:
    assert run_products(emulator, I8MM, wrong_site, products, tmp_path) == ("failed", "failed")
    # This processor has no such instruction: another kernel runs, which is whole.
    assert run_products(emulator, DOTPROD, wrong_site, products, tmp_path)[0] == "passed"
