"""Archives are unpacked whole, and never outside their folder."""

from __future__ import annotations

import errno
import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from build.errors import ResourceError, SourceError
from build.tree import unpack as module
from build.tree.unpack import unpack

FILES = {"root/a.txt": b"alpha", "root/sub/b.txt": b"beta", "root/run.sh": b"#!/bin/sh\n"}


def tar_of(files: Mapping[str, bytes], *extra: tarfile.TarInfo, mode: str = "w:gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mode = 0o755 if name.endswith(".sh") else 0o644
            tar.addfile(info, io.BytesIO(content))
        for info in extra:
            tar.addfile(info)
    return stream.getvalue()


def zip_of(files: Mapping[str, bytes], *, mode: int | None = None) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as zipped:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            bits = 0o100755 if name.endswith(".sh") else 0o100644
            info.external_attr = (bits if mode is None else mode) << 16
            zipped.writestr(info, content)
    return stream.getvalue()


def deb_of(*members: tuple[str, bytes]) -> bytes:
    content = b"!<arch>\n"
    for name, body in members:
        content += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(body):<10}`\n".encode()
        content += body + b"\n" * (len(body) % 2)
    return content


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def archive(folder: Path, content: bytes) -> Path:
    path = folder / "archive"
    path.write_bytes(content)
    return path


def everything(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize(
    "content",
    [
        *(tar_of(FILES, mode=f"w:{kind}") for kind in ("", "gz", "bz2", "xz")),
        zip_of(FILES),
        deb_of(
            ("debian-binary", b"2.0\n"),
            ("control.tar.gz", b"odd"),
            ("data.tar.xz/", tar_of(FILES, mode="w:xz")),
        ),
    ],
    ids=["tar", "tar.gz", "tar.bz2", "tar.xz", "zip", "deb"],
)
def test_each_kind_is_told_by_its_content(tmp_path: Path, content: bytes) -> None:
    into = tmp_path / "out"
    unpack(archive(tmp_path, content), into, strip_root=False)
    assert everything(into) == FILES
    assert os.access(into / "root/run.sh", os.X_OK)
    assert not (into / "root/a.txt").stat().st_mode & 0o111
    stripped = tmp_path / "stripped"
    unpack(archive(tmp_path, content), stripped, strip_root=True)
    assert everything(stripped) == {name.removeprefix("root/"): FILES[name] for name in FILES}


def test_a_root_with_an_entry_of_its_own_name(tmp_path: Path) -> None:
    files = {"json/json/x": b"1", "json/y": b"2"}
    unpack(archive(tmp_path, tar_of(files)), tmp_path / "out", strip_root=True)
    assert everything(tmp_path / "out") == {"json/x": b"1", "y": b"2"}


@pytest.mark.parametrize("files", [{"a": b"1", "b": b"2"}, {"only": b"1"}, {"r/x": b"", "s": b""}])
def test_nothing_is_stripped_where_there_is_no_one_root(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    unpack(archive(tmp_path, tar_of(files)), tmp_path / "out", strip_root=True)
    assert everything(tmp_path / "out") == files


def test_a_link_inside_the_tree_is_kept(tmp_path: Path) -> None:
    content = tar_of(FILES, special("root/link", tarfile.SYMTYPE, "sub/b.txt"))
    unpack(archive(tmp_path, content), tmp_path / "out", strip_root=True)
    assert (tmp_path / "out/link").read_bytes() == b"beta"


UNSAFE: dict[str, bytes] = {
    "tar: parent": tar_of({"../evil": b"x"}),
    "tar: parent inside": tar_of({"root/../../evil": b"x"}),
    "tar: link out": tar_of({}, special("root/link", tarfile.SYMTYPE, "../../evil")),
    "tar: absolute link": tar_of({}, special("root/link", tarfile.SYMTYPE, "/etc/passwd")),
    "tar: hard link out": tar_of({}, special("root/link", tarfile.LNKTYPE, "../evil")),
    "tar: device": tar_of({}, special("root/null", tarfile.CHRTYPE)),
    "tar: pipe": tar_of({}, special("root/pipe", tarfile.FIFOTYPE)),
    "zip: parent": zip_of({"../evil": b"x"}),
    "zip: parent, backslash": zip_of({"root\\..\\..\\evil": b"x"}),
    "zip: absolute": zip_of({"/evil": b"x"}),
    "zip: drive": zip_of({"C:/evil": b"x"}),
    "zip: pipe": zip_of({"root/pipe": b""}, mode=0o010644),
    "deb: parent": deb_of(("data.tar.gz", tar_of({"../evil": b"x"}))),
}


@pytest.mark.parametrize("content", UNSAFE.values(), ids=UNSAFE.keys())
def test_a_member_that_would_leave_the_folder_is_refused(tmp_path: Path, content: bytes) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    with pytest.raises(SourceError, match="archive cannot be unpacked"):
        unpack(archive(tmp_path, content), inner / "out", strip_root=False)
    assert [path.name for path in tmp_path.rglob("*") if path.name == "evil"] == []


def test_an_absolute_tar_member_stays_inside(tmp_path: Path) -> None:
    name = f"{tmp_path}/evil"
    unpack(archive(tmp_path, tar_of({name: b"x"})), tmp_path / "out", strip_root=False)
    assert not Path(name).exists()
    assert everything(tmp_path / "out") == {name.lstrip("/"): b"x"}


def damaged(content: bytes) -> bytes:
    middle = len(content) // 2
    return (
        content[:middle]
        + bytes(byte ^ 0xFF for byte in content[middle : middle + 40])
        + (content[middle + 40 :])
    )


NOISE = {"root/noise": os.urandom(50_000)}
BAD: dict[str, bytes] = {
    "empty": b"",
    "text": b"<html>404</html>" * 100,
    "tar.gz cut": tar_of(NOISE)[:20_000],
    "tar.xz cut": tar_of(NOISE, mode="w:xz")[:20_000],
    "tar.gz damaged": damaged(tar_of({"root/a": b"a" * 90_000})),
    "tar.xz damaged": damaged(tar_of(NOISE, mode="w:xz")),
    "tar.bz2 damaged": damaged(tar_of(NOISE, mode="w:bz2")),
    "zip cut": zip_of(NOISE)[:20_000],
    "zip damaged": damaged(zip_of(NOISE)),
    "deb without data": deb_of(("debian-binary", b"2.0\n"), ("control.tar.gz", b"")),
    "deb with a broken header": b"!<arch>\n" + b"x" * 60,
    "deb with data that is no tar": deb_of(("data.tar.xz", b"nothing")),
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_damaged_bytes_are_an_error_with_the_files_name(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SourceError, match="archive cannot be unpacked") as caught:
        unpack(archive(tmp_path, content), tmp_path / "out", strip_root=True)
    assert caught.value.hint
    assert caught.value.context["file"].endswith("archive")


def test_a_full_disk_is_not_blamed_on_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    stand_in: Callable[..., None] = full
    monkeypatch.setattr(module, "_members", stand_in)
    with pytest.raises(ResourceError, match="the disk is full"):
        unpack(archive(tmp_path, tar_of(FILES)), tmp_path / "out", strip_root=True)
