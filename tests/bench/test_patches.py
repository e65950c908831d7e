"""The bench of the patches in its parts: whose a test is, and when a patch is not as it must be."""

from __future__ import annotations

from pathlib import Path

import pytest

from build.tree.patch import apply_patch
from tests.bench.patches import APPLES, TESTS, Cost, failing, owner, wrong
from tests.kit.patches import FOLDER, mending, taken_back, touched
from tests.kit.recipe_examples import ROOT, shipped
from tests.rehearsal.commands import Failed

NAMES = list(mending(shipped()))
GATHER, CACHE = "coreml-gather", "coreml-model-cache"


def test_every_test_of_the_patches_is_about_one_of_them_and_each_has_one() -> None:
    tests = [
        line.split("(")[0].removeprefix("def ")
        for line in (ROOT / TESTS).read_text(encoding="utf-8").splitlines()
        if line.startswith("def test_")
    ]
    owners = {test: owner(f"{test}[a-b]", NAMES) for test in tests}
    assert all(owners.values()), owners
    assert set(owners.values()) == {name for name in NAMES if name != APPLES}


def test_a_patch_is_as_it_must_be_when_its_own_tests_alone_fail() -> None:
    results = {"test_coreml_gather[look-up]": True, "test_coreml_model_cache_knows": False}
    assert wrong(GATHER, results, NAMES) == []
    (problem,) = wrong(GATHER, dict.fromkeys(results, False), NAMES)
    assert problem == "not one of its tests fails"
    assert wrong(CACHE, results, NAMES) == [
        "test_coreml_gather[look-up] fails, and is about another patch",
        "not one of its tests fails",
    ]


@pytest.mark.parametrize(
    ("inner", "problem"),
    [("", "no test was run"), ('<testcase name="t"><skipped/></testcase>', "t was skipped")],
)
def test_what_was_not_run_shows_nothing(tmp_path: Path, inner: str, problem: str) -> None:
    report = tmp_path / "r.xml"
    report.write_text(f"<testsuites><testsuite>{inner}</testsuite></testsuites>")
    with pytest.raises(Failed, match=problem):
        failing(report)


def test_failures_and_errors_are_read(tmp_path: Path) -> None:
    report = tmp_path / "r.xml"
    cases = '<testcase name="a"/><testcase name="b"><failure/></testcase>'
    cases += '<testcase name="c"><error/></testcase>'
    report.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    assert failing(report) == {"a": False, "b": True, "c": True}


def test_the_cost_is_a_share_of_the_whole_build_with_its_interval() -> None:
    found = Cost(with_patches=[11.0, 11.2, 10.9], without=[10.0, 10.1, 10.0], sample=[2.0] * 20,
                 files=500)  # fmt: skip
    share, low, high = found.share()
    assert share == pytest.approx(0.001)
    assert low < share < high
    assert (low, high) == pytest.approx((0.0009, 0.0011))


def test_what_is_taken_back_is_what_was_there_before(tmp_path: Path) -> None:
    """On the lines that the patches name: the tree itself is not at hand."""
    from tests.build.recipe.test_patches import untouched

    tree, patches = untouched(tmp_path / "tree"), list(mending(shipped()).values())
    others = [each for each in shipped().source.patches if each not in patches]
    for patch in others:
        apply_patch(FOLDER / patch.file, tree, sha256=patch.sha256)
    before = {file: (tree / file).read_bytes() for file in touched(patches)}
    for patch in patches:
        apply_patch(FOLDER / patch.file, tree, sha256=patch.sha256)
    assert all((tree / file).read_bytes() != text for file, text in before.items())
    for file, text in before.items():
        assert taken_back(tree, file, patches) == text
