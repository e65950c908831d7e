"""Patches apply exactly, all of their files or none."""

from __future__ import annotations

import difflib
import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from build.errors import IntegrityError, SourceError
from build.tree.patch import apply_patch
from tests.kit.recipe_examples import ROOT, shipped

BEFORE = "".join(f"line {number}\n" for number in range(1, 21))
AFTER = BEFORE.replace("line 3\n", "line three\n").replace("line 18\n", "line 18\nand a half\n")
HEADER = "Why: the words on top are no part of the diff.\n\n-not removed\n+not added\n@@ not @@\n\n"


def diff(before: str, after: str, *, old: str = "a/src/f.txt", new: str = "b/src/f.txt") -> str:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), old, new
    )
    return "".join(lines)


def tree(folder: Path, content: str | bytes = BEFORE) -> Path:
    root = folder / "tree"
    (root / "src").mkdir(parents=True)
    data = content if isinstance(content, bytes) else content.encode()
    (root / "src/f.txt").write_bytes(data)
    return root


def patch(folder: Path, text: str | bytes) -> Path:
    path = folder / "fix.patch"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def state(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_patch_with_a_header_applies(tmp_path: Path) -> None:
    root = tree(tmp_path)
    file = patch(tmp_path, HEADER + diff(BEFORE, AFTER))
    apply_patch(file, root, sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    assert (root / "src/f.txt").read_text() == AFTER
    assert [path.name for path in (root / "src").iterdir()] == ["f.txt"]


def test_files_are_made_and_removed(tmp_path: Path) -> None:
    root = tree(tmp_path)
    text = diff("", "new\ntext\n", old="/dev/null", new="b/deep/er/n.txt")
    text += diff(BEFORE, "", new="/dev/null")
    apply_patch(patch(tmp_path, text), root)
    assert state(root) == {str(root / "deep/er/n.txt"): b"new\ntext\n"}


def test_a_file_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    root = tree(tmp_path)
    before = state(root)
    text = diff("", "new\n", old="/dev/null")
    with pytest.raises(SourceError, match="does not apply"):
        apply_patch(patch(tmp_path, text), root)
    assert state(root) == before


def test_a_last_line_without_an_end(tmp_path: Path) -> None:
    root = tree(tmp_path, "a\nb")
    marker = "\\ No newline at end of file\n"
    text = f"--- a/src/f.txt\n+++ b/src/f.txt\n@@ -1,2 +1,2 @@\n a\n-b\n{marker}+c\n{marker}"
    apply_patch(patch(tmp_path, text), root)
    assert (root / "src/f.txt").read_bytes() == b"a\nc"


def test_windows_line_ends_are_kept(tmp_path: Path) -> None:
    windows = {name: text.replace("\n", "\r\n") for name, text in (("b", BEFORE), ("a", AFTER))}
    root = tree(tmp_path, windows["b"])
    apply_patch(patch(tmp_path, diff(windows["b"], windows["a"])), root)
    assert (root / "src/f.txt").read_bytes() == windows["a"].encode()


@pytest.mark.parametrize(
    "content",
    [
        BEFORE.replace("line 17", "line seventeen"),
        "one line more\n" + BEFORE,
        BEFORE.replace("line 1\n", ""),
        BEFORE.replace("line 4\n", "line  4\n"),
        AFTER,
        "",
    ],
    ids=["context", "moved down", "moved up", "blanks", "patched already", "empty"],
)
def test_another_tree_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    root = tree(tmp_path, content)
    before = state(root)
    # The first file of the patch would apply; the second does not.
    text = diff("", "x\n", old="/dev/null", new="b/first.txt") + diff(BEFORE, AFTER)
    with pytest.raises(SourceError, match=r"fix\.patch does not apply") as caught:
        apply_patch(patch(tmp_path, text), root)
    assert state(root) == before
    assert "check the recipe's versions" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just words\n",
        b"\xff\xfe\x00",
        "--- a/src/f.txt\n+++ b/src/f.txt\n",
        "--- a/src/f.txt\n+++ b/src/f.txt\n@@ -1,3 +1,3 @@\n line 1\n",
        diff(BEFORE, AFTER, old="a/../../f.txt", new="b/../../f.txt"),
        diff(BEFORE, AFTER, old="/etc/f.txt", new="/etc/f.txt"),
        diff(BEFORE, AFTER, old="a/none.txt", new="b/none.txt"),
    ],
    ids=["empty", "words", "bytes", "no hunk", "cut short", "outside", "absolute", "no file"],
)
def test_what_is_no_patch_for_the_tree(tmp_path: Path, text: str | bytes) -> None:
    root = tree(tmp_path)
    before = state(tmp_path)
    file = patch(tmp_path, text)
    with pytest.raises(SourceError, match="does not apply"):
        apply_patch(file, root)
    file.unlink()
    assert state(tmp_path) == before


def test_another_patch_than_the_pinned_one(tmp_path: Path) -> None:
    root = tree(tmp_path)
    with pytest.raises(IntegrityError, match="is not the pinned one") as caught:
        apply_patch(patch(tmp_path, diff(BEFORE, AFTER)), root, sha256="0" * 64)
    assert caught.value.context["expected sha256"] == "0" * 64
    assert (root / "src/f.txt").read_text() == BEFORE


def test_no_patch_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        apply_patch(tmp_path / "none.patch", tree(tmp_path))


def test_upstreams_patches_may_have_moved_and_differ_in_blanks(tmp_path: Path) -> None:
    root = tree(tmp_path, "more\n" + BEFORE.replace("line 4\n", "line\t 4\r\n"))
    apply_patch(patch(tmp_path, diff(BEFORE, AFTER)), root, lenient=True)
    patched = (root / "src/f.txt").read_text()
    assert "line three\n" in patched
    assert "line 18\nand a half\n" in patched
    other = tree(tmp_path / "other", BEFORE.replace("line 2\n", "line two\n"))
    with pytest.raises(SourceError, match="does not apply"):
        apply_patch(patch(tmp_path, diff(BEFORE, AFTER)), other, lenient=True)


LINES = st.lists(
    st.sampled_from(
        ["\n", " \n", "a\n", "b\n", "-- a\n", "++ b\n", "- \n", "@@ -1 +1 @@\n", "\\\n"]
    ),
    max_size=12,
)


@given(before=LINES, after=LINES)
@settings(max_examples=60, deadline=None)
def test_applying_a_difference_gives_the_other_text(before: list[str], after: list[str]) -> None:
    assume(before != after)
    with tempfile.TemporaryDirectory() as name:
        root = tree(Path(name), "".join(before))
        apply_patch(patch(Path(name), HEADER + diff("".join(before), "".join(after))), root)
        assert (root / "src/f.txt").read_bytes() == "".join(after).encode()


def test_the_shipped_patches_are_the_pinned_ones_and_say_why() -> None:
    patches = [each for each in shipped().source.patches if not each.upstream]
    assert patches
    for each in patches:
        content = (ROOT / "recipes" / "patches" / each.file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == each.sha256
        assert len(content.split(b"\n--- ")[0].split()) > 10, f"{each.file} does not say why"
