"""Hashes of files and of whole trees."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import RecipeError

_BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class FileHashes:
    """What a file is: its size in bytes and two hashes in lower-case hex."""

    size: int
    sha256: str
    sha1: str


def hash_file(path: Path) -> FileHashes:
    """Return size, sha256 and sha1 of a file, read once.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    sha256, sha1, size = hashlib.sha256(), hashlib.sha1(usedforsecurity=False), 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            sha256.update(block)
            sha1.update(block)
            size += len(block)
    return FileHashes(size=size, sha256=sha256.hexdigest(), sha1=sha1.hexdigest())


def file_sha256(path: Path) -> str:
    """Return a file's sha256, 64 lower-case hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _entries(root: Path) -> Iterator[tuple[str, Path]]:
    for folder, folders, names in os.walk(root):
        kept = [name for name in folders if name != "__pycache__" and not name.startswith(".")]
        # A link to a folder is listed among the folders; it is an entry of its own, not followed.
        links = [name for name in kept if (Path(folder) / name).is_symlink()]
        folders[:] = [name for name in kept if name not in links]
        for name in [*names, *links]:
            if not name.startswith("."):
                path = Path(folder) / name
                yield path.relative_to(root).as_posix(), path


def tree_size(path: Path) -> int:
    """Return the bytes of all files that :func:`tree_digest` counts."""
    return sum(entry.lstat().st_size for _, entry in _entries(path))


def tree_digest(path: Path) -> str:
    r"""Return the sha256 of a source tree, 64 lower-case hex digits.

    The digest is taken over one line for each file, ``<mode> <sha256 of the content> <path>\n``,
    in UTF-8, sorted by the path's bytes. ``path`` is relative, with forward slashes; ``mode`` is
    ``x`` for a file that its owner may execute, ``l`` for a symbolic link (its content is the
    link's text), else ``-``. Times, owners and empty folders do not count; ``__pycache__`` and
    names that begin with a dot are left out.

    Raises
    ------
    RecipeError
        There is no folder at ``path``.
    """
    if not path.is_dir():
        raise RecipeError(
            f"{path} is no folder, so its digest cannot be taken",
            hint="check the path in the recipe, or check the file out again",
        )
    lines = []
    for name, entry in _entries(path):
        if entry.is_symlink():
            mode, content = "l", hashlib.sha256(os.fsencode(os.readlink(entry))).hexdigest()
        else:
            mode = "x" if entry.stat().st_mode & 0o100 else "-"
            content = file_sha256(entry)
        lines.append((name.encode("utf-8", "surrogateescape"), f"{mode} {content} ".encode()))
    total = hashlib.sha256()
    for encoded, head in sorted(lines):
        total.update(head + encoded + b"\n")
    return total.hexdigest()
