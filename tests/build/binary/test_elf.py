"""Judging a binary's hardening, and finding paths of a machine; no compiler needed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build.binary.elf import ElfFacts, elf_facts, inspect_elf
from build.binary.machine_paths import FoundPath, find_path
from build.binary.rules import compare_elf, elf_weaknesses
from build.errors import WheelError

# libonnxruntime.so.1.21.0 of the official cp311 wheel for Linux x86-64, read with inspect_elf.
OFFICIAL = ElfFacts(
    needed=(
        *("libdl.so.2", "librt.so.1", "libpthread.so.0", "libstdc++.so.6", "libm.so.6"),
        *("libgcc_s.so.1", "libc.so.6", "ld-linux-x86-64.so.2"),
    ),
    rpath=("$ORIGIN",),
    gnu_stack_executable=False,
    relro="full",
    bind_now=True,
    has_stack_protector=True,
    fortified_symbols=(
        *("__fprintf_chk", "__memcpy_chk", "__memmove_chk", "__snprintf_chk"),
        *("__sprintf_chk", "__vsnprintf_chk"),
    ),
    stripped=True,
    build_id="0eaa11c67d5752719b7b06e34dda57c447f3b833",
    text_relocations=False,
    exports_count=2,
)


def test_the_official_binary_is_as_strong_as_itself() -> None:
    assert compare_elf(OFFICIAL, OFFICIAL) == []


def test_other_libraries_and_a_few_exports_are_no_weakness() -> None:
    ours = dataclasses.replace(
        OFFICIAL,
        needed=("libc.so.6",),
        fortified_symbols=("__memcpy_chk",),
        exports_count=3,
    )
    assert compare_elf(ours, OFFICIAL) == []


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"gnu_stack_executable": True}, "stack is executable"),
        ({"text_relocations": True}, "text relocations"),
        ({"relro": "partial"}, "RELRO is partial"),
        ({"relro": "none"}, "RELRO is none"),
        ({"stripped": False}, "not stripped"),
        ({"rpath": ("$ORIGIN", "/opt/lib")}, "/opt/lib"),
        ({"rpath": ("",)}, "outside its own folder"),
        ({"bind_now": False}, "bound late"),
        ({"has_stack_protector": False}, "stack protector"),
        ({"fortified_symbols": ()}, "fortified"),
        ({"build_id": ""}, "build id"),
        ({"exports_count": 650}, "exports 650"),
    ],
)
def test_each_weakness_is_named_alone(change: dict[str, object], part: str) -> None:
    weaker = dataclasses.replace(OFFICIAL, **change)
    found = compare_elf(weaker, OFFICIAL)
    assert len(found) == 1
    assert part in found[0]


def test_what_the_reference_lacks_is_not_asked_for_but_the_floor_stays() -> None:
    plain = dataclasses.replace(
        OFFICIAL, has_stack_protector=False, fortified_symbols=(), build_id=""
    )
    assert compare_elf(plain, plain) == []
    weak = dataclasses.replace(plain, gnu_stack_executable=True)
    assert compare_elf(weak, weak) == elf_weaknesses(weak) != []


@pytest.mark.parametrize(
    "content", [b"", b"\x7fELF", b"\x7fELF\x02\x01\x01" + bytes(60), b"MZ" * 99]
)
def test_what_is_no_elf_file_is_said_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.so"
    path.write_bytes(content)
    with pytest.raises(WheelError, match="no ELF file"):
        inspect_elf(path)


def test_only_elf_files_are_read() -> None:
    assert elf_facts([("a.py", b"print()"), ("b.onnx", b"\x08\x07")]) == {}


def test_a_path_is_found_with_its_place_and_its_text() -> None:
    data = b"\x00\x01/home/me/tree/deps/re2/re2.cc\x00rest"
    hit = find_path(data, ["/home/me", "/srv/other"])
    assert hit == FoundPath(offset=2, text="/home/me/tree/deps/re2/re2.cc")


def test_no_needle_finds_nothing_and_a_short_one_is_a_mistake() -> None:
    assert find_path(b"/usr/lib", []) is None
    with pytest.raises(ValueError, match="too short"):
        find_path(b"/usr/lib", ["/"])


@given(
    before=st.binary(max_size=200), after=st.binary(max_size=200), needle=st.just("/build/tree-7f")
)
def test_a_needle_is_found_wherever_it_stands(before: bytes, after: bytes, needle: str) -> None:
    hit = find_path(before + needle.encode() + after, [needle])
    assert hit
    assert hit.offset <= len(before)
