"""What a library for macOS must be; each rule is broken alone."""

from __future__ import annotations

from typing import Any

import pytest

from build.binary.macho import inspect_macho
from build.binary.rules import (
    compare_macho,
    install_name,
    is_system_library,
    macho_weaknesses,
    version_key,
)
from tests.kit.macho_files import DYNAMIC, SYSTEM, X86_64, export_trie, macho, universal
from verify.macho import load_commands

PYTHON = {"_PyLong_FromLong": DYNAMIC, "__Py_NoneStruct": DYNAMIC, "___stack_chk_fail": 2}


def weaknesses(content: bytes, file: str = "") -> list[str]:
    return macho_weaknesses(
        inspect_macho(content), architecture="arm64", minimum_os="13.3", file=file
    )


@pytest.mark.parametrize(
    "content",
    [
        macho(),
        macho(minos="12.0"),
        macho(fixups="chained"),
        macho(filetype=8, undefined=PYTHON),
        macho(install_name="@rpath/module.so", undefined=PYTHON),
        macho(rpaths=[]),
        macho(rpaths=["@loader_path/", "@loader_path/."]),
        macho(dependencies=["@rpath/libother.dylib", "@loader_path/libmore.dylib"]),
        macho(signature_flags=0x2),
    ],
)
def test_a_sound_library_has_no_weakness(content: bytes) -> None:
    assert weaknesses(content) == []


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (universal(macho(cpu=X86_64), macho()), "x86_64, arm64"),
        (macho(subtype=2), "arm64e"),
        (macho(filetype=2), "type executable"),
        (macho(platform=2), "for iOS"),
        (macho(minos="13.4"), "macOS 13.4, newer than 13.3"),
        (macho(minos="14.0"), "macOS 14.0"),
        (macho(flags=0x80 | 0x20000), "stack is executable"),
        (macho(text_protection=(7, 5)), "__TEXT"),
        (macho(text_protection=(5, 7)), "__TEXT"),
        (macho(local=2), "not stripped"),
        (macho(flags=0), "flat namespace"),
        (macho(undefined={"_forgotten": DYNAMIC}), "defines _forgotten"),
        (macho(undefined=PYTHON), "_PyLong_FromLong"),
        (macho(filetype=8, undefined={"_PyForgotten_": DYNAMIC, "_Pygmy": DYNAMIC}), "_Pygmy"),
        (macho(fixups="none"), "bind"),
        (macho(trie=export_trie(["_tiny"])), "disagree about _tiny_more"),
        (macho(trie=export_trie(["_tiny", "_tiny_more", "_hidden"])), "disagree about _hidden"),
        (macho(rpaths=["$ORIGIN"]), "outside its own folder: $ORIGIN"),
        (macho(rpaths=["@loader_path", "/opt/lib"]), "/opt/lib"),
        (macho(rpaths=["@loader_path", "@loader_path"]), "twice"),
        (macho(rpaths=["@loader_path/.."]), "outside its own folder"),
        (macho(dependencies=["/opt/homebrew/lib/libre2.dylib"]), "/opt/homebrew/lib/libre2"),
        (macho(dependencies=["/usr/lib/../local/lib/libre2.dylib"]), "no part of macOS"),
        (macho(weak=["@executable_path/libre2.dylib"]), "@executable_path"),
        (macho(install_name="/build/libtiny.dylib"), "/build/libtiny.dylib"),
        (macho(install_name=""), "install name is empty"),
        (macho(signed=False), "not signed"),
        (macho(tail=b"x"), "does not hold"),
        (macho(signature_flags=0), "not ad hoc"),
    ],
)
def test_each_weakness_is_named_alone(content: bytes, part: str) -> None:
    found = weaknesses(content)
    assert len(found) == 1
    assert part in found[0]


def test_a_library_without_a_platform_says_neither_that_nor_its_version() -> None:
    found = weaknesses(macho(platform=None))
    assert ["no platform" in found[0], "which macOS" in found[1], len(found)] == [True, True, 2]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("libonnxruntime.1.21.0.dylib", "libonnxruntime.1.21.0.dylib"),
        ("a/libonnxruntime.1.25.9.dylib", "libonnxruntime.1.25.9.dylib"),
        ("a/libonnxruntime.1.26.0.dylib", "libonnxruntime.1.dylib"),
        ("libonnxruntime.1.32.0.dylib", "libonnxruntime.1.dylib"),
        ("libonnxruntime.2.0.0.dylib", "libonnxruntime.2.dylib"),
        ("libother.1.32.0.dylib", "libother.1.32.0.dylib"),
    ],
)
def test_the_install_name_follows_the_version(file: str, name: str) -> None:
    assert weaknesses(macho(install_name=f"@rpath/{name}"), file) == []
    assert install_name(file) == f"@rpath/{name}"
    assert install_name(file) in load_commands.install_names(file)
    found = weaknesses(macho(install_name="@rpath/libonnxruntime.dylib"), file)
    assert found == [f"its install name is @rpath/libonnxruntime.dylib, not @rpath/{name}"]


def test_the_install_name_must_be_the_files_own() -> None:
    assert weaknesses(macho(), "lib/libtiny.dylib") == []
    (found,) = weaknesses(macho(), "lib/libtiny.1.dylib")
    assert "not @rpath/libtiny.1.dylib" in found


def test_without_a_promise_the_version_is_not_compared() -> None:
    facts = inspect_macho(macho(minos="26.1"))
    assert macho_weaknesses(facts, architecture="arm64", minimum_os="") == []


REFERENCE = inspect_macho(macho(undefined={"___stack_chk_fail": 2, "___memcpy_chk": 2}))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"undefined": {"___memcpy_chk": 2}}, "stack protector"),
        ({"undefined": {"___stack_chk_fail": 2}}, "fortified"),
        ({"function_starts": False}, "function starts"),
        ({"uuid": False}, "UUID"),
        ({"rpaths": []}, "@loader_path"),
        ({"dependencies": [*SYSTEM, "/usr/lib/libz.1.dylib"]}, "/usr/lib/libz.1.dylib"),
        ({"exports": [f"_e{number}" for number in range(30)]}, "exports 30 symbols"),
        ({"local": 1}, "not stripped"),
    ],
)
def test_where_a_library_is_weaker_than_the_reference(change: dict[str, Any], part: str) -> None:
    sound = {"undefined": {"___stack_chk_fail": 2, "___memcpy_chk": 2}}
    facts = inspect_macho(macho(**{**sound, **change}))
    found = compare_macho(facts, REFERENCE, architecture="arm64", minimum_os="13.3")
    assert len(found) == 1
    assert part in found[0]


def test_what_the_reference_lacks_is_not_asked_for() -> None:
    plain = inspect_macho(macho(undefined={}, function_starts=False, uuid=False))
    limits = {"architecture": "arm64", "minimum_os": "13.3"}
    assert compare_macho(plain, plain, **limits) == []
    assert compare_macho(REFERENCE, REFERENCE, **limits) == []


@pytest.mark.parametrize(
    ("name", "system"),
    [
        ("/usr/lib/libSystem.B.dylib", True),
        ("/System/Library/Frameworks/CoreML.framework/Versions/A/CoreML", True),
        ("/usr/library/libx.dylib", False),
        ("/usr/lib/../local/x.dylib", False),
        ("/usr/local/lib/x.dylib", False),
        ("@rpath/libSystem.B.dylib", False),
    ],
)
def test_what_belongs_to_macos(name: str, system: bool) -> None:
    assert is_system_library(name) is system


def test_versions_compare_as_numbers() -> None:
    assert version_key("13") == version_key("13.0") < version_key("13.0.1") < version_key("13.10")
