"""The readers of Mach-O on the official 1.21.0 macOS wheel, and on our own where one was built.

The official wheel is the pinned one, in ``.work/official-macos`` after a run of
``python -m verify run WHEEL --policy macos-arm64-cross``, or wherever ``ORTMILL_OFFICIAL_MACOS``
says. No test here fetches it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from verify.encoder.model_recipe import file_sha256
from verify.environment.venv import OFFICIAL_MACOS
from verify.macho import layout, objc, signature, symbols
from verify.macho import load_commands as load
from verify.macho.binaries import Binaries, read_binaries
from verify.macho.findings import load_explanations
from verify.macho.image import Image
from verify.macho.published_symbols import load_published
from verify.policy.limits import wheel_kind

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def official() -> Binaries:
    named = os.environ.get("ORTMILL_OFFICIAL_MACOS")
    path = Path(named) if named else ROOT / ".work" / "official-macos" / OFFICIAL_MACOS.file
    if not path.is_file() or file_sha256(path) != OFFICIAL_MACOS.sha256:
        pytest.skip(f"LOUD: no {OFFICIAL_MACOS.file} here, so no real Mach-O wheel was read")
    return read_binaries(path)


@pytest.fixture(scope="module")
def ours() -> Binaries:
    manifest = ROOT / "wheels" / "macos-arm64" / "manifest.json"
    content = json.loads(manifest.read_text(encoding="utf-8")) if manifest.is_file() else {}
    name = content.get("wheel", {}).get("file", "")
    if wheel_kind(name) != "macos-arm64":
        pytest.skip("LOUD: wheels/macos-arm64 holds no wheel, so none of ours was judged")
    return read_binaries(manifest.parent / name)


def test_the_official_signatures_hold(official: Binaries) -> None:
    for image in official.images:
        problems, facts = signature.verify_signature(image)
        assert problems == []
        assert facts["pages"] > 6000


def test_the_official_calls_are_all_read_back(official: Binaries) -> None:
    for image in official.images:
        use = objc.read_use(image)
        assert objc.rules(use) == []
        assert len(use.selectors) == 41
        assert use.profiles["setComputeUnits:"].numbers == {0: frozenset({0, 1, 2, 3})}
        made = use.profiles["initWithDataPointer:shape:dataType:strides:deallocator:error:"]
        assert made.numbers == {2: frozenset({65552, 65568, 131104})}
        assert use.strings == {"onnxruntime-", "compiled_model.mlmodelc", "%s"}
        assert use.blocks == ("v16@?0^v8", "v24@?0r^v8q16")


def test_the_official_wheel_differs_from_itself_in_nothing(official: Binaries) -> None:
    for outcome in (
        symbols.check_imports(official, official, load_published()),
        symbols.check_exports(official, official),
        objc.check_objc(official, official),
    ):
        assert outcome.problems == []
        assert outcome.differences == []


def test_what_we_do_not_forgive_the_official_wheel(official: Binaries) -> None:
    problems = " ".join(load.check_load_commands(official, official).problems)
    assert "x86_64, arm64, not arm64 alone" in problems
    assert "build paths, such as /Users/runner" in problems
    assert "it is not stripped" in " ".join(layout.check_layout(official, official).problems)


@pytest.mark.skipif(shutil.which("llvm-nm") is None, reason="no llvm-nm to compare with")
def test_another_reader_sees_the_same_symbols(official: Binaries, tmp_path: Path) -> None:
    def listed(image: Image, *options: str) -> set[str]:
        path = tmp_path / Path(image.name).name
        path.write_bytes(image.data)
        done = subprocess.run(
            ["llvm-nm", "--extern-only", "--just-symbol-name", *options, str(path)],
            capture_output=True,
            text=True,
            check=True,
        )
        return set(done.stdout.split())

    for image in official.images:
        assert listed(image, "--defined-only") == image.exports
        assert listed(image, "--undefined-only") == image.imports.keys()


def test_our_wheel_has_no_unexplained_difference(ours: Binaries, official: Binaries) -> None:
    explanations = load_explanations()
    for outcome in (
        load.check_load_commands(ours, official),
        symbols.check_imports(ours, official, load_published()),
        objc.check_objc(ours, official),
        symbols.check_exports(ours, official),
        layout.check_layout(ours, official),
        signature.check_signatures(ours.images),
    ):
        result = outcome.result(explanations)
        assert result.status == "passed", result.summary
