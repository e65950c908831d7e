"""The content-addressed cache: files named by their hash, and hashed again on every use.

Below the root: ``files/sha256/<2>/<62>`` holds the bytes, ``files/sha1/<40>`` the sha256 of a
file that was pinned by sha1 alone, ``partial/`` downloads under way, ``damaged/`` whatever was
found to be wrong, and ``locks/`` one lock file for each entry.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout

from ..errors import IntegrityError, ResourceError
from ..system.digest import FileHashes, file_sha256, hash_file
from ..system.files import replacing, write_whole, writing_to

_log = logging.getLogger(__name__)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def default_cache_root(env: Mapping[str, str]) -> Path:
    """Return the cache's folder: ``ORTMILL_CACHE``, else the user's cache folder."""
    if chosen := env.get("ORTMILL_CACHE"):
        return Path(chosen).expanduser().absolute()
    return platformdirs.user_cache_path("ortmill")


def sha256_of(path: Path) -> str:
    """Return the sha256 that a file of the cache is named by."""
    return "".join(path.parts[-2:])


@dataclass(frozen=True)
class ContentCache:
    """Files kept by content below ``root``; the folder is made when it is first needed."""

    root: Path

    def path_for(self, sha256: str) -> Path:
        """Return the path of the file with this hash, whether it exists or not."""
        return self.root / "files" / "sha256" / sha256[:2] / sha256[2:]

    def find(self, sha256: str) -> Path | None:
        """Return the file with this hash, or None.

        The file is hashed again. One that does not match its name is moved to ``damaged``,
        logged, and treated as absent.
        """
        path = self.path_for(sha256)
        try:
            actual = file_sha256(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ResourceError(
                f"cannot read {path}: {error.strerror or error}",
                hint="make the cache readable, or set ORTMILL_CACHE to another folder",
            ) from error
        if actual == sha256:
            return path
        self.set_aside(path, sha256)
        return None

    def find_sha1(self, sha1: str) -> tuple[Path, FileHashes] | None:
        """Return a file that was pinned by sha1 alone, with its hashes; both are checked."""
        index = self.root / "files" / "sha1" / sha1
        try:
            sha256 = index.read_text(encoding="ascii", errors="replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        path = self.find(sha256) if _SHA256.fullmatch(sha256) else None
        if path is not None:
            hashes = hash_file(path)
            if hashes.sha1 == sha1 and hashes.sha256 == sha256:
                return path, hashes
            self.set_aside(index, f"sha1-{sha1}")
        return None

    def adopt(self, path: Path, sha256: str) -> Path:
        """Move a file into the cache, atomically, and return its new path.

        Raises
        ------
        IntegrityError
            The file's hash is not ``sha256``; it stays where it is.
        """
        actual = file_sha256(path)
        if actual != sha256:
            raise IntegrityError(
                f"{path} has sha256 {actual}, not {sha256}",
                hint="the file was left where it is",
                context={"file": str(path), "expected sha256": sha256, "actual sha256": actual},
            )
        target = self.path_for(sha256)
        with writing_to(self.root):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.replace(path, target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                with replacing(target) as copy:
                    shutil.copyfile(path, copy)
                path.unlink()
        return target

    def remember_sha1(self, sha1: str, sha256: str) -> None:
        """Note which file a sha1 belongs to."""
        write_whole(self.root / "files" / "sha1" / sha1, sha256 + "\n")

    def read_record(self, path: Path) -> dict[str, Any] | None:
        """Return a JSON object that was written; None where it cannot be used."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return data if isinstance(data, dict) else None

    def partial(self, key: str) -> Path:
        """Return where a download under way is kept; its folder exists afterwards."""
        return self._folder("partial") / f"{_UNSAFE.sub('-', key)}.part"

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        with writing_to(self.root):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def scratch_file(self) -> Path:
        """Return a new empty file on the cache's own file system."""
        with writing_to(self.root):
            handle, name = tempfile.mkstemp(dir=self._folder("partial"), prefix="new-")
            os.close(handle)
            os.chmod(name, 0o644)
        return Path(name)

    def scratch_folder(self) -> Path:
        """Return a new empty folder on the cache's own file system."""
        with writing_to(self.root):
            return Path(tempfile.mkdtemp(dir=self._folder("partial"), prefix="new-"))

    def set_aside(self, path: Path, name: str) -> Path | None:
        """Move a file or folder that is wrong into ``damaged``; return where it is now."""
        folder = self._folder("damaged")
        with writing_to(self.root):
            kept = Path(tempfile.mkdtemp(dir=folder, prefix=f"{_UNSAFE.sub('-', name)}-"))
            try:
                os.replace(path, kept / path.name)
            except FileNotFoundError:
                # Another process was faster.
                kept.rmdir()
                return None
        _log.warning("%s is damaged; moved to %s", path, kept / path.name)
        return kept / path.name

    @contextmanager
    def lock(self, key: str, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold the lock of one entry, against other processes and other threads.

        ``waiting`` is called once where somebody else holds the lock.
        """
        with writing_to(self.root):
            lock = FileLock(self._folder("locks") / f"{_UNSAFE.sub('-', key)}.lock")
            try:
                lock.acquire(blocking=False)
            except Timeout:
                if waiting:
                    waiting()
                lock.acquire()
        try:
            yield
        finally:
            lock.release()
