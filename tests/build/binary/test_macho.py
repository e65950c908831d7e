"""Reading Mach-O files, their exports and their signatures."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from build.binary.macho import inspect_macho, is_macho, macho_facts
from build.binary.rules import macho_weaknesses
from build.errors import WheelError
from tests.kit.macho_files import DYNAMIC, SYSTEM, X86_64, export_trie, macho, universal

SOUND = macho()


def test_the_facts_of_a_sound_library(tmp_path: Path) -> None:
    path = tmp_path / "libtiny.dylib"
    path.write_bytes(macho(weak=["/usr/lib/libz.1.dylib"]))
    facts = inspect_macho(path)
    assert facts.architectures == ("arm64",)
    assert (facts.filetype, facts.platform) == ("dylib", "macOS")
    assert (facts.minos, facts.sdk) == ("13.3", "14.2")
    assert facts.install_name == "@rpath/libtiny.dylib"
    assert facts.dependencies == (*SYSTEM, "/usr/lib/libz.1.dylib")
    assert facts.rpaths == ("@loader_path",)
    assert facts.exports == {"_tiny", "_tiny_more"}
    assert facts.exports_count == 2
    assert facts.flat_lookups == ()
    assert facts.two_level
    assert facts.stripped
    assert facts.has_stack_protector
    assert facts.fortified_symbols == ()
    assert facts.fixups == "dyld-info"
    assert facts.function_starts
    assert not facts.executable_stack
    assert facts.writable_code == ()
    assert facts.uuid == bytes(range(16)).hex()
    assert facts.signature is not None
    assert facts.signature.problems == ()
    assert facts.signature.ad_hoc


def test_other_forms_of_the_same_facts() -> None:
    facts = inspect_macho(
        macho(
            filetype=8,
            fixups="chained",
            undefined={"_PyLong_FromLong": DYNAMIC, "___memcpy_chk": 2, "_free": 2},
            local=3,
            minos="14.2.1",
            function_starts=False,
            uuid=False,
            text_protection=(7, 5),
            flags=0x80 | 0x20000,
        )
    )
    assert (facts.filetype, facts.install_name) == ("bundle", "")
    assert facts.fixups == "chained"
    assert facts.exports == {"_tiny", "_tiny_more"}
    assert facts.flat_lookups == ("_PyLong_FromLong",)
    assert facts.fortified_symbols == ("___memcpy_chk",)
    assert not facts.has_stack_protector
    assert facts.local_symbols == 3
    assert not facts.stripped
    assert facts.minos == "14.2.1"
    assert not facts.function_starts
    assert facts.uuid == ""
    assert facts.writable_code == ("__TEXT",)
    assert facts.executable_stack


def test_without_a_trie_the_symbol_table_says_what_is_exported() -> None:
    facts = inspect_macho(macho(fixups="none"))
    assert facts.fixups == "none"
    assert facts.exports == {"_tiny", "_tiny_more"}


def test_in_a_flat_namespace_every_look_up_is_flat() -> None:
    facts = inspect_macho(macho(flags=0))
    assert not facts.two_level
    assert facts.flat_lookups == ("___stack_chk_fail", "_malloc")


def test_the_wanted_part_of_a_universal_file_is_read() -> None:
    both = universal(macho(cpu=X86_64, subtype=3, minos="10.15"), SOUND)
    assert inspect_macho(both).minos == "13.3"
    assert inspect_macho(both, architecture="x86_64").minos == "10.15"
    assert inspect_macho(both).architectures == ("x86_64", "arm64")
    assert inspect_macho(both).signature == inspect_macho(SOUND).signature
    other = macho(cpu=X86_64, subtype=3)
    assert inspect_macho(other).architectures == ("x86_64",)
    assert inspect_macho(macho(subtype=0x80000002)).architectures == ("arm64e",)


def test_only_mach_o_files_are_read() -> None:
    java = b"\xca\xfe\xba\xbe" + struct.pack(">HH", 0, 65) + bytes(50)
    assert not is_macho(java)
    assert macho_facts([("a.py", b"print()"), ("B.class", java), ("c", b"\x7fELF")]) == {}
    assert list(macho_facts([("a.dylib", SOUND)])) == ["a.dylib"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x7fELF" + bytes(99),
        SOUND[:20],
        SOUND[:200],
        SOUND[:0x1010],
        universal(SOUND)[: 1 << 14],
        b"\xca\xfe\xba\xbe" + struct.pack(">I", 0) + bytes(40),
        SOUND[:32] + struct.pack("<2I", 0x19, 4) + SOUND[40:],
        SOUND[:16] + struct.pack("<I", 1000) + SOUND[20:],
    ],
)
def test_what_is_no_mach_o_file_is_said_so(content: bytes) -> None:
    with pytest.raises(WheelError, match="no Mach-O file") as caught:
        inspect_macho(content, name="libx.dylib")
    assert str(caught.value).startswith("libx.dylib")
    assert caught.value.hint


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, len(SOUND) - 1), byte=st.integers(0, 255))
@example(at=4362, byte=1)  # in the list of hashes itself, which no hash covers
def test_no_byte_can_be_changed_without_being_noticed(at: int, byte: int) -> None:
    if SOUND[at] == byte:
        return
    changed = SOUND[:at] + bytes([byte]) + SOUND[at + 1 :]
    try:
        facts = inspect_macho(changed)
    except WheelError:
        return
    before = inspect_macho(SOUND)
    assert facts.signature != before.signature


@pytest.mark.parametrize("page_bits", [12, 14])
def test_each_changed_page_is_counted(page_bits: int) -> None:
    content = macho(page_bits=page_bits)
    changed = bytearray(content)
    changed[0xFF0] ^= 1
    signature = inspect_macho(bytes(changed)).signature
    assert signature is not None
    assert len(signature.problems) == 1
    assert "1 of" in signature.problems[0]
    assert "page 0 first" in signature.problems[0]


def test_bytes_after_the_signature_and_a_moved_limit_are_problems() -> None:
    signature = inspect_macho(macho(tail=b"more")).signature
    assert signature is not None
    assert signature.problems == ("4 bytes follow it",)
    at = SOUND.rindex(struct.pack(">I", 0xFADE0C02))
    (limit,) = struct.unpack_from(">I", SOUND, at + 32)
    shorter = SOUND[: at + 32] + struct.pack(">I", limit - 16) + SOUND[at + 36 :]
    signature = inspect_macho(shorter).signature
    assert signature is not None
    assert any("covers" in problem for problem in signature.problems)
    assert any("changed" in problem for problem in signature.problems)


def test_an_unsigned_file_has_no_signature() -> None:
    assert inspect_macho(macho(signed=False)).signature is None


NAMES = st.sets(st.text("_abZ$é", min_size=1, max_size=8), max_size=20)


@given(names=NAMES)
@settings(deadline=None)
def test_every_name_of_a_trie_is_found(names: set[str]) -> None:
    facts = inspect_macho(macho(exports=sorted(names)))
    assert facts.exports == facts.external == names


def exported(trie: bytes) -> frozenset[str]:
    facts = inspect_macho(macho(trie=trie))
    found = macho_weaknesses(facts, architecture="arm64", minimum_os="13.3")
    if facts.exports != facts.external:
        assert any("export trie and its symbol table disagree" in clause for clause in found)
    return facts.exports


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=80))
def test_any_bytes_end_as_names_or_as_an_error(data: bytes) -> None:
    try:
        names = exported(data)
    except WheelError:
        return
    assert len(names) <= len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01a\x00\x00",
        b"\x00\x01a\x00\x60",
        b"\x00\x01a",
        b"\x00",
        b"\x80" * 11,
    ],
    ids=["reaches a node twice", "leads out", "ends in a name", "ends in a node", "no end"],
)
def test_a_broken_trie_contradicts_the_symbol_table(data: bytes) -> None:
    facts = inspect_macho(macho(trie=data))
    assert facts.exports != facts.external == {"_tiny", "_tiny_more"}
    exported(data)


def test_a_trie_and_a_symbol_table_must_name_the_same() -> None:
    assert exported(export_trie(["_tiny"])) == {"_tiny"}
    assert exported(export_trie(["_tiny", "_tiny_more"])) == {"_tiny", "_tiny_more"}
