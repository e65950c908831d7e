"""The readers of Mach-O on the official 1.21.0 macOS wheel, and on our own where one was built.

The official wheel is the pinned one, in ``.work/official`` after a run of ``python -m verify run``
on our macOS wheel, or wherever ``ORTMILL_OFFICIAL_MACOS`` says. No test here fetches it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from verify.checks.wheel_bytes import EXPLAINED
from verify.encoder.model_recipe import file_sha256
from verify.environment.promise import read_promise
from verify.macho import archive, layout, objc, signature, standards, symbols
from verify.macho import load_commands as load
from verify.macho.binaries import Binaries, read_binaries
from verify.macho.image import Image
from verify.macho.published_symbols import load_published
from verify.policy.findings import compare_all, load_explanations
from verify.policy.limits import wheel_kind

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def official() -> Binaries:
    recipe = tomllib.loads((ROOT / "recipes/onnxruntime-1.21.0.toml").read_text(encoding="utf-8"))
    pin = recipe["platforms"]["macos-arm64"]["official"]
    named = os.environ.get("ORTMILL_OFFICIAL_MACOS")
    known = [Path(named)] if named else sorted(ROOT.glob(f".work/official/*/{pin['file']}"))
    path = next((each for each in known if each.is_file()), None)
    if path is None or file_sha256(path) != pin["sha256"]:
        pytest.skip(f"LOUD: no {pin['file']} here, so no real Mach-O wheel was read")
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
    promise = read_promise("onnxruntime-1.21.0-cp311-cp311-macosx_13_3_arm64.whl")
    for outcome in (
        load.check_load_commands(official, official, promise),
        symbols.check_imports(official, official, load_published((13, 3)), promise),
        symbols.check_exports(official, official),
        objc.check_objc(official, official),
    ):
        assert outcome.problems == []
        assert outcome.differences == []


def test_what_we_ask_of_our_own_wheels_alone(official: Binaries) -> None:
    promise = read_promise(official.wheel.name)
    assert load.check_load_commands(official, None, promise).problems == []
    assert archive.check_archive(official, promise).problems == []
    problems = " ".join(standards.check_standards(official, promise, None).problems)
    assert "x86_64, arm64, not arm64 alone" in problems
    assert "build paths, such as /Users/runner" in problems
    assert "it is not stripped" in problems


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
    promise = read_promise(ours.wheel.name)
    outcomes = [
        load.check_load_commands(ours, official, promise),
        symbols.check_imports(ours, official, load_published((13, 3)), promise),
        objc.check_objc(ours, official),
        symbols.check_exports(ours, official),
        layout.check_layout(ours, official),
        signature.check_signatures(ours.images),
        archive.check_archive(ours, promise),
        standards.check_standards(ours, promise, None),
    ]
    for outcome in outcomes:
        result = outcome.result()
        assert result.status == "passed", result.summary
    compared = compare_all("macho.official", outcomes, load_explanations(EXPLAINED, "1.21.0"))
    assert compared.status == "passed", compared.summary
