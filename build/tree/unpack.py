"""Unpack archives safely: nothing outside the target, no devices, no links that lead away."""

from __future__ import annotations

import errno
import io
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from ..errors import ResourceError, SourceError

# What the readers raise on damaged bytes; some of it is neither OSError nor ValueError.
_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, ValueError, RuntimeError, LookupError, ArithmeticError),
)
_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60
# Systems follow 32 (macOS) or 40 (Linux) links and then give up.
_FOLLOWED = 40
_LINK_BYTES = 4096

Parts = tuple[str, ...]


def unpack(archive: Path, into: Path, *, strip_root: bool, rooted_links: bool = False) -> None:
    """Unpack a tar archive, a zip archive or a Debian package, whatever its name says.

    Symbolic links that stay inside are made, those that leave are refused. What is inside is
    decided by the folder as it is in the end: with ``strip_root``, which leaves out the archive's
    one top-level folder where everything is in one, the archive's own root is outside. With
    ``rooted_links`` absolute symbolic links are relative to ``into``, as for a system's packages
    that are unpacked into a folder, several of them into the same.

    Raises
    ------
    SourceError
        It is no archive, or a member would leave the folder; nothing was written outside.
    ResourceError
        The disk is full.
    """
    into.mkdir(parents=True, exist_ok=True)
    try:
        writer = _Writer(into)
        for member in _members(archive, rooted_links):
            writer.add(member)
        writer.finish(strip_root=strip_root)
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


@dataclass(frozen=True, kw_only=True)
class _Member:
    """One entry of an archive; ``kind`` is one of tarfile's type bytes."""

    name: str
    parts: Parts
    kind: bytes
    executable: bool
    link: str
    open: Callable[[], IO[bytes]]


def _members(archive: Path, rooted_links: bool) -> Iterator[_Member]:
    with archive.open("rb") as stream:
        magic = stream.read(len(_AR_MAGIC))
        stream.seek(0)
        if magic == _AR_MAGIC:
            yield from _of_tar(io.BytesIO(_debian_data(archive)), rooted_links)
        elif zipfile.is_zipfile(archive):
            yield from _of_zip(stream)
        else:
            yield from _of_tar(stream, rooted_links)


def _of_tar(stream: IO[bytes], rooted_links: bool) -> Iterator[_Member]:
    with tarfile.open(fileobj=stream, mode="r:*") as tar:
        for info in tar:
            # Tar programs write absolute names without their first slash, and read them so.
            parts = _parts(info.name, info.name.lstrip("/"))
            link = info.linkname
            if info.issym() and rooted_links and link.startswith("/"):
                link = "../" * (len(parts) - 1) + link.lstrip("/")

            def opened(info: tarfile.TarInfo = info) -> IO[bytes]:
                content = tar.extractfile(info)
                if content is None:
                    raise ValueError(f"the member {info.name!r} is no file")
                return content

            yield _Member(
                name=info.name,
                parts=parts,
                kind=tarfile.REGTYPE if info.isreg() else info.type,
                executable=bool(info.mode & stat.S_IXUSR),
                link=link,
                open=opened,
            )


_ZIP_KINDS = {
    0: tarfile.REGTYPE,
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
}


def _of_zip(stream: IO[bytes]) -> Iterator[_Member]:
    with zipfile.ZipFile(stream) as zipped:
        for info in zipped.infolist():
            name = info.filename
            # Some programs on Windows write backslashes for slashes.
            if re.match(r"[A-Za-z]:|[/\\]", name) or ".." in name.replace("\\", "/").split("/"):
                raise ValueError(f"the member {name!r} would leave the folder")
            mode = info.external_attr >> 16
            kind = tarfile.DIRTYPE if name.endswith("/") else _ZIP_KINDS.get(stat.S_IFMT(mode))
            link = ""
            if kind == tarfile.SYMTYPE:
                if info.file_size > _LINK_BYTES:
                    raise ValueError(f"the member {name!r} is a link with an impossible target")
                link = os.fsdecode(zipped.read(info))

            def opened(info: zipfile.ZipInfo = info) -> IO[bytes]:
                return zipped.open(info)

            yield _Member(
                name=name,
                parts=_parts(name, name),
                kind=kind or b"",
                executable=bool(mode & stat.S_IXUSR),
                link=link,
                open=opened,
            )


def _parts(name: str, path: str) -> Parts:
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in parts or "\0" in name:
        raise ValueError(f"the member {name!r} would leave the folder")
    return parts


class _Writer:
    """Write members below a folder.

    Symbolic links come last: until everything else is there, no name leads anywhere but into the
    folder. Then each is followed on the real file system, through all other links.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: set[Parts] = {()}
        self._files: set[Parts] = set()
        self._links: dict[Parts, _Member] = {}
        self._spelt: dict[Parts, Parts] = {}

    def add(self, member: _Member) -> None:
        """Write one member, or keep a link for :meth:`finish`."""
        parts = member.parts
        if member.kind == tarfile.DIRTYPE:
            self._folder(parts, member)
            return
        if not parts:
            raise ValueError(f"the member {member.name!r} has no name of its own")
        self._folder(parts[:-1], member)
        self._check_spelling(parts, member)
        path = self._root.joinpath(*parts)
        if member.kind == tarfile.LNKTYPE:
            target = _parts(member.name, member.link.lstrip("/"))
            if target in self._links:
                member = replace(self._links[target], name=member.name, parts=parts)
            elif target in self._files and target != parts:
                self._clear(parts)
                os.link(self._root.joinpath(*target), path)
                self._files.add(parts)
            else:
                raise ValueError(
                    f"the member {member.name!r} is a hard link to {member.link!r}, "
                    "which is no file of the archive before it"
                )
        if member.kind == tarfile.SYMTYPE:
            self._links[parts] = member
        elif member.kind == tarfile.REGTYPE:
            self._clear(parts)
            with member.open() as content, path.open("xb") as file:
                shutil.copyfileobj(content, file)
            # Readable by all, executable where the owner's bit is set.
            path.chmod(0o755 if member.executable else 0o644)
            self._files.add(parts)
        elif member.kind != tarfile.LNKTYPE:
            raise ValueError(f"the member {member.name!r} is neither a file, a folder nor a link")

    def finish(self, *, strip_root: bool) -> None:
        """Leave out the one top-level folder, if asked; then make the links."""
        links = self._links
        if strip_root and self._strip(links):
            links = {parts[1:]: link for parts, link in links.items()}
        made: list[Path] = []
        try:
            for parts, link in links.items():
                path = self._root.joinpath(*parts)
                if not link.link or "\0" in link.link:
                    raise ValueError(f"the member {link.name!r} is a link to nowhere")
                if path.is_symlink() or path.is_file():
                    path.unlink()
                path.symlink_to(link.link)
                made.append(path)
            for parts, link in links.items():
                if _leads_out(self._root, parts):
                    raise ValueError(
                        f"the member {link.name!r} is a symbolic link to {link.link!r}, "
                        "which would leave the folder"
                    )
        except BaseException:
            for path in made:
                path.unlink()
            raise

    def _folder(self, parts: Parts, member: _Member) -> None:
        if parts in self._folders:
            return
        self._folder(parts[:-1], member)
        self._check_spelling(parts, member)
        path = self._root.joinpath(*parts)
        # A link that is there already belongs to another package of the same system.
        if parts in self._links or (path.is_symlink() and _leads_out(self._root, parts)):
            raise ValueError(f"the member {member.name!r} goes through the link {'/'.join(parts)}")
        path.mkdir(exist_ok=True)
        self._folders.add(parts)

    def _clear(self, parts: Parts) -> None:
        """Let the later of two members with one name count, as tar programs do."""
        self._links.pop(parts, None)
        self._root.joinpath(*parts).unlink(missing_ok=True)

    def _check_spelling(self, parts: Parts, member: _Member) -> None:
        folded = tuple(unicodedata.normalize("NFC", part).casefold() for part in parts)
        first = self._spelt.setdefault(folded, parts)
        if first != parts and _folds_case(self._root):
            raise ValueError(
                f"the members {'/'.join(first)!r} and {member.name!r} are one name "
                "on this file system"
            )

    def _strip(self, links: dict[Parts, _Member]) -> bool:
        roots = {path.name for path in self._root.iterdir()} | {parts[0] for parts in links}
        if len(roots) != 1 or not (root := self._root / roots.pop()).is_dir():
            return False
        # By way of a folder beside: the root may hold an entry that is named like itself.
        beside = Path(tempfile.mkdtemp(dir=self._root.parent))
        moved = root.rename(beside / "root")
        moved.rename(self._root)
        beside.rmdir()
        return True


def _leads_out(root: Path, parts: Parts) -> bool:
    """Follow a path below ``root`` link by link; say whether any step leaves it.

    ``os.path.realpath`` will not do: it only says where a path ends, and takes what it cannot
    read, such as a path that is too long, for a plain name.
    """
    pending, followed = list(reversed(parts)), 0
    at: list[str] = []
    while pending:
        part = pending.pop()
        if part == "..":
            if not at:
                return True
            at.pop()
        elif part not in ("", "."):
            path = root.joinpath(*at, part)
            if not _is_link(path):
                at.append(part)
                continue
            text = os.readlink(path)
            followed += 1
            if text.startswith("/"):
                return True
            if followed > _FOLLOWED:
                # No system follows it. Each link further on is looked at from its own place.
                return False
            pending.extend(reversed(text.split("/")))
    return False


def _is_link(path: Path) -> bool:
    try:
        return stat.S_ISLNK(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _folds_case(folder: Path) -> bool:
    """Say whether the file system takes two spellings for one name, as Macs do by default."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix="ortmill-") as file:
        path = Path(file.name)
        return path.with_name(path.name.upper()).exists()


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
