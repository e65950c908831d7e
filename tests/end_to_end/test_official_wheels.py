"""Real official wheels, each held to what it promises itself: no verdict of ours on others' taste.

The wheels are those in the folder that ``ORTMILL_OFFICIAL_WHEELS`` names, or what runs have fetched
into ``.work/official``. No test here fetches one: ``pip download onnxruntime==VERSION`` does.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from verify.elf.promises import check_promise, check_standards
from verify.environment.promise import is_own, read_promise
from verify.macho import archive, layout, load_commands, objc, signature, standards, symbols
from verify.macho.binaries import read_binaries

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
FOLDER = os.environ.get("ORTMILL_OFFICIAL_WHEELS")
WHEELS = sorted(Path(FOLDER).glob("*.whl") if FOLDER else ROOT.glob(".work/official/*/*.whl"))
LINUX = [path for path in WHEELS if read_promise(path.name).system == "linux"]
MACOS = [path for path in WHEELS if read_promise(path.name).system == "macos"]


def named(path: Path) -> str:
    return path.name


@pytest.mark.skipif(not WHEELS, reason="LOUD: no official wheel here, so none was judged")
def test_there_is_one() -> None:
    assert all(not is_own(path, described=False) for path in WHEELS)


@pytest.mark.parametrize("path", LINUX, ids=named)
def test_a_linux_wheel_keeps_its_promise_and_not_our_standards(path: Path) -> None:
    promise = read_promise(path.name)
    result = check_promise(path, promise).result()
    assert result.status == "passed", result.summary
    assert check_standards(path, promise, None).result().status == "failed"


@pytest.mark.parametrize("path", MACOS, ids=named)
def test_a_macos_wheel_keeps_its_promise_and_not_our_standards(path: Path) -> None:
    promise, read = read_promise(path.name), read_binaries(path)
    for outcome in (
        load_commands.check_load_commands(read, None, promise),
        objc.check_objc(read, None),
        symbols.check_exports(read, None),
        layout.check_layout(read, None),
        signature.check_signatures(read.images),
        archive.check_archive(read, promise),
    ):
        assert outcome.result().status == "passed", outcome.problems
    assert standards.check_standards(read, promise, None).result().status == "failed"
