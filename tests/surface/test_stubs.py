"""Text stubs, the symbols of Mach-O files, and the evidence that macOS has a symbol."""

from __future__ import annotations

import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build.errors import SourceError, WheelError
from tests.kit.macho_files import X86_64, macho, universal
from tests.kit.surface_examples import declaration, surface
from tests.surface import evidence as surface_evidence
from tests.surface.evidence import evidence_text, read_wheel
from tests.surface.stubs import (
    LIBCXX,
    Evidence,
    Stub,
    check_linked,
    check_stubs,
    read_evidence,
    read_stub,
    read_stubs,
    stub_text,
)
from tests.surface.symbols import FLAT, MachSymbols, read_symbols

APPLE = Path(__file__).resolve().parents[2] / "recipes" / "overlays" / "apple"
FOUNDATION = "/System/Library/Frameworks/Foundation.framework/Versions/C/Foundation"
CLASS = "_OBJC_CLASS_$_NSThing"
THINGS = surface(declaration("class", "NSThing"), declaration("function", "NSLog"))
STUB = Stub(
    file="Foundation.tbd",
    install_name=FOUNDATION,
    current="1971",
    symbols=frozenset({"_NSLog", CLASS}),
)
KNOWN = Evidence(
    file="a.whl",
    sha256="0" * 64,
    minimum="13.3",
    imports={FOUNDATION: frozenset({"_NSLog", CLASS})},
)
OBJECT = MachSymbols(undefined={"_NSLog": "", CLASS: "", "_memcpy": ""})


def mach_o(**changes: Any) -> bytes:
    """An object file or, with ``dependencies``, a library."""
    plain = {"dependencies": (), "exports": (), "signed": False, "function_starts": False}
    return macho(**{**plain, **changes})


symbol_names = st.from_regex(r"_[A-Za-z_][A-Za-z0-9_$.]{0,120}", fullmatch=True)


@given(
    symbols=st.frozensets(symbol_names),
    classes=st.frozensets(st.from_regex(r"[A-Z][A-Za-z]{0,30}", fullmatch=True)),
    versions=st.tuples(st.integers(1, 2000), st.integers(1, 300)),
)
def test_a_stub_is_read_as_it_was_written(
    symbols: frozenset[str],
    classes: frozenset[str],
    versions: tuple[int, int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("stubs")
    plain = {each for each in symbols if not each.startswith("_OBJC_CLASS_$_")}
    stub = Stub(
        file="usr/x.tbd",
        install_name="/usr/lib/x.dylib",
        current=str(versions[0]),
        compatibility=str(versions[1]),
        head=("one line", "another"),
        symbols=frozenset(plain | {f"_OBJC_CLASS_$_{each}" for each in classes}),
    )
    (folder / "usr").mkdir()
    (folder / "usr" / "x.tbd").write_text(stub_text(stub))
    assert read_stub(folder / "usr" / "x.tbd", folder) == stub


def test_a_file_that_is_no_stub_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tbd").write_text("--- !tapi-tbd\n...\n")
    with pytest.raises(SourceError, match="has no install-name"):
        read_stub(tmp_path / "x.tbd", tmp_path)


def test_a_stub_that_lists_what_the_objects_want_and_no_more() -> None:
    assert check_stubs(THINGS, [STUB], [OBJECT], [KNOWN]) == []


def test_a_symbol_that_no_stub_lists() -> None:
    wanting = MachSymbols(undefined={**OBJECT.undefined, "_OBJC_CLASS_$_NSOther": ""})
    found = check_stubs(THINGS, [STUB], [wanting], [KNOWN])
    assert found == ["no stub lists _OBJC_CLASS_$_NSOther, which an object wants"]


def test_a_symbol_that_no_object_wants() -> None:
    found = check_stubs(THINGS, [STUB], [MachSymbols(undefined={CLASS: ""})], [KNOWN])
    assert found == ["Foundation.tbd lists _NSLog, which no object wants"]


def test_a_runtime_function_must_be_listed_too() -> None:
    wanting = MachSymbols(undefined={**OBJECT.undefined, "_objc_retain": ""})
    found = check_stubs(THINGS, [STUB], [wanting], [KNOWN])
    assert found == ["no stub lists _objc_retain, which an object wants"]


def test_a_symbol_that_no_released_wheel_shows() -> None:
    shown = Evidence(
        file="a.whl",
        sha256="0" * 64,
        minimum="13.3",
        imports={FOUNDATION: frozenset({CLASS}), LIBCXX: frozenset({"_NSLog"})},
    )
    found = check_stubs(THINGS, [STUB], [OBJECT], [shown])
    assert found == [
        f"Foundation.tbd lists _NSLog, and no wheel in evidence.toml shows that {FOUNDATION} has it"
    ]


def test_a_wheel_for_a_newer_macos_shows_nothing() -> None:
    newer = Evidence(file="b.whl", sha256="0" * 64, minimum="13.4", imports=KNOWN.imports)
    found = check_stubs(THINGS, [STUB], [OBJECT], [newer])
    assert found == ["b.whl runs on macOS 13.4 and later, which says nothing about 13.3"]


def test_the_linked_binaries_bind_what_the_stubs_list() -> None:
    linked = {
        "a.so": MachSymbols(undefined={"_NSLog": FOUNDATION, "_PyList_New": FLAT}),
        "b.dylib": MachSymbols(undefined={CLASS: FOUNDATION}),
    }
    assert check_linked([STUB], linked) == []


def test_a_symbol_bound_flat_that_is_not_pythons() -> None:
    linked = {
        "a.so": MachSymbols(undefined={"_NSLog": FOUNDATION, CLASS: FOUNDATION, "__ZdlPvm": FLAT})
    }
    found = check_linked([STUB], linked)
    assert found == [
        "a.so looks for __ZdlPvm in every library: no stub lists it, and it is not Python's"
    ]


def test_a_library_without_a_stub_and_a_symbol_that_no_binary_imports() -> None:
    linked = {"a.so": MachSymbols(undefined={CLASS: FOUNDATION, "_x": "/usr/lib/libother.dylib"})}
    assert check_linked([STUB], linked) == [
        "Foundation.tbd lists _NSLog, which nothing in the build wants",
        "the binaries import from /usr/lib/libother.dylib, for which there is no stub",
    ]


def test_a_symbol_that_an_object_wants_may_be_left_out_of_the_binary() -> None:
    linked = {"a.so": MachSymbols(undefined={CLASS: FOUNDATION})}
    assert check_linked([STUB], linked, [MachSymbols(undefined={"_NSLog": ""})]) == []


def test_symbols_of_a_library_and_of_an_object() -> None:
    library = read_symbols(
        mach_o(
            undefined={"_NSLog": 1, "_x": 254},
            exports=["_OrtGetApiBase"],
            dependencies=[FOUNDATION],
            selectors=["count", "init"],
        ),
        "a.dylib",
    )
    assert library == MachSymbols(
        undefined={"_NSLog": FOUNDATION, "_x": FLAT},
        defined=frozenset({"_OrtGetApiBase"}),
        selectors=frozenset({"count", "init"}),
        minimum="13.3",
    )
    assert read_symbols(mach_o(undefined={"_NSLog": 0}), "a.o").undefined == {"_NSLog": ""}


def test_the_arm64_part_of_a_universal_file_is_read() -> None:
    arm, intel = mach_o(undefined={"_arm": 0}), mach_o(undefined={"_intel": 0}, cpu=X86_64)
    both = universal(intel, arm)
    assert read_symbols(both, "u").undefined == {"_arm": ""}
    with pytest.raises(WheelError, match="u holds no Mach-O code for arm64"):
        read_symbols(universal(intel), "u")


def test_a_file_cut_short_anywhere_is_named() -> None:
    whole = mach_o(undefined={"_NSLog": 1}, dependencies=[FOUNDATION], selectors=["count"])
    for length in range(len(whole.rstrip(b"\0"))):
        with pytest.raises(WheelError, match=r"a\.o"):
            read_symbols(whole[:length], "a.o")


def make_wheel(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(f"p/{name}.so", data)
    return path


def test_evidence_takes_the_newest_minimum_of_a_wheels_binaries(tmp_path: Path) -> None:
    wheel = make_wheel(
        tmp_path / "w.whl",
        a=mach_o(undefined={"_a": 1, "_b": 2}, dependencies=[LIBCXX, FOUNDATION], minos="11.0"),
        b=mach_o(undefined={"_c": 1}, dependencies=[LIBCXX], minos="9.0"),
    )
    stub = Stub(file="x", install_name=LIBCXX, current="1", symbols=frozenset({"_a", "_c", "_d"}))
    found = read_wheel(wheel, [stub])
    assert found.minimum == "11.0"
    assert found.imports == {LIBCXX: frozenset({"_a", "_c"})}
    assert read_wheel(wheel, [replace(stub, symbols=frozenset({"_c"}))]).imports == {
        LIBCXX: frozenset({"_c"})
    }


def test_evidence_leaves_out_what_an_earlier_wheel_shows() -> None:
    more = Evidence(
        file="b.whl",
        sha256="1" * 64,
        minimum="12.0",
        imports={FOUNDATION: frozenset({"_NSLog", "_new"})},
    )
    text = evidence_text([KNOWN, more])
    assert text.count('"_NSLog"') == 1
    assert text.count('"_new"') == 1


def test_a_wheel_without_binaries_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.whl", "w") as archive:
        archive.writestr("p/__init__.py", "")
    with pytest.raises(WheelError, match=r"w\.whl holds no binary"):
        read_wheel(tmp_path / "w.whl", [STUB])


def test_the_command_prints_a_stub_for_binaries(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = tmp_path / "a.dylib"
    library.write_bytes(
        mach_o(undefined={"__Znwm": 1, "__ZdlPv": 254, "_PyList_New": 254}, dependencies=[LIBCXX])
    )
    assert surface_evidence.main(["stub", "usr/lib/libc++.tbd", str(library)]) == 0
    listed = re.search(r"symbols: +\[ (.*?) \]", capsys.readouterr().out)
    assert listed is not None
    assert listed[1] == "__ZdlPv, __Znwm"


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "w.whl").write_bytes(b"no archive")
    assert surface_evidence.main(["wheels", str(tmp_path / "w.whl")]) != 0
    assert "is no wheel" in capsys.readouterr().err


def test_every_symbol_of_the_repositorys_stubs_is_known_on_macos_13_3() -> None:
    evidence, stubs = read_evidence(APPLE), read_stubs(APPLE)
    assert {each.install_name.rsplit("/", 1)[1] for each in stubs} == {
        "CoreFoundation",
        "CoreML",
        "Foundation",
        "libc++.1.dylib",
        "libiconv.2.dylib",
        "libobjc.A.dylib",
    }
    for stub in stubs:
        shown = frozenset[str]().union(*(e.imports.get(stub.install_name, ()) for e in evidence))
        assert stub.symbols <= shown, stub.file
        # libiconv's stub explains in its own words why it is empty.
        assert stub_text(stub) == (APPLE / stub.file).read_text()
    assert all(tuple(map(int, each.minimum.split("."))) <= (13, 3) for each in evidence)
    assert all(re.fullmatch("[0-9a-f]{64}", each.sha256) for each in evidence)


def test_no_framework_header_that_came_after_13_3() -> None:
    names = {path.name for path in APPLE.rglob("*.h")}
    assert not names & {"MLComputePlan.h", "MLOptimizationHints.h", "MLModelStructure.h"}


def test_what_a_program_may_replace_is_listed_as_weak() -> None:
    """Else memory could be allocated by a replaced ``operator new`` and freed by libc++'s own."""
    (libcxx,) = (stub for stub in read_stubs(APPLE) if stub.install_name == LIBCXX)
    replaceable = {name for name in libcxx.symbols if re.match(r"__Z(n[wa]|d[la])", name)}
    assert "__Znwm" in replaceable
    assert replaceable <= libcxx.weak <= libcxx.symbols
    assert "___cxa_throw" not in libcxx.weak
