"""What the rehearsals share: steps that are told, commands as a user gives them, a checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from build.system.environment import is_network
from build.system.files import disk_used

HERE = Path(__file__).resolve().parents[2]
MOUNTS = Path("/proc/self/mountinfo")
_COPIED = ("build", "verify", "recipes", "noxfile.py", "pyproject.toml", "LICENSE", "README.md")


class Failed(Exception):
    """A step of a rehearsal ended otherwise than it should, or could not be made."""


def say(text: str) -> None:
    """Print a line at once: what the commands print comes between."""
    print(text, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Say what is done, and how long it took."""
    say(f"\n== {title}")
    begun = time.monotonic()
    yield
    say(f"-- {time.monotonic() - begun:.1f} s")


def run(
    python: Path,
    arguments: Sequence[str],
    *,
    folder: Path,
    env: Mapping[str, str] | None = None,
    expected: Sequence[int] = (0,),
) -> str:
    """Run ``python -m …`` as a user does; show what it says, return what it prints.

    Raises
    ------
    Failed
        It ends in another exit code than expected.
    """
    outer = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if env:
        # How this machine reaches its network says nothing about the rehearsal's.
        outer = {name: value for name, value in outer.items() if not is_network(name)}
        outer.pop("PIP_CERT", None)
    say(f"$ python -m {' '.join(arguments)}")
    done = subprocess.run(
        [str(python), "-m", *arguments],
        cwd=folder,
        env={**outer, **(env or {})},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode not in expected:
        raise Failed(f"`python -m {' '.join(arguments)}` ended in {done.returncode}, "
                     f"not in {' or '.join(map(str, expected))}")  # fmt: skip
    return done.stdout


def sweep(folder: Path, *, keep: Sequence[str] = ()) -> None:
    """Remove what a rehearsal that ended well has made, but for the names to ``keep``.

    Raises
    ------
    Failed
        Something is mounted there: it would be the user's own cache that is removed.
    """
    if mounted := _mounted_below(folder.resolve()):
        raise Failed(f"{folder} is not removed: {mounted} is mounted there")
    gone = [each for each in sorted(folder.glob("*")) if each.name not in keep]
    size = sum(disk_used(each) for each in gone)
    for each in gone:
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()
    if not keep:
        folder.rmdir()
    say(f"removed what the rehearsal had made: {size / 1e9:.1f} GB in {folder}")


def _mounted_below(folder: Path) -> str:
    """Return a mount point in a folder, or an empty string (proc(5): the fifth field, in octal)."""
    lines = MOUNTS.read_text(encoding="utf-8").splitlines() if MOUNTS.exists() else []
    places = (
        re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), line.split(" ")[4])
        for line in lines
    )
    return next((each for each in places if Path(each).is_relative_to(folder)), "")


def told_where(folder: Path) -> str:
    """Say where a rehearsal that failed has left what it made."""
    if not folder.is_dir():
        return ""
    return (
        f"What it made stays in {folder} ({disk_used(folder) / 1e9:.1f} GB) to be looked at; "
        "`nox -s clean` removes it."
    )


def copy_checkout(target: Path, *more: str) -> None:
    """Copy this checkout without its artefacts to ``target``, in place of what is there.

    Parameters
    ----------
    target : Path
        A folder, made anew.
    more : str
        Folders that are copied as well.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in (*_COPIED, *more):
        source = HERE / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target / name, ignore=ignored)
        else:
            shutil.copyfile(source, target / name)
    (target / "wheels").mkdir()
