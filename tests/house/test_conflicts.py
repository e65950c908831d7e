"""No file holds what a merge left behind."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MARK = re.compile(rb"^(?:<{7}|>{7}|\|{7}) |^={7}$", re.M)


def conflicts(root: Path) -> list[str]:
    """Return the tracked files with a conflict's marks."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True
    ).stdout
    files = [name for name in listed.split("\0") if name and (root / name).is_file()]
    return [name for name in files if MARK.search((root / name).read_bytes())]


def test_no_file_holds_a_conflict() -> None:
    assert conflicts(ROOT) == []


def test_a_conflict_is_found(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "page.md").write_text("one\n" + "<" * 7 + " HEAD\ntwo\n")
    (tmp_path / "sound.md").write_text("A title\n=======X\n")
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    assert conflicts(tmp_path) == ["page.md"]
