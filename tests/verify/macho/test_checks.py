"""Load commands, imports, exports, layout and the wheel: each rule broken once, on purpose."""

from __future__ import annotations

import dataclasses
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.macho_examples import (
    BUILD_VERSION,
    EXTENSION,
    INFO,
    LIBRARY,
    NAME,
    PROMISE,
    SEGMENT,
    TAG,
    UUID,
    binaries,
    command,
    files,
    image,
    judged,
    patched,
    record,
    replaced,
    stored,
    wheel,
)
from tests.kit.macho_files import X86_64, universal
from verify.checks.wheel_bytes import EXPLAINED
from verify.environment.promise import read_promise
from verify.errors import PolicyError, WheelNotUsable
from verify.macho import archive, layout, standards, symbols
from verify.macho import load_commands as load
from verify.macho.binaries import Binaries, read_binaries
from verify.macho.image import Image, MachOUnreadable, read_image
from verify.macho.objc import read_use, rules
from verify.macho.published_symbols import TABLES, load_published
from verify.macho.signature import verify_signature
from verify.policy.findings import Difference, Outcome, load_explanations

LIBRARY_NAME = b"/usr/lib/libiconv.2.dylib"
NOBODY: dict[tuple[str, str], str] = {}


def changed(folder: Path, **changes: object) -> Binaries:
    """The sound binaries with fields of the library replaced."""
    whole = binaries(folder)
    return dataclasses.replace(
        whole,
        images=tuple(
            dataclasses.replace(entry, **changes) if entry.name == LIBRARY else entry
            for entry in whole.images
        ),
    )


def library(data: bytes) -> Image:
    return read_image(data, LIBRARY)


def test_what_stands_in_an_image() -> None:
    found = image()
    assert found.architectures == ("arm64",)
    assert (found.platform, found.minimum_os) == ("macOS", (13, 3))
    assert found.install_name == "@rpath/libonnxruntime.1.21.0.dylib"
    assert found.exports == found.external == {"_OrtGetApiBase"}
    assert found.imports["_NSLog"].endswith("Foundation")
    assert image("extension").imports["_PyLong_FromLong"] == "(dynamic look-up)"
    assert image("extension").rpaths == ("@loader_path",)


@pytest.mark.parametrize("data", [b"", b"\xcf\xfa\xed\xfe", b"MZ" * 50, b"\xca\xfe\xba\xbe" * 3])
def test_what_is_no_image_is_an_error(data: bytes) -> None:
    with pytest.raises(MachOUnreadable):
        read_image(data, "x.so")


@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(stored("library")) - 1), st.integers(0, 255)), max_size=8
    ),
    head=st.lists(st.tuples(st.integers(0, 2200), st.integers(0, 255)), max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_damage_anywhere_is_an_error_or_an_image(
    changes: list[tuple[int, int]], head: list[tuple[int, int]]
) -> None:
    data = bytearray(stored("library"))
    for at, value in (*changes, *head):
        data[at] = value
    try:
        found = library(bytes(data))
    except MachOUnreadable:
        return
    assert isinstance(load.rules(found) + layout.rules(found), list)
    assert isinstance(verify_signature(found)[0], list)
    assert isinstance(rules(read_use(found)), list)


def test_a_universal_file_is_read_and_refused() -> None:
    assert library(universal(stored("library"))).architectures == ("arm64",)
    intel = struct.pack("<3I", 0, X86_64, 3) + b"x" * 88
    found = library(universal(intel, stored("library")))
    assert found.architectures == ("x86_64", "arm64")
    assert found.data == stored("library")
    assert load.rules(found) == []
    assert found.minimums == {"x86_64": (0, 0), "arm64": (13, 3)}
    assert standards.rules(found, PROMISE) == ["holds x86_64, arm64, not arm64 alone"]
    with pytest.raises(MachOUnreadable, match="holds no arm64 code, only x86_64"):
        library(universal(intel))


def test_a_sound_pair_has_no_findings(tmp_path: Path) -> None:
    ours, official = binaries(tmp_path / "a"), binaries(tmp_path / "b")
    for outcome in (
        load.check_load_commands(ours, official, PROMISE),
        symbols.check_imports(ours, official, NOBODY, PROMISE),
        symbols.check_exports(ours, official),
        layout.check_layout(ours, official),
        archive.check_archive(ours, PROMISE),
        standards.check_standards(ours, PROMISE, None),
    ):
        result = judged(outcome)
        assert result.status == "passed", (result.id, result.evidence)
        assert result.measured == 0


def test_load_commands_changed_in_the_file() -> None:
    data = stored("library")
    version = command(data, BUILD_VERSION)
    newer = library(patched(data, version + 12, struct.pack("<I", 14 << 16)))
    assert load.rules(newer) == []
    assert archive.tags(PROMISE, (newer,)) == [
        f"the tag promises macOS 13.3, but {LIBRARY} needs 14.0 on arm64"
    ]
    assert standards.rules(newer, PROMISE) == ["needs macOS 14.0, and the tag says 13.3"]
    assert "is for iOS, not macOS" in load.rules(
        library(patched(data, version + 8, struct.pack("<I", 2)))
    )
    segment = command(data, SEGMENT)
    writable = library(patched(data, segment + 56, struct.pack("<2I", 7, 7)))
    assert "its segment __TEXT may be written and executed" in load.rules(writable)
    flags = struct.unpack_from("<I", data, 24)[0] & ~0x80 | 0x20000
    flagged = load.rules(library(patched(data, 24, struct.pack("<I", flags))))
    assert "lacks the flag MH_TWOLEVEL" in flagged
    assert "has the flag MH_ALLOW_STACK_EXECUTION" in flagged
    program = load.rules(library(patched(data, 12, struct.pack("<I", 2))))
    assert "has file type 2, neither 6 (MH_DYLIB) nor 8" in program


def test_names_and_paths_in_the_file() -> None:
    data = stored("library")
    built = replaced(data, b"@rpath/libonnxruntime", b"/work1/libonnxruntime")
    assert any("has the install name" in line for line in load.rules(library(built)))
    moved = replaced(data, LIBRARY_NAME, b"/opt/lib/libiconv.2.dylib")
    assert any("links" in line for line in load.rules(library(moved)))
    leaked = replaced(data, b"onnxruntime-\0", b"/home/me/src\0")
    assert standards.rules(library(leaked), PROMISE) == [
        "holds 1 build paths, such as /home/me/src"
    ]
    assert load.rules(library(leaked)) == []
    run = replaced(stored("extension"), b"@loader_path", b"/usr/local/x")
    assert 'has the rpath "/usr/local/x", not @loader_path' in standards.rules(
        read_image(run, EXTENSION), PROMISE
    )


def test_another_library_is_a_difference(tmp_path: Path) -> None:
    other = replaced(stored("library"), LIBRARY_NAME, b"/usr/lib/libicucor.A.dyli")
    ours = binaries(tmp_path / "a", {LIBRARY: other})
    result = judged(load.check_load_commands(ours, binaries(tmp_path / "b"), PROMISE))
    items = [(entry["only_in"], entry["item"]) for entry in result.evidence["unexplained"]]
    assert items == [
        ("ours", "library /usr/lib/libicucor.A.dyli"),
        ("official", f"library {LIBRARY_NAME.decode()}"),
    ]


def test_hardening_that_is_missing_is_a_difference(tmp_path: Path) -> None:
    fewer = {name: where for name, where in image().imports.items() if "_stack_chk" not in name}
    ours = changed(tmp_path / "a", imports={**fewer, "_bzero": "/usr/lib/libSystem.B.dylib"})
    outcome = symbols.check_imports(ours, changed(tmp_path / "b"), NOBODY, PROMISE)
    assert {(entry.side, entry.item) for entry in outcome.differences} == {
        ("official", "libSystem.B.dylib: ___stack_chk_fail"),
        ("official", "libSystem.B.dylib: ___stack_chk_guard"),
    }
    segments = tuple(dataclasses.replace(entry, read_only=False) for entry in image().segments)
    assert any(entry.read_only for entry in image().segments)
    open_ones = load.check_load_commands(
        changed(tmp_path / "c", segments=segments), binaries(tmp_path / "d"), PROMISE
    )
    assert [entry.item for entry in open_ones.differences] == ["read-only segment __DATA_CONST"]


def test_a_newer_compatibility_version_is_refused(tmp_path: Path) -> None:
    first, *rest = image().libraries
    newer = (dataclasses.replace(first, compatibility=(9, 0, 0)), *rest)
    result = load.check_load_commands(
        changed(tmp_path / "a", libraries=newer), binaries(tmp_path / "b"), PROMISE
    )
    assert any("compatible with 9.0.0" in entry.item for entry in result.differences)


@pytest.mark.parametrize(
    ("symbol", "where", "said"),
    [
        ("_new_in_14", "/usr/lib/libSystem.B.dylib", "nothing proves that"),
        ("_helper", "(dynamic look-up)", "looked up everywhere: _helper only in ours"),
    ],
)
def test_an_import_that_dyld_would_miss(tmp_path: Path, symbol: str, where: str, said: str) -> None:
    ours = changed(tmp_path / "a", imports={**image().imports, symbol: where})
    result = judged(symbols.check_imports(ours, binaries(tmp_path / "b"), NOBODY, PROMISE))
    assert result.status == "failed"
    assert said in result.summary


@pytest.mark.parametrize("where", ["/usr/lib/libmissing.dylib", "(this image)"])
def test_an_import_without_a_library_does_not_load(tmp_path: Path, where: str) -> None:
    ours = changed(tmp_path, imports={**image().imports, "_CFNew": where})
    result = load.check_load_commands(ours, None, PROMISE).result()
    assert result.status == "failed"
    assert "_CFNew is undefined" in result.summary


def test_an_import_that_another_wheel_proves(tmp_path: Path) -> None:
    system = "/usr/lib/libSystem.B.dylib"
    ours = changed(tmp_path / "a", imports={**image().imports, "_clonefile": system})
    shown = {(system, "_clonefile"): "numpy.whl"}
    result = symbols.check_imports(ours, binaries(tmp_path / "b"), shown, PROMISE)
    assert judged(result).status == "passed"
    assert result.evidence[LIBRARY]["proven_by_other_wheels"] == {"_clonefile": "numpy.whl"}
    other = {("/usr/lib/libc++.1.dylib", "_clonefile"): "numpy.whl"}
    result = symbols.check_imports(ours, binaries(tmp_path / "c"), other, PROMISE)
    assert judged(result).status == "failed"


def open_imports(ours: Binaries, official: Binaries) -> set[tuple[str, str]]:
    proof = symbols.official_imports(official)
    return {each for image in ours.images for each in symbols.unproven(image, proof)}


def test_a_weak_import_needs_no_proof(tmp_path: Path) -> None:
    system = "/usr/lib/libSystem.B.dylib"
    more = {**image().imports, "_new_in_14": system}
    official = binaries(tmp_path / "b")
    strong = changed(tmp_path / "a", imports=more)
    assert open_imports(strong, official) == {(system, "_new_in_14")}
    weak = changed(tmp_path / "c", imports=more, weak_imports=frozenset({"_new_in_14"}))
    assert open_imports(weak, official) == set()
    assert judged(symbols.check_imports(weak, official, NOBODY, PROMISE)).status == "passed"


def test_operator_new_is_found_where_the_process_defines_it(tmp_path: Path) -> None:
    both = {**image().imports, "__Znwm": "/usr/lib/libc++.1.dylib"}
    official = changed(tmp_path / "b", imports=both, coalesced=frozenset({"__Znwm"}))
    result = symbols.check_imports(changed(tmp_path / "a", imports=both), official, NOBODY, PROMISE)
    assert [(entry.side, entry.item) for entry in result.differences] == [
        ("official", "weak look-up of __Znwm")
    ]


def test_another_class_is_a_difference_that_can_be_explained(tmp_path: Path) -> None:
    renamed = replaced(stored("library"), b"_OBJC_CLASS_$_MLModel\0", b"_OBJC_CLASS_$_MLModeX\0")
    ours = binaries(tmp_path / "a", {LIBRARY: renamed})
    strong = symbols.check_imports(ours, binaries(tmp_path / "b"), NOBODY, PROMISE)
    assert "has _OBJC_CLASS_$_MLModeX on macOS 13.3" in strong.problems[0]
    found = read_image(renamed, LIBRARY).imports
    weak = frozenset({"_OBJC_CLASS_$_MLModeX"})
    ours = changed(tmp_path / "c", imports=found, weak_imports=weak)
    outcome = symbols.check_imports(ours, binaries(tmp_path / "d"), NOBODY, PROMISE)
    items = {(entry.side, entry.item) for entry in outcome.differences}
    assert items == {("ours", "CoreML: class MLModeX"), ("official", "CoreML: class MLModel")}
    table = {
        "schema": 1,
        "versions": ["1.21.0"],
        "difference": [
            {"check": "macho.imports", "files": ["library"], "side": side, "items": [item],
             "reason": "a test"}
            for side, item in sorted(items)
        ],
    }  # fmt: skip
    path = tmp_path / "differences.toml"
    path.write_text(_toml(table), encoding="utf-8")
    assert load_explanations(path, "1.30.0") == {}
    explained = judged(outcome, load_explanations(path, "1.21.0"))
    assert explained.status == "passed"
    assert len(explained.evidence["explained"]) == 2
    assert "2 differences explained" in explained.summary


def _toml(table: dict[str, object]) -> str:
    lines = [f"{key} = {table[key]!r}" for key in ("schema", "versions")]
    for entry in table["difference"]:
        lines += ["[[difference]]", *(f"{key} = {value!r}" for key, value in entry.items())]
    return "\n".join(lines)


def test_a_binding_that_contradicts_the_symbol_table(tmp_path: Path) -> None:
    ours = changed(tmp_path / "a", disagreements=("_NSLog",))
    outcome = load.check_load_commands(ours, None, PROMISE)
    assert any("different libraries for _NSLog" in problem for problem in outcome.problems)


def test_exports_more_less_and_contradicting(tmp_path: Path) -> None:
    official = binaries(tmp_path / "b")
    more = image().exports | {"_internal"}
    ours = changed(tmp_path / "a", exports=more, external=more)
    result = judged(symbols.check_exports(ours, official))
    assert [entry["item"] for entry in result.evidence["unexplained"]] == ["_internal"]
    renamed = replaced(stored("library"), b"_OrtGetApiBase", b"_OrtGetApiBasf")
    lost = binaries(tmp_path / "c", {LIBRARY: renamed})
    assert "does not export _OrtGetApiBase" in symbols.check_exports(lost, official).problems[0]
    odd = symbols.check_exports(changed(tmp_path / "d", exports=more), official)
    assert any("_internal stands in the export trie alone" in text for text in odd.problems)


def test_layout_rules(tmp_path: Path) -> None:
    assert layout.rules(image()) == []
    unnamed = library(patched(stored("library"), command(stored("library"), UUID) + 8, bytes(16)))
    assert any("no UUID" in problem for problem in layout.rules(unnamed))
    unstripped = dataclasses.replace(image(), local_symbols=3, debug_symbols=2)
    assert layout.rules(unstripped) == []
    told = standards.rules(unstripped, PROMISE)
    assert told == [
        "2 debugging entries in the symbol table",
        "3 local symbols: it is not stripped",
    ]
    text, *rest = image().segments
    odd = dataclasses.replace(text, offset=8)
    assert layout.rules(dataclasses.replace(image(), segments=(odd, *rest)))
    outside = dataclasses.replace(text, file_size=1 << 40)
    assert layout.rules(dataclasses.replace(image(), segments=(outside, *rest)))
    sides = layout.side_by_side(image(), image("extension"))
    assert {"section", "ours", "official"} == set(sides[0])
    twins = changed(tmp_path, uuid=image("extension").uuid)
    assert any(
        "has the UUID of" in problem for problem in layout.check_layout(twins, twins).problems
    )


def wheel_problems(path: Path) -> str:
    outcome = archive.check_archive(read_binaries(path), read_promise(path.name))
    return "; ".join(outcome.problems)


def standard_problems(path: Path, manifest: dict[str, object] | None = None) -> str:
    promise = read_promise(path.name)
    return "; ".join(standards.check_standards(read_binaries(path), promise, manifest).problems)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (NAME.replace("13_3", "12_0"), "promises macOS 12.0, but"),
        (NAME.replace("13_3", "13_2"), "promises macOS 13.2, but"),
        (NAME.replace("arm64", "universal2"), "promises x86_64, which"),
        (NAME.replace("macosx_13_3_arm64", "any"), "promise nothing about macOS"),
    ],
)
def test_tags_that_promise_too_much(tmp_path: Path, name: str, said: str) -> None:
    tag = name.removeprefix("onnxruntime-1.21.0-").removesuffix(".whl")
    told = f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n".encode()
    problems = wheel_problems(wheel(tmp_path, {f"{INFO}/WHEEL": told}, name=name))
    assert said in problems
    assert "WHEEL says" not in problems


def test_an_older_promise_than_needed_is_honest_when_it_is_newer(tmp_path: Path) -> None:
    name = NAME.replace("13_3", "14_0")
    told = f"Root-Is-Purelib: false\nTag: {TAG.replace('13_3', '14_0')}\n".encode()
    assert wheel_problems(wheel(tmp_path, {f"{INFO}/WHEEL": told}, name=name)) == ""


def test_two_platforms_in_one_name(tmp_path: Path) -> None:
    """Installers know whole versions alone, so a wheel for 13.3 says 14.0 as well."""
    both = f"Root-Is-Purelib: false\nTag: {TAG}\nTag: {TAG.replace('13_3', '14_0')}\n".encode()
    name = NAME.replace("_arm64", "_arm64.macosx_14_0_arm64")
    assert wheel_problems(wheel(tmp_path, {f"{INFO}/WHEEL": both}, name=name)) == ""


def test_wheel_metadata(tmp_path: Path) -> None:
    other = wheel(tmp_path / "a", name=NAME.replace("cp311-cp311", "cp312-cp312"))
    assert "WHEEL says cp311" in wheel_problems(other)
    pure = {f"{INFO}/WHEEL": f"Tag: {TAG}\nRoot-Is-Purelib: true\n".encode()}
    assert "Root-Is-Purelib" in wheel_problems(wheel(tmp_path / "b", pure))


def test_record(tmp_path: Path) -> None:
    right = record(files())
    start = b"onnxruntime/__init__.py"
    cases = {
        right.replace(start + b",sha256=", start + b",sha256=A"): "differs",
        right.replace(start, b"onnxruntime/__other__.py"): "is not in RECORD",
        right + b"onnxruntime/gone.py,sha256=x,1\n": "lists onnxruntime/gone.py",
        right + b"one,two\n": "a line with 2 fields",
    }
    for number, (content, said) in enumerate(cases.items()):
        path = wheel(tmp_path / str(number), {f"{INFO}/RECORD": content})
        assert said in wheel_problems(path)
    assert "RECORD is missing" in wheel_problems(wheel(tmp_path / "x", {f"{INFO}/RECORD": None}))


def test_files_that_do_not_belong(tmp_path: Path) -> None:
    assert "files outside onnxruntime/: torch" in wheel_problems(
        wheel(tmp_path / "a", {"torch/x.py": b""})
    )
    assert "leads out of the wheel" in wheel_problems(
        wheel(tmp_path / "b", {"onnxruntime/../../x": b""})
    )
    more = wheel(tmp_path / "c", {"onnxruntime/.dylibs/libomp.dylib": stored("library")})
    assert "a binary that the official wheel has not" in standard_problems(more)
    assert wheel_problems(more) == ""
    bare = wheel(tmp_path / "d", {LIBRARY: None})
    assert "the wheel has no library" in standard_problems(bare)
    assert wheel_problems(bare) == ""
    assert "no extension" in wheel_problems(wheel(tmp_path / "f", {EXTENSION: None}))
    path = wheel(tmp_path / "e")
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as opened:
        opened.writestr("onnxruntime/__init__.py", b"")
    assert "stands in the archive twice" in wheel_problems(path)


def test_a_library_must_lie_where_its_path_says(tmp_path: Path) -> None:
    needed = replaced(stored("extension"), LIBRARY_NAME, b"@rpath/libonnxruntime1.dy")
    assert "needs @rpath/libonnxruntime1.dy, which is not in the wheel" in wheel_problems(
        wheel(tmp_path / "a", {EXTENSION: needed})
    )
    there = {EXTENSION: needed, "onnxruntime/capi/libonnxruntime1.dy": b"not looked into"}
    assert "which is not in the wheel" not in wheel_problems(wheel(tmp_path / "b", there))


def test_the_manifest_counts_where_there_is_one(tmp_path: Path) -> None:
    import hashlib

    path = wheel(tmp_path)
    with zipfile.ZipFile(path) as opened:
        hashes = {n: hashlib.sha256(opened.read(n)).hexdigest() for n in opened.namelist()}
    assert standard_problems(path, {"wheel": {"files": hashes}}) == ""
    hashes[LIBRARY] = "0" * 64
    assert "1 files differ from the manifest" in standard_problems(
        path, {"wheel": {"files": hashes}}
    )


def test_a_wheel_without_binaries_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WheelNotUsable, match="holds no Mach-O file"):
        read_binaries(wheel(tmp_path, {LIBRARY: None, EXTENSION: None}))


def test_explanations_do_not_spill_over() -> None:
    outcome = Outcome(check="macho.exports", compared="x")
    outcome.compare("library", {"_a"}, {"_b"})
    assert outcome.differences == [
        Difference(file="library", side="ours", item="_a"),
        Difference(file="library", side="official", item="_b"),
    ]
    result = judged(outcome)
    assert result.status == "failed"
    assert result.measured == 2


def test_mistakes_in_the_tables_are_told(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text('schema = 1\n[[difference]]\ncheck = "x"\nside = "mine"\n', encoding="utf-8")
    with pytest.raises(PolicyError, match=r"difference\.0\.side"):
        load_explanations(path, "1.21.0")
    path.write_text("schema = 2\n", encoding="utf-8")
    with pytest.raises(PolicyError, match="schema"):
        load_published((13, 3), [path])
    entry = '[[wheel]]\nfile = "new.whl"\nsha256 = "0"\nminimum = "14.0"\n[wheel.imports]\n'
    path.write_text(entry, encoding="utf-8")
    path.write_text(entry + '"/usr/lib/libSystem.B.dylib" = ["_new"]\n', encoding="utf-8")
    assert load_published((13, 3), [path]) == {}
    assert list(load_published((14, 0), [path]).values()) == ["new.whl"]


def test_our_tables_are_read_and_every_reason_is_a_sentence() -> None:
    ours = load_explanations(EXPLAINED, "1.21.0")
    assert ours
    assert load_explanations(EXPLAINED, "1.22.0") == {}
    for (check, difference), reason in ours.items():
        assert check.startswith("macho.")
        assert len(reason) > 20
        assert reason.endswith(".")
        assert difference.item


def test_each_published_symbol_is_in_one_table() -> None:
    overlay, system = (load_published((13, 3), [table]) for table in TABLES)
    assert not overlay.keys() & system.keys()
    assert {library for library, _ in system} == {"/usr/lib/libSystem.B.dylib"}
    assert load_published((13, 3)) == overlay | system
    libcxx = "/usr/lib/libc++.1.dylib"
    assert overlay[libcxx, "__ZNSt3__116generic_categoryEv"].startswith("drake-1.33.0-")
    assert system["/usr/lib/libSystem.B.dylib", "_lstat"].startswith("numpy-1.26.4-")
