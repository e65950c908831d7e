"""Unpack a Debian package into a folder, without the rights of root.

A Debian system has links with an absolute target (Debian Policy 10.5 asks for them between
top-level folders), and inside an emulated root they mean the root. They are made relative here;
everything else goes through tarfile's data filter. What ``build.tree.unpack`` lacks for this is a
choice of members.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from tests.emulation.errors import EmulationError

_MAGIC = b"!<arch>\n"
_HEADER = 60


def data_archive(content: bytes) -> bytes:
    """Return ``data.tar.*`` of a package (deb(5): an ar archive of three members).

    Raises
    ------
    ValueError
        It is no Debian package.
    """
    if not content.startswith(_MAGIC):
        raise ValueError("it is no ar archive")
    position = len(_MAGIC)
    while position + _HEADER <= len(content):
        header = content[position : position + _HEADER]
        size = int(header[48:58])
        position += _HEADER
        if header[:16].decode("ascii").rstrip(" /").startswith("data.tar"):
            return content[position : position + size]
        position += size + size % 2
    raise ValueError("it has no data.tar")


def relative_link(member: str, target: str) -> str:
    """Return an absolute link target as seen from the link, inside one root."""
    up = len(PurePosixPath(member).parent.parts)
    return str(PurePosixPath(*[".."] * up, *PurePosixPath(target).parts[1:]))


def unpack_deb(package: Path, into: Path, *, name: str, only: Collection[str] = ()) -> None:
    """Unpack a package's files.

    Parameters
    ----------
    package : Path
    into : Path
        The root; made when it is missing.
    name : str
        The package's name, for messages: a cached file is named by its hash.
    only : collection of str
        Members to unpack, such as ``usr/bin/tool``; all when empty.

    Raises
    ------
    EmulationError
        The package is damaged, or lacks a member that ``only`` names.
    """
    wanted = set(only)

    def rooted(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        plain = str(PurePosixPath(member.name))
        if only and plain not in wanted:
            return None
        wanted.discard(plain)
        if member.issym() and member.linkname.startswith("/"):
            link = relative_link(plain, member.linkname)
            member = member.replace(linkname=link, deep=False)
        return tarfile.data_filter(member, path)

    into.mkdir(parents=True, exist_ok=True)
    try:
        stream = io.BytesIO(data_archive(package.read_bytes()))
        with tarfile.open(fileobj=stream, mode="r:*") as tar:
            tar.extractall(into, filter=rooted)
    except (OSError, ValueError, EOFError, tarfile.TarError) as error:
        raise EmulationError(
            f"the Debian package {name} cannot be unpacked: {error}",
            hint="remove the file from the cache and run it again",
            context={"file": str(package)},
        ) from error
    if wanted:
        raise EmulationError(
            f"the Debian package {name} has no {', '.join(sorted(wanted))}",
            hint="the package was laid out anew: correct `only` in pins.toml",
        )
