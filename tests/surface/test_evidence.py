"""Proofs of libSystem's symbols: found in wheels that are old enough, written, and read back."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.kit.macho_examples import (
    BUILD_VERSION,
    EXTENSION,
    LIBRARY,
    NAME,
    command,
    patched,
    replaced,
    stored,
    wheel,
)
from tests.surface.evidence import evidence_text, main, prove
from verify.macho.published_symbols import load_published

SYSTEM = "/usr/lib/libSystem.B.dylib"
OBJC = "/usr/lib/libobjc.A.dylib"


def test_proofs_are_gathered_from_wheels_old_enough(tmp_path: Path) -> None:
    wanted = {(OBJC, "_objc_msgSend"), (OBJC, "_objc_new_in_26"), (SYSTEM, "_nowhere")}
    proofs, remaining = prove(wanted, [wheel(tmp_path / "a")])
    (proof,) = proofs
    assert (proof.file, proof.minimum) == (NAME, "13.3")
    assert proof.imports == {OBJC: frozenset({"_objc_msgSend"})}
    assert remaining == {(OBJC, "_objc_new_in_26"), (SYSTEM, "_nowhere")}
    table = tmp_path / "system.toml"
    table.write_text(evidence_text(proofs), encoding="utf-8")
    assert load_published((13, 3), [table]) == {(OBJC, "_objc_msgSend"): NAME}
    version = command(stored("library"), BUILD_VERSION)
    newer = {
        LIBRARY: patched(stored("library"), version + 12, struct.pack("<I", 14 << 16)),
        EXTENSION: None,
    }
    assert prove(wanted, [wheel(tmp_path / "b", newer)]) == ([], wanted)


def test_the_first_wheel_that_shows_a_symbol_proves_it(tmp_path: Path) -> None:
    first, second = (wheel(tmp_path / each, name=f"{each}-1.whl") for each in "ab")
    proofs, remaining = prove({(OBJC, "_objc_msgSend")}, [first, second])
    assert [each.file for each in proofs] == ["a-1.whl"]
    assert remaining == set()


def test_the_table_is_written_by_its_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = replaced(stored("library"), b"__Block_object_dispose", b"__Block_object_dispos_")
    official = wheel(tmp_path / "official", {LIBRARY: bare, EXTENSION: bare})
    ours, output = wheel(tmp_path / "ours"), tmp_path / "system.toml"
    words = ["system", "--wheel", str(ours), "--official", str(official), str(official)]
    assert main(words) == 1
    assert "nothing proves __Block_object_dispose" in capsys.readouterr().err
    assert main([*words, str(ours)]) == 0
    output.write_text(capsys.readouterr().out, encoding="utf-8")
    assert load_published((13, 3), [output]) == {(SYSTEM, "__Block_object_dispose"): NAME}


def test_a_wheel_that_cannot_be_read_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.whl"
    bad.write_bytes(b"no archive")
    assert main(["system", "--wheel", str(bad), "--official", str(bad), str(bad)]) != 0
    assert "is damaged" in capsys.readouterr().err
