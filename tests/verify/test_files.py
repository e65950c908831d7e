"""Files that are whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from verify.errors import VerifyError
from verify.files import made_folder, replacing, write_text


def test_a_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    for text in ("one\n", "two\n"):
        write_text(path, text)
        assert path.read_bytes() == text.encode()
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_what_fails_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), replacing(path) as partial:
        partial.write_text("half", encoding="utf-8")
        raise ZeroDivisionError
    assert path.read_text("utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(VerifyError, match="cannot be written"):
        write_text(tmp_path / "file" / "report", "")
    with pytest.raises(VerifyError, match="cannot be made"):
        made_folder(tmp_path / "file" / "work")
