"""Links in archives: made where they stay inside, refused by name where they leave.

The good archives are made by git and by tar themselves; what they never make is made by hand.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build.errors import SourceError
from build.tree import unpack as module
from build.tree.unpack import unpack

# name -> content of a file, or ("link", target); a name that ends in .sh is executable.
Entry = bytes | tuple[str, str]
Members = Sequence[tuple[str, Entry]]
Maker = Callable[[Members], bytes]


def link(target: str) -> Entry:
    return ("link", target)


def hard(target: str) -> Entry:
    return ("hard", target)


def tar_of(members: Members) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, entry in members:
            info = tarfile.TarInfo(name)
            if isinstance(entry, tuple):
                info.type = tarfile.SYMTYPE if entry[0] == "link" else tarfile.LNKTYPE
                info.linkname = entry[1]
                tar.addfile(info)
            else:
                info.size = len(entry)
                tar.addfile(info, io.BytesIO(entry))
    return stream.getvalue()


def zip_of(members: Members) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as zipped:
        for name, entry in members:
            info = zipfile.ZipInfo(name)
            is_link = isinstance(entry, tuple)
            info.external_attr = (0o120755 if is_link else 0o100644) << 16
            zipped.writestr(info, entry[1] if isinstance(entry, tuple) else entry)
    return stream.getvalue()


MAKERS = {"tar": tar_of, "zip": zip_of}


def file_of(folder: Path, content: bytes) -> Path:
    path = folder / "archive"
    path.write_bytes(content)
    return path


def described(folder: Path) -> dict[str, str]:
    """Return every entry below a folder: a link's target, or a file's mode and content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_file():
            mode = "x" if path.stat().st_mode & 0o100 else "-"
            found[name] = f"{mode} {path.read_text()}"
    return found


TREE: dict[str, Entry] = {
    "LICENSE": b"licence",
    "python/LICENSE": link("../LICENSE"),
    "a-first": link("z/deep/file"),
    "again": link("a-first"),
    "folder": link("z/deep"),
    "through": link("folder/../other"),
    "z/deep/file": b"deep",
    "z/deep/up": link("../../LICENSE"),
    "z/other": b"other",
    "z/self": link("."),
    "gone": link("nowhere/at/all"),
    "circle": link("circle"),
    "run.sh": b"#!/bin/sh\n",
    "archive/archive/x": b"1",
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    for name, entry in TREE.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(entry, tuple):
            path.symlink_to(entry[1])
        else:
            path.write_bytes(entry)
            path.chmod(0o755 if name.endswith(".sh") else 0o644)
    return folder


def run(*command: str, cwd: Path) -> bytes:
    names = [f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
    own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    env = {**os.environ, **own, **dict.fromkeys(names, "x@example.org")}
    return subprocess.run(command, cwd=cwd, env=env, check=True, capture_output=True).stdout


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_what_git_archive_makes_is_the_tree_again(
    tmp_path: Path, repository: Path, kind: str
) -> None:
    run("git", "init", "-q", ".", cwd=repository)
    run("git", "add", "-A", cwd=repository)
    run("git", "commit", "-qm", "x", cwd=repository)
    prefix = "--prefix=archive/"
    content = run("git", "archive", f"--format={kind}", prefix, "HEAD", cwd=repository)
    unpack(file_of(tmp_path, content), tmp_path / "out", strip_root=True)
    (repository / ".git").rename(tmp_path / "git")
    assert described(tmp_path / "out") == described(repository)
    assert (tmp_path / "out/again").read_text() == "deep"
    assert (tmp_path / "out/through").read_text() == "other"


def test_what_tar_makes_is_the_tree_again(tmp_path: Path, repository: Path) -> None:
    os.link(repository / "LICENSE", repository / "z" / "hard")
    run("tar", "cf", "../archive", "-C", "..", "repository", cwd=repository)
    unpack(tmp_path / "archive", tmp_path / "out", strip_root=True)
    assert described(tmp_path / "out") == described(repository)
    assert (tmp_path / "out/z/hard").samefile(tmp_path / "out/LICENSE")


OUTSIDE: dict[str, tuple[Members, str]] = {
    "parent": ([("root/link", link("../../evil"))], "root/link"),
    "absolute": ([("root/link", link("/etc/passwd"))], "root/link"),
    "past its root": ([("root/a", b""), ("root/link", link("../b"))], "root/link"),
    "past its root and back": (
        [("root/a", b""), ("root/link", link("/".join(("..", "root", "a"))))],
        "root/link",
    ),
    "through a folder link": (
        [("root/d/e/f", b""), ("root/near", link("d/e")), ("root/link", link("near/../../../x"))],
        "root/link",
    ),
    "through a later link": (
        [("root/link", link("d/e/../../x")), ("root/s", b""), ("root/d", link("s/..")),
         ("root/near", link("."))],
        "root/link",
    ),
    "through a link that is put last": (
        [("root/a/link", link("b/../../x")), ("root/a/b", link(".."))],
        "root/a/link",
    ),
    "through a name that is too long": (
        [("root/link", link("/".join(["n" * 250] * 17) + "/.." * 30))],
        "",
    ),
    "to nowhere": ([("root/link", link(""))], "root/link"),
}  # fmt: skip


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS.keys())
@pytest.mark.parametrize(("members", "named"), OUTSIDE.values(), ids=OUTSIDE.keys())
def test_a_link_that_leaves_is_refused_by_name(
    tmp_path: Path, members: Members, named: str, maker: Maker
) -> None:
    out = tmp_path / "inner/out"
    with pytest.raises(SourceError, match=f"cannot be unpacked: .*{named}"):
        unpack(file_of(tmp_path, maker(members)), out, strip_root=True)
    assert not [path for path in out.rglob("*") if path.is_symlink()]


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS.keys())
@pytest.mark.parametrize("target", ["sub", "../outside"])
@pytest.mark.parametrize("last", [("root/l/evil", b"x"), ("root/l/evil", link("x"))])
def test_nothing_is_written_through_a_link(
    tmp_path: Path, target: str, last: tuple[str, Entry], maker: Maker
) -> None:
    (tmp_path / "outside").mkdir()
    content = maker([("root/sub/a", b""), ("root/l", link(target)), last])
    with pytest.raises(SourceError, match="'root/l/evil' goes through the link root/l"):
        unpack(file_of(tmp_path, content), tmp_path / "out", strip_root=True)
    assert not list((tmp_path / "outside").iterdir())


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS.keys())
def test_a_file_after_a_link_of_its_name_does_not_follow_it(tmp_path: Path, maker: Maker) -> None:
    content = maker([("root/a", b"old"), ("root/l", link("a")), ("root/l", b"new")])
    unpack(file_of(tmp_path, content), tmp_path / "out", strip_root=True)
    assert described(tmp_path / "out") == {"a": "- old", "l": "- new"}


def test_hard_links_are_made_to_what_came_before(tmp_path: Path) -> None:
    content = tar_of(
        [("root/a", b"a"), ("root/b", hard("root/a")), ("root/c", hard("root/b")),
         ("root/l", link("a")), ("root/m", hard("root/l")), ("root/b", b"other")]
    )  # fmt: skip
    unpack(file_of(tmp_path, content), tmp_path / "out", strip_root=True)
    assert described(tmp_path / "out") == {
        "a": "- a",
        "b": "- other",
        "c": "- a",
        "l": "-> a",
        "m": "-> a",
    }
    assert (tmp_path / "out/a").samefile(tmp_path / "out/c")


@pytest.mark.parametrize("target", ["../evil", "root/../../evil", "/etc/passwd", "root/later"])
def test_a_hard_link_to_anything_else_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "evil").write_text("kept")
    content = tar_of([("root/a", b"a"), ("root/h", hard(target)), ("root/later", b"")])
    with pytest.raises(SourceError, match="the member 'root/h'"):
        unpack(file_of(tmp_path, content), tmp_path / "out", strip_root=True)


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS.keys())
def test_links_between_several_roots_stay(tmp_path: Path, maker: Maker) -> None:
    content = maker([("one/a", b"a"), ("two/l", link("../one/a")), ("three", link("two"))])
    unpack(file_of(tmp_path, content), tmp_path / "out", strip_root=True)
    assert (tmp_path / "out/three/l").read_text() == "a"


CLASH: list[tuple[str, Entry]] = [("r/Read/a", b"1"), ("r/read/b", b"2"), ("r/caf\u00e9", b"")]


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS.keys())
@pytest.mark.parametrize(
    "members",
    [CLASH, [("r/café", b""), ("r/cafe\u0301", b"")], [("r/A", link("x")), ("r/a", b"")]],
)  # fmt: skip
def test_names_that_differ_in_spelling_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: Members, maker: Maker
) -> None:
    archive = file_of(tmp_path, maker(members))
    unpack(archive, tmp_path / "out", strip_root=False)
    assert len(described(tmp_path / "out")) == len(members)
    monkeypatch.setattr(module, "_folds_case", lambda _: True)
    with pytest.raises(SourceError, match="are one name on this file system"):
        unpack(archive, tmp_path / "again", strip_root=False)


def test_a_second_package_of_a_system_goes_through_the_firsts_link(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = tar_of([("./usr/lib/a", b"a"), ("./lib", link("/usr/lib")), ("./away", link("usr"))])
    unpack(file_of(tmp_path, first), out, strip_root=False, rooted_links=True)
    assert os.readlink(out / "lib") == "usr/lib"
    second = tar_of([("./lib/b", b"b"), ("./lib/c/l", link("/lib/b"))])
    unpack(file_of(tmp_path, second), out, strip_root=False, rooted_links=True)
    assert (out / "usr/lib/c/l").read_text() == "b"
    (out / "away").unlink()
    (out / "away").symlink_to("..")
    with pytest.raises(SourceError, match="goes through the link away"):
        unpack(file_of(tmp_path, tar_of([("away/evil", b"x")])), out, strip_root=False)
    assert not (tmp_path / "evil").exists()


names = st.lists(st.sampled_from(["r", "a", "b", "c", "..", ".", "", "A"]), min_size=1, max_size=5)
targets = st.lists(st.sampled_from(["r", "a", "b", "c", "..", "..", "."]), min_size=1, max_size=6)
entries = st.one_of(
    st.just(b"content"),
    targets.map("/".join).map(link),
    targets.map(lambda parts: link("/" + "/".join(parts))),
    targets.map("/".join).map(hard),
)
members = st.lists(st.tuples(names.map("/".join), entries), max_size=9)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=300, deadline=None)
@given(
    members=members,
    strip_root=st.booleans(),
    rooted=st.booleans(),
    maker=st.sampled_from([*MAKERS.values()]),
)
def test_nothing_is_ever_outside(
    tmp_path_factory: pytest.TempPathFactory,
    members: Members,
    strip_root: bool,
    rooted: bool,
    maker: Maker,
) -> None:
    base = tmp_path_factory.mktemp("property")
    root = base / "one/two/three/out"
    archive = file_of(base, maker(members))
    with suppress(SourceError):
        unpack(archive, root, strip_root=strip_root, rooted_links=rooted)
    outside = {path for path in base.rglob("*") if root not in path.parents}
    assert outside <= {archive, *root.parents, root}
    assert archive.stat().st_nlink == 1
    for path in root.rglob("*"):
        if path.is_symlink():
            with suppress(RuntimeError):  # a circle, which nothing follows
                assert path.resolve().is_relative_to(root)


WHOLE = [
    maker([("r/a", b"content" * 9), ("r/b/c", b"c"), ("r/b/l", link("../a"))])
    for maker in MAKERS.values()
]


@settings(max_examples=400, deadline=None)
@given(
    whole=st.sampled_from(WHOLE),
    changes=st.lists(st.tuples(st.integers(0, 12000), st.integers(0, 255)), max_size=4),
)
def test_no_change_of_its_bytes_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, changes: list[tuple[int, int]]
) -> None:
    content = bytearray(whole)
    for at, byte in changes:
        content[at % len(content)] = byte
    base = tmp_path_factory.mktemp("bytes")
    with suppress(SourceError):
        unpack(file_of(base, bytes(content)), base / "out", strip_root=True)
    assert {path.name for path in base.iterdir()} <= {"archive", "out"}
