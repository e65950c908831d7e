"""Remove what builds, verifications and rehearsals leave behind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from .system.console import Reporter
from .system.files import disk_used
from .tree.lock import hold_tree
from .tree.workspace import Tree, Workspace

# In .work/: what came over a network, what a reader wants, and the lock that `verify` holds.
_REMOVED = ".removed"
_KEPT = ("models", "official", "reports", "venvs", "verify.lock")


def remove_made(workspace: Workspace, *, everything: bool, reporter: Reporter) -> None:
    """Remove what can be made again without a network; who is using it is waited for.

    Source trees and objects go, and of ``.work/`` all but downloads, environments and reports.
    ``everything`` takes the cache and ``.work/`` whole.
    """
    cache, work = workspace.cache, workspace.root / ".work"
    before = disk_used(cache) + disk_used(work)
    for folder in sorted(each for each in (cache / "trees").glob("*") if each.is_dir()):
        with hold_tree(Tree(root=folder).lock, workspace.root, reporter.say):
            _remove(folder, reporter)
    with _no_verification(work, reporter):
        made = [each for each in sorted(work.glob("*")) if each.name not in _KEPT]
        # The programs of tests/consumers and their objects stand in the cache.
        for path in [cache, work] if everything else [*made, cache / "consumers"]:
            _remove(path, reporter)
    freed = before - disk_used(cache) - disk_used(work)
    reporter.finish(f"clean: {freed / 1e9:.1f} GB removed")


@contextmanager
def _no_verification(work: Path, reporter: Reporter) -> Iterator[None]:
    """Hold the lock of a work directory: what a verification is writing is not removed."""
    if not work.is_dir():
        yield
        return
    lock = FileLock(work / "verify.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        reporter.say(f"a verification uses {work}; waiting until it ends")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _remove(path: Path, reporter: Reporter) -> None:
    if path.is_dir() and not path.is_symlink():
        reporter.say(f"removing {path}")
        # Under another name, so that nothing which is half gone is ever taken for whole.
        gone = path.with_name(f"{path.name.removesuffix(_REMOVED)}{_REMOVED}")
        if gone.exists():  # an earlier removal was stopped
            shutil.rmtree(gone)
        if path != gone:
            path.rename(gone)
            shutil.rmtree(gone)
    else:
        path.unlink(missing_ok=True)
