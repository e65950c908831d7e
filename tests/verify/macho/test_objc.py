"""Calls read back from compiled code: right declarations agree, each wrong one is caught."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest

from tests.kit.macho_examples import LIBRARY, binaries, image, judged, mutants, replaced, stored
from verify.macho.objc import ENUMERATIONS, Use, check_objc, contrast, read_use, rules


@pytest.fixture(scope="module")
def right() -> Use:
    return read_use(image())


def test_everything_that_the_fixture_does_is_read_back(right: Use) -> None:
    assert rules(right) == []
    assert right.unreadable == 0
    assert len(right.selectors) == 41
    assert right.selectors <= right.profiles.keys()
    assert right.blocks == ("v16@?0^v8", "v24@?0r^v8q16")
    assert right.strings == {"onnxruntime-", "%s"}
    assert {"MLModel", "NSURL", "NSMutableDictionary"} <= right.classes


def test_numbers_are_followed_through_branches_and_jump_tables(right: Use) -> None:
    assert right.profiles["setComputeUnits:"].numbers == {0: frozenset({0, 1, 2, 3})}
    called = right.profiles["initWithDataPointer:shape:dataType:strides:deallocator:error:"]
    assert called.numbers == {2: frozenset({65552, 65568, 131104})}
    assert called.widths.keys() == {0, 1, 3, 4, 5}


def test_receivers_results_and_arguments(right: Use) -> None:
    assert right.profiles["numberWithLongLong:"].receivers == {"NSNumber"}
    assert right.profiles["fileExistsAtPath:"].results == {"general", "32-bit"}
    assert right.profiles["longLongValue"].results == {"general", "64-bit"}
    assert right.profiles["_CFStringGetCString()"].numbers == {3: frozenset({0x08000100})}
    assert right.profiles["_NSLog()"].widths.keys() == {0}


def test_stubs_of_the_linker_and_direct_messages_are_the_same() -> None:
    through = read_use(image("with-stubs"))
    assert image("with-stubs").section("__objc_stubs") is not None
    assert image().section("__objc_stubs") is None
    assert rules(through) == []
    assert through.profiles["count"].calls == read_use(image()).profiles["count"].calls + 1
    assert through.profiles["setComputeUnits:"].numbers == {0: frozenset({0, 1, 2, 3})}


def test_the_same_code_has_no_findings(tmp_path: Path) -> None:
    result = judged(check_objc(binaries(tmp_path / "a"), binaries(tmp_path / "b")))
    assert result.status == "passed", result.evidence
    assert "no difference" in result.summary


@pytest.mark.parametrize("name", mutants())
def test_a_wrong_declaration_is_caught(tmp_path: Path, name: str) -> None:
    ours = binaries(tmp_path / "ours", {LIBRARY: stored(name)})
    result = judged(check_objc(ours, binaries(tmp_path / "official")))
    assert result.status == "failed", name
    assert result.measured >= 1


def test_there_are_more_than_ten_mutants() -> None:
    assert len(mutants()) > 10


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("argument-double", "no call of numberWithLongLong: sets argument 1"),
        ("result-double", "longLongValue result is float"),
        ("argument-32-bit", "numberWithLongLong: argument 1 is 32-bit or 64-bit"),
        ("not-variadic", "_NSLog() takes 2 arguments"),
        ("wrong-enumerator", "gets 65544 as its MLMultiArrayDataType"),
        ("wrong-getter", "selector datatype"),
        ("block-argument-32-bit", "block v20@?0r^v8i16"),
    ],
)
def test_the_finding_names_the_mistake(tmp_path: Path, name: str, said: str) -> None:
    ours = binaries(tmp_path / "ours", {LIBRARY: stored(name)})
    evidence = judged(check_objc(ours, binaries(tmp_path / "official"))).evidence
    told = [*evidence["problems"], *(entry["item"] for entry in evidence["unexplained"])]
    assert any(said in line for line in told), told


def test_a_renamed_selector_is_a_difference_on_both_sides(tmp_path: Path) -> None:
    renamed = replaced(stored("library"), b"\0fileExistsAtPath:\0", b"\0fileExistsAtPatj:\0")
    result = judged(
        check_objc(binaries(tmp_path / "a", {LIBRARY: renamed}), binaries(tmp_path / "b"))
    )
    items = {(entry["only_in"], entry["item"]) for entry in result.evidence["unexplained"]}
    assert ("ours", "selector fileExistsAtPatj:") in items
    assert ("official", "selector fileExistsAtPath:") in items


def test_a_selector_that_nothing_sends_is_a_difference(tmp_path: Path) -> None:
    text = image().section("__text")
    assert text is not None
    data = stored("library")
    silent = data[: text.offset] + b"\x1f\x20\x03\xd5" * (text.size // 4)
    ours = binaries(tmp_path / "a", {LIBRARY: silent + data[len(silent) :]})
    result = judged(check_objc(ours, binaries(tmp_path / "b")))
    items = {(entry["only_in"], entry["item"]) for entry in result.evidence["unexplained"]}
    assert ("ours", "selector count (never sent)") in items
    assert ("official", "selector count") in items


def test_without_a_table_of_functions_nothing_passes(tmp_path: Path) -> None:
    ours = binaries(tmp_path / "a")
    bare = tuple(dataclasses.replace(entry, function_starts=()) for entry in ours.images)
    ours = dataclasses.replace(ours, images=bare)
    result = judged(check_objc(ours, binaries(tmp_path / "b")))
    assert result.status == "failed"


def test_the_enumerations_are_those_that_the_apple_surface_records() -> None:
    oracle = Path(__file__).resolve().parents[3] / "recipes" / "overlays" / "apple" / "oracle.toml"
    recorded = tomllib.loads(oracle.read_text(encoding="utf-8"))["constants"]
    for kind, values in ENUMERATIONS.values():
        start = {"CFStringEncoding": "kCFStringEncoding"}.get(kind, kind)
        known = {value for name, value in recorded.items() if name.startswith(start)}
        assert known
        assert known <= values


def test_a_profile_against_itself_has_nothing_to_say(right: Use) -> None:
    for found in right.profiles.values():
        assert contrast(found, found) == (set(), set())
