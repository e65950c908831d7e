"""What a build through upstream has that one through the registries has not, and the other way."""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Names that one side alone has, and names whose content differs."""

    here: tuple[str, ...]
    there: tuple[str, ...]
    changed: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names that one side alone has."""
        return (*self.here, *self.there)

    def __bool__(self) -> bool:
        return bool(self.here or self.there or self.changed)

    def told(self, *, at_most: int = 8) -> list[str]:
        """Return one line for each kind of difference."""
        kinds = {"only here": self.here, "only there": self.there, "other content": self.changed}
        return [
            f"{kind}: {len(names)} ({', '.join(names[:at_most])}{', …' * (len(names) > at_most)})"
            for kind, names in kinds.items()
            if names
        ]


def compare(here: Mapping[str, str], there: Mapping[str, str]) -> Difference:
    """Compare two tables from name to content's digest."""
    return Difference(
        here=tuple(sorted(here.keys() - there.keys())),
        there=tuple(sorted(there.keys() - here.keys())),
        changed=tuple(sorted(n for n in here.keys() & there.keys() if here[n] != there[n])),
    )


def tree_contents(root: Path) -> dict[str, str]:
    """Return every file and link of a tree with its digest; compiled Python does not count."""
    found = {}
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in [*names, *(each for each in folders if (Path(folder) / each).is_symlink())]:
            path = Path(folder) / name
            if path.is_symlink():
                digest = f"-> {os.readlink(path)}"
            else:
                executable = "x" if path.stat().st_mode & 0o100 else "-"
                digest = executable + hashlib.sha256(path.read_bytes()).hexdigest()
            found[path.relative_to(root).as_posix()] = digest
    return found


def wheel_contents(wheel: Path) -> dict[str, str]:
    """Return every member of a wheel with its digest; the local version is left out of names."""
    with zipfile.ZipFile(wheel) as zipped:
        return {
            re.sub(r"\+ortmill\.[0-9a-f]+", "", name): hashlib.sha256(zipped.read(name)).hexdigest()
            for name in zipped.namelist()
        }
