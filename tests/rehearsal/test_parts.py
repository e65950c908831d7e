"""The rehearsal's own parts: a stand-in that is wrong shows nothing."""

from __future__ import annotations

import base64
import hashlib
import shutil
import tomllib
from pathlib import Path

import pytest

from build.recipe.format import ArchiveOrigin
from build.recipe.load import load_recipe
from build.system.digest import FileHashes
from build.tree.unpack import unpack
from tests.kit.recipe_examples import SHIPPED
from tests.rehearsal import commands
from tests.rehearsal.commands import Failed, sweep, told_where
from tests.rehearsal.compare import compare, tree_contents
from tests.rehearsal.nar import nar_hash
from tests.rehearsal.pins import with_pins
from tests.rehearsal.repositories import Release, archive, commit_tree, release_of


def hash_of(*parts: bytes) -> str:
    """Return the hash of a Nix archive that is written out part by part."""
    padded = (len(p).to_bytes(8, "little") + p + b"\0" * (-len(p) % 8) for p in parts)
    return "sha256-" + base64.b64encode(hashlib.sha256(b"".join(padded)).digest()).decode()


def test_a_small_tree_has_the_hash_that_the_format_says(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "run").write_bytes(b"#!/bin/sh\n")
    (tree / "run").chmod(0o755)
    (tree / "link").symlink_to("run")
    assert nar_hash(tree) == hash_of(
        *(b"nix-archive-1", b"(", b"type", b"directory"),
        *(b"entry", b"(", b"name", b"link", b"node"),
        *(b"(", b"type", b"symlink", b"target", b"run", b")", b")"),
        *(b"entry", b"(", b"name", b"run", b"node"),
        *(b"(", b"type", b"regular", b"executable", b"", b"contents", b"#!/bin/sh\n", b")"),
        *(b")", b")"),
    )


def test_the_recipe_differs_in_its_pins_alone() -> None:
    recipe = load_recipe(SHIPPED)
    before = SHIPPED.read_text(encoding="utf-8")
    archives = [o for d in recipe.dependencies for o in d.origins if isinstance(o, ArchiveOrigin)]
    # What versions share, protoc, stands in a file of its own.
    urls = [origin.url for origin in archives if origin.url in before]
    assert len(urls) > 15
    hashes = {
        url: FileHashes(size=number + 1, sha1=f"{number:040x}", sha256=f"{number:064x}")
        for number, url in enumerate(urls)
    }
    after = with_pins(before, commit="c" * 40, archives=hashes)
    pairs = list(zip(before.splitlines(), after.splitlines(), strict=True))
    changed = [new.partition(" = ")[0] for old, new in pairs if old != new]
    assert set(changed) <= {"commit", "sha1", "sha256", "size"}
    assert changed.count("commit") == 2
    made = tomllib.loads(after)
    for dependency in made["dependencies"]:
        for origin in dependency["origins"]:
            if origin["kind"] == "archive":
                wanted = hashes[origin["url"]]
                assert origin.get("sha1", wanted.sha1) == wanted.sha1
                assert origin.get("sha256", wanted.sha256) == wanted.sha256
    with pytest.raises(ValueError, match=r"names no https://nowhere\.test/"):
        with_pins(before, commit="c" * 40, archives={"https://nowhere.test/": hashes[urls[0]]})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("google/re2/archive/refs/tags/2024-07-02.zip", ("2024-07-02", "re2-2024-07-02/")),
        ("o/flatbuffers/archive/refs/tags/v23.5.26.zip", ("v23.5.26", "flatbuffers-23.5.26/")),
        ("o/FP16/archive/" + "a" * 40 + ".zip", ("a" * 40, "FP16-" + "a" * 40 + "/")),
        ("o/eigen/archive/" + "b" * 40 + "/eigen-x.zip", ("b" * 40, "eigen-" + "b" * 40 + "/")),
    ],
)
def test_an_address_says_what_its_archive_is(path: str, expected: tuple[str, str]) -> None:
    owner, repository = path.split("/")[:2]
    ref, prefix = expected
    wanted = Release(owner=owner, repository=repository, ref=ref, prefix=prefix)
    assert release_of(f"https://github.com/{path}") == wanted
    assert release_of("https://github.com/o/p/releases/download/v1/p-linux.zip") is None


@pytest.mark.skipif(shutil.which("git") is None, reason="NOT RUN: there is no git here")
def test_an_archive_holds_the_tree_whatever_its_attributes_say(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "third_party" / "submodule").mkdir(parents=True)
    (tree / ".gitattributes").write_text("* text eol=crlf\nsecret export-ignore\n* export-subst\n")
    (tree / ".gitignore").write_text("ignored\n")
    for name in ("secret", "ignored", "plain"):
        (tree / name).write_text("$Format:%H$\n")
    (tree / "link").symlink_to("third_party/submodule")
    before = nar_hash(tree)
    commit = commit_tree(tree, tmp_path / "git", day="2025-01-02")
    archive(tmp_path / "git", commit, "p-1/", tmp_path / "p.zip")
    unpack(tmp_path / "p.zip", tmp_path / "out", strip_root=True)
    assert nar_hash(tmp_path / "out") == before
    assert commit_tree(tree, tmp_path / "again", day="2025-01-02") == commit


def test_each_kind_of_difference_is_told(tmp_path: Path) -> None:
    for name, content in {"a/same": "1", "a/mine": "2", "a/both": "3"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    for name, content in {"b/same": "1", "b/yours": "2", "b/both": "4"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    here, there = tree_contents(tmp_path / "a"), tree_contents(tmp_path / "b")
    assert compare(here, there).told() == [
        "only here: 1 (mine)",
        "only there: 1 (yours)",
        "other content: 1 (both)",
    ]
    assert compare(here, there).names == ("mine", "yours")
    assert not compare(here, here)
    (tmp_path / "a/same").chmod(0o755)
    assert compare(tree_contents(tmp_path / "a"), here).changed == ("same",)


def test_what_a_rehearsal_made_is_removed_but_for_what_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("reports", "cache"):
        (tmp_path / "made" / name).mkdir(parents=True)
        (tmp_path / "made" / name / "file").write_bytes(bytes(60_000_000))
    (tmp_path / "made" / "site.json").write_text("{}")
    (tmp_path / "made" / "link").symlink_to(tmp_path)
    assert "(0.1 GB)" in told_where(tmp_path / "made")
    sweep(tmp_path / "made", keep=["reports"])
    assert [each.name for each in (tmp_path / "made").iterdir()] == ["reports"]
    assert "0.1 GB" in capsys.readouterr().out
    sweep(tmp_path / "made")
    assert not (tmp_path / "made").exists()
    assert told_where(tmp_path / "made") == ""


def test_nothing_is_removed_where_something_is_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own caché" / "sccache"
    own.mkdir(parents=True)
    table = tmp_path / "mountinfo"
    place = str(own).replace(" ", "\\040")
    table.write_text(f"22 1 0:21 / /proc rw - proc proc rw\n23 1 0:22 / {place} rw - ext4 x rw\n")
    monkeypatch.setattr(commands, "MOUNTS", table)
    with pytest.raises(Failed, match="is mounted there"):
        sweep(tmp_path / "own caché")
    assert own.exists()
