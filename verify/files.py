"""Files that are whole or not there, and the folders that a run writes to."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import CannotWrite


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a new file to write to, which replaces ``path`` when the block ends well.

    Raises
    ------
    CannotWrite
        When the folder cannot be written. The file that was there before is then unchanged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        os.close(handle)
        partial = Path(name)
        try:
            yield partial
            partial.chmod(0o644)  # mkstemp's own 0600 would hide a report from everyone else
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise CannotWrite(
            f"{path} cannot be written: {error.strerror or error}.",
            hint="Free some space, or name a place that you may write to: --work DIR names another "
            "work directory.",
        ) from None


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step, with a line feed alone at each line's end."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def made_folder(path: Path) -> Path:
    """Return a folder of the work directory, made when it is not there.

    Raises
    ------
    CannotWrite
        When it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(
            f"The work directory {path} cannot be made: {error.strerror}.",
            hint="Name another one with --work DIR.",
        ) from None
    return path


def keep_alone(folder: Path, name: str) -> None:
    """Remove all that a folder holds but one entry."""
    for each in folder.iterdir():
        if each.name == name:
            continue
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()
