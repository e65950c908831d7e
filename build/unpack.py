"""Unpack archives safely: nothing outside the target, no devices, no links that lead away."""

from __future__ import annotations

import errno
import io
import lzma
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from build.errors import ResourceError, SourceError, ToolchainError

# What the readers raise on damaged bytes; some of it is neither OSError nor ValueError.
_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, ValueError, RuntimeError),
)
_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60


def unpack(archive: Path, into: Path, *, strip_root: bool, rooted_links: bool = False) -> None:
    """Unpack a tar archive, a zip archive or a Debian package.

    Parameters
    ----------
    archive : Path
        The file; its kind is told by its content, not by its name.
    into : Path
        An empty or missing folder.
    strip_root : bool
        Leave out the archive's one top-level folder, where everything stands in one.
    rooted_links : bool, optional
        Take absolute symbolic links as relative to ``into``, as for a system's packages that are
        unpacked into a folder; else they are refused.

    Raises
    ------
    SourceError
        It is no archive, or a member would leave the folder.
    ResourceError
        The disk is full.
    """
    into.mkdir(parents=True, exist_ok=True)
    try:
        with archive.open("rb") as stream:
            magic = stream.read(len(_AR_MAGIC))
        if magic == _AR_MAGIC:
            _untar(io.BytesIO(_debian_data(archive)), into, rooted_links)
        elif zipfile.is_zipfile(archive):
            _unzip(archive, into)
        else:
            with archive.open("rb") as stream:
                _untar(stream, into, rooted_links)
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(
                f"the disk is full: {archive.name} cannot be unpacked into {into}",
                hint="free some space, or set ORTMILL_CACHE to a folder on another disk",
            ) from error
        raise SourceError(
            f"{archive.name} cannot be unpacked: {error}",
            hint="an unsafe member, or no archive that ortmill knows (tar, zip, deb)",
            context={"file": str(archive)},
        ) from error
    if strip_root:
        _strip_root(into)


def _rooted(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
    if member.issym() and member.linkname.startswith("/"):
        depth = len(PurePosixPath(member.name).parts) - 1
        link = "../" * depth + member.linkname.lstrip("/")
        member = member.replace(linkname=link, deep=False)
    return tarfile.data_filter(member, path)


def _untar(stream: BinaryIO, into: Path, rooted_links: bool) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise ToolchainError(
            "this Python's tarfile has no data filter, so archives cannot be unpacked safely",
            hint="use Python 3.11.4 or newer",
        )
    with tarfile.open(fileobj=stream, mode="r:*") as tar:
        # Both filters are the data filter; one mends absolute links before it looks.
        tar.extractall(into, filter=_rooted if rooted_links else "data")  # noqa: S202


def _unzip(archive: Path, into: Path) -> None:
    with zipfile.ZipFile(archive) as zipped:
        for member in zipped.infolist():
            parts = PurePosixPath(member.filename.replace("\\", "/")).parts
            if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0]:
                raise ValueError(f"the member {member.filename!r} would leave the folder")
            mode = member.external_attr >> 16
            if mode & 0o170000 == 0o120000:
                raise ValueError(f"the member {member.filename!r} is a symbolic link")
            target = Path(zipped.extract(member, into))
            if not member.is_dir():
                # Like tarfile's data filter: readable by all, executable where the owner's bit is.
                target.chmod(0o755 if mode & 0o100 else 0o644)


def _debian_data(package: Path) -> bytes:
    """Return ``data.tar.*`` of a Debian package (deb(5): an ar archive of three members)."""
    content = package.read_bytes()
    position = len(_AR_MAGIC)
    while position + _AR_HEADER <= len(content):
        header = content[position : position + _AR_HEADER]
        name = header[:16].decode("ascii").rstrip(" /")
        size = int(header[48:58])
        position += _AR_HEADER
        if name.startswith("data.tar"):
            return content[position : position + size]
        position += size + size % 2
    raise ValueError("the Debian package has no data.tar")


def _strip_root(folder: Path) -> None:
    entries = list(folder.iterdir())
    if len(entries) != 1 or not entries[0].is_dir() or entries[0].is_symlink():
        return
    # Through a name that no member can have: the root may hold an entry named like itself.
    root = entries[0].rename(folder / ".ortmill-root")
    for entry in list(root.iterdir()):
        shutil.move(entry, folder / entry.name)
    root.rmdir()
