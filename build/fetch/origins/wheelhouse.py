"""The wheels of the build's own tools, fetched by pip against a lock file.

pip does the fetching, so indexes, proxies, certificates and key rings are the machine's own.
Every wheel's hash is in the lock file; pip refuses any other.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import sysconfig
from pathlib import Path

from ...errors import IntegrityError
from ...system.digest import file_sha256
from ..cache import ContentCache
from ..context import FetchContext
from ..http import TransferError
from ..integrity import not_pinned
from .pip_settings import last_error, last_lines, pip_environment, run_module

_RECORD = "wheelhouse.json"
_SCHEMA = 1


def check_lock(lock: Path, sha256: str) -> None:
    """Check that a lock file is the pinned one.

    Raises
    ------
    IntegrityError
        It is missing or has another hash.
    """
    try:
        actual = file_sha256(lock)
    except OSError as error:
        raise IntegrityError(
            f"the tools' lock file {lock} cannot be read: {error.strerror}",
            hint="check the path in the recipe, or check the file out again",
        ) from error
    if actual != sha256:
        hint = "a lock file is changed together with its lock_sha256 in the recipe"
        raise not_pinned(f"the tools' lock file {lock}", lock, sha256, actual, hint=hint)


def wheelhouse_path(cache: ContentCache, lock_sha256: str) -> Path:
    """Return where the wheels of a lock file stand for the running interpreter."""
    tag = f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}"
    return cache.root / "wheelhouse" / f"{lock_sha256}-{tag}"


def find_wheelhouse(cache: ContentCache, lock_sha256: str) -> Path | None:
    """Return the folder of a lock file's wheels, each hashed again, or None.

    A folder with a wheel missing or damaged is moved aside as a whole.
    """
    path = wheelhouse_path(cache, lock_sha256)
    record = cache.read_record(path / _RECORD)
    with contextlib.suppress(OSError):
        if record and all(
            file_sha256(path / name) == sha256 for name, sha256 in record.get("files", {}).items()
        ):
            return path
    if path.exists():
        cache.set_aside(path, path.name)
    return None


def fill_wheelhouse(lock: Path, lock_sha256: str, context: FetchContext) -> Path:
    """Fetch every wheel of a lock file, unless they are there; return the folder.

    The lock is a requirements file of ``name==version --hash=sha256:…`` lines. Wheels only, no
    dependencies beyond the lock, hashes required.

    Raises
    ------
    IntegrityError
        The lock file, or a wheel, is not the pinned one.
    TransferError
        pip could not fetch a wheel.
    """
    cache, say = context.cache, context.progress.say
    check_lock(lock, lock_sha256)
    path = wheelhouse_path(cache, lock_sha256)

    def waiting() -> None:
        say("build tools: waiting for another ortmill that is fetching them")

    with cache.lock(f"wheelhouse-{path.name}", waiting):
        if found := find_wheelhouse(cache, lock_sha256):
            return found
        say("build tools: fetching the wheels of the lock file with pip")
        folder = cache.scratch_folder()
        try:
            _download(lock, folder, context)
            wheels = sorted(folder.glob("*.whl"))
            record = {
                "schema": _SCHEMA,
                "lock_sha256": lock_sha256,
                "files": {wheel.name: file_sha256(wheel) for wheel in wheels},
                "size": sum(wheel.stat().st_size for wheel in wheels),
            }
            (folder / _RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            path.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return path


def _download(lock: Path, folder: Path, context: FetchContext) -> None:
    words = ["download", "--quiet", "--require-hashes", "--no-deps", "--only-binary", ":all:"]
    words += ["--dest", str(folder), "--requirement", str(lock)]
    result = run_module(
        context.python, "pip", *words, env=pip_environment(context.env), cancel=context.cancel
    )
    if result.code == 0:
        return
    last = last_error(result)
    if "DO NOT MATCH THE HASHES" in result.err:
        raise IntegrityError(
            "a wheel of the build tools is not the pinned one",
            hint="find out what the index holds before the lock file is changed",
            context={"lock": str(lock), "pip said": last_lines(result)},
        )
    raise TransferError(
        f"pip could not fetch the build tools: {last}",
        brief=last,
        hint="check the network and `python -m pip config list`",
        context={"lock": str(lock), "pip said": last_lines(result)},
    )
