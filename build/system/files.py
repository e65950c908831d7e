"""Files that are written whole or not at all, and errors that name where writing failed."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ResourceError

_HINT = "make the folder writable; for the cache, set ORTMILL_CACHE to a folder of yours"

_BLOCK = 512  # the unit of st_blocks, stat(2)


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turn an ``OSError`` of the body into a :class:`ResourceError` that names ``path``."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise ResourceError(
            f"cannot write to {path}: {error.strerror or error}",
            hint="free some disk space" if full else _HINT,
            context={"path": str(error.filename or path)},
        ) from error


def check_writable(folder: Path) -> None:
    """Make sure that files can be made in a folder, before any long work; it is made if needed.

    Raises
    ------
    ResourceError
        The folder cannot be made, or nothing can be written to it.
    """
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"ortmill")


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a temporary file beside ``target``, synced and renamed to it at the end.

    So the target is written whole or not at all.

    Raises
    ------
    ResourceError
        The disk is full or the folder cannot be written.
    """
    with writing_to(target.parent):
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".part")
        os.close(descriptor)
        part = Path(name)
        try:
            yield part
            with part.open("rb+") as stream:
                os.fsync(stream.fileno())
            part.chmod(0o644)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


def write_whole(target: Path, content: str | bytes) -> None:
    """Write a small file as :func:`replacing` does; its folder is made if needed, text is UTF-8."""
    with writing_to(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def disk_used(path: Path) -> int:
    """Return the bytes that a file or folder takes on disk; a file of several names counts once."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_blocks * _BLOCK if path.exists() else 0
    found = {}
    for folder, folders, names in os.walk(path):
        for name in [*folders, *names]:
            facts = (Path(folder) / name).lstat()
            found[facts.st_dev, facts.st_ino] = facts
    return sum(facts.st_blocks * _BLOCK for facts in found.values())
