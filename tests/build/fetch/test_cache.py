"""The cache: what goes in by hash comes out by hash, and nothing else comes out."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build.errors import IntegrityError, RecipeError, ResourceError
from build.fetch.cache import ContentCache, default_cache_root
from build.fetch.integrity import Pin, find_pinned
from build.system.digest import hash_file, tree_digest


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(cache: ContentCache, data: bytes) -> Path:
    path = cache.scratch_file()
    path.write_bytes(data)
    return cache.adopt(path, sha256(data))


def test_what_was_adopted_is_found(tmp_path: Path) -> None:
    cache = ContentCache(tmp_path / "a cache")
    path = put(cache, b"abc")
    digest = sha256(b"abc")
    assert path == tmp_path / "a cache" / "files" / "sha256" / digest[:2] / digest[2:]
    assert cache.find(digest) == path
    assert path.read_bytes() == b"abc"
    assert cache.find(sha256(b"else")) is None


def test_adopt_refuses_other_bytes_and_leaves_them(tmp_path: Path) -> None:
    cache = ContentCache(tmp_path / "cache")
    path = tmp_path / "mine"
    path.write_bytes(b"abc")
    with pytest.raises(IntegrityError) as caught:
        cache.adopt(path, sha256(b"abd"))
    assert path.read_bytes() == b"abc"
    assert caught.value.context["actual sha256"] == sha256(b"abc")
    assert cache.find(sha256(b"abd")) is None


def test_damaged_entry_is_moved_aside_and_absent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = ContentCache(tmp_path)
    path = put(cache, b"abc")
    path.write_bytes(b"abX")
    with caplog.at_level(logging.WARNING):
        assert cache.find(sha256(b"abc")) is None
    kept = [entry for entry in (tmp_path / "damaged").rglob("*") if entry.is_file()]
    assert [entry.read_bytes() for entry in kept] == [b"abX"]
    assert str(kept[0]) in caplog.text
    assert put(cache, b"abc").read_bytes() == b"abc"
    assert cache.find(sha256(b"abc")) is not None


def test_sha1_entry_checks_both_hashes(tmp_path: Path) -> None:
    cache = ContentCache(tmp_path)
    put(cache, b"abc")
    put(cache, b"other")
    good = hashlib.sha1(b"abc").hexdigest()
    assert cache.find_sha1(good) is None
    cache.remember_sha1(good, sha256(b"abc"))
    found = cache.find_sha1(good)
    assert found is not None
    assert found[1].sha256 == sha256(b"abc")
    # An index entry that points at another, sound file is not believed.
    cache.remember_sha1(good, sha256(b"other"))
    assert cache.find_sha1(good) is None


def test_pin_that_contradicts_the_cache_is_an_error(tmp_path: Path) -> None:
    cache = ContentCache(tmp_path)
    put(cache, b"abc")
    assert find_pinned(cache, Pin(sha256=sha256(b"abc"), size=3)) is not None
    with pytest.raises(IntegrityError, match="size is 3 bytes, the recipe pins 4"):
        find_pinned(cache, Pin(sha256=sha256(b"abc"), size=4))


def test_pin_without_hash_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="without any hash"):
        find_pinned(ContentCache(tmp_path), Pin(size=3))


def test_cache_root(tmp_path: Path) -> None:
    assert default_cache_root({"ORTMILL_CACHE": str(tmp_path)}) == tmp_path
    assert default_cache_root({}).name == "ortmill"


def test_cache_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = ContentCache(tmp_path / "file")
    with pytest.raises(ResourceError, match="cannot write") as caught:
        cache.partial("x")
    assert "ORTMILL_CACHE" in caught.value.hint
    assert cache.find("0" * 64) is None


def test_lock_holds_against_other_threads(tmp_path: Path) -> None:
    cache = ContentCache(tmp_path)
    waited, entered = threading.Event(), threading.Event()

    def other() -> None:
        with cache.lock("key", waited.set):
            entered.set()

    thread = threading.Thread(target=other)
    with cache.lock("key"):
        thread.start()
        assert waited.wait(100)
        assert not entered.is_set()
    thread.join(100)
    assert entered.is_set()


def _hold(root: str, ready: object, release: object) -> None:
    with ContentCache(Path(root)).lock("key"):
        ready.set()
        release.wait(100)


def test_lock_holds_against_other_processes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(str(tmp_path), ready, release))
    process.start()
    try:
        assert ready.wait(100)
        calls: list[str] = []

        def waiting() -> None:
            calls.append("waiting")
            release.set()

        with ContentCache(tmp_path).lock("key", waiting):
            pass
        assert calls == ["waiting"]
    finally:
        release.set()
        process.join(20)
    assert process.exitcode == 0


def build_tree(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


names = st.text("abcxyz", min_size=1, max_size=4)
trees = st.dictionaries(names, st.binary(max_size=8), min_size=1, max_size=4)


@given(files=trees, name=names, data=st.binary(max_size=8))
def test_tree_digest_changes_exactly_when_the_tree_does(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], name: str, data: bytes
) -> None:
    one = build_tree(tmp_path_factory.mktemp("one"), files)
    changed = {**files, name: data}
    two = build_tree(tmp_path_factory.mktemp("two"), dict(reversed(changed.items())))
    assert (tree_digest(one) == tree_digest(two)) == (changed == files)


def test_tree_digest_leaves_out_caches_and_dot_names(tmp_path: Path) -> None:
    build_tree(tmp_path, {"a/b.h": b"1"})
    before = tree_digest(tmp_path)
    build_tree(tmp_path, {"a/__pycache__/b.pyc": b"2", ".git/x": b"3", "a/.hidden": b"4"})
    assert tree_digest(tmp_path) == before
    os.chmod(tmp_path / "a" / "b.h", 0o755)
    assert tree_digest(tmp_path) != before


def test_tree_digest_counts_links_without_following_them(tmp_path: Path) -> None:
    build_tree(tmp_path, {"a/b.h": b"1"})
    plain = tree_digest(tmp_path)
    (tmp_path / "loop").symlink_to(".")
    with_link = tree_digest(tmp_path)
    assert with_link != plain
    (tmp_path / "loop").unlink()
    (tmp_path / "loop").symlink_to("a")
    assert tree_digest(tmp_path) not in (plain, with_link)


def test_tree_digest_of_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no folder"):
        tree_digest(tmp_path / "none")


def test_hash_file_known_values(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    hashes = hash_file(tmp_path / "f")
    # FIPS 180-4, the examples of SHA-1 and SHA-256.
    assert hashes.sha1 == "a9993e364706816aba3e25717850c26c9cd0d89d"
    assert hashes.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hashes.size == 3
