"""Our own patches of the CoreML provider, by name; a file without one, and how it is compiled."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from build.recipe.format import Patch, PlatformName, Recipe
from build.recipe.patches import patch_name
from build.tree.patch import parse_patch, patched
from build.tree.workspace import Tree, open_workspace
from tests.kit.recipe_examples import ROOT, shipped

_COMPILED = (".c", ".cc", ".cpp", ".mm", ".S")
FOLDER = ROOT / "recipes" / "patches"


def mending(recipe: Recipe) -> Mapping[str, Patch]:
    """Return the patches that mend the provider, by name; not the one that fits our overlay."""
    named = {patch_name(patch): patch for patch in recipe.source.patches}
    return {
        name: patch
        for name, patch in named.items()
        if name.startswith("coreml-") and "overlay" not in name
    }


def touched(patches: Sequence[Patch]) -> Sequence[str]:
    """Return the files that the patches change, by their paths in the source tree."""
    parts = [part for each in patches for part in parse_patch((FOLDER / each.file).read_bytes())]
    return sorted({part.old for part in parts if part.old})


def taken_back(source: Path, file: str, patches: Sequence[Patch]) -> bytes:
    """Return a file of a patched source tree as it is without some of its patches.

    Parameters
    ----------
    source : Path
        The tree, with all patches applied.
    file : str
        Its path there.
    patches : sequence of Patch
        In the order in which they were applied.
    """
    content = (source / file).read_bytes()
    for patch in reversed(patches):
        for part in parse_patch((FOLDER / patch.file).read_bytes()):
            if part.old == file:
                back = [replace(hunk, old=hunk.new, new=hunk.old) for hunk in part.hunks]
                content = patched(content, back, lenient=True)
    return content


def tree_of(platform: PlatformName) -> Tree:
    """Return where the tree of the default recipe is, which a build lays out."""
    return open_workspace(ROOT, os.environ).tree(shipped(), platform)


def is_configured(tree: Tree) -> bool:
    """Return whether a build has configured the tree."""
    return (tree.build / "Release" / "build.ninja").is_file()


@dataclass(frozen=True, kw_only=True)
class Compilation:
    """A file, and the compiler's words for it without those that name it or what is made."""

    file: Path
    words: tuple[str, ...]
    folder: Path


def compilations(tree: Tree) -> Mapping[Path, Compilation]:
    """Return what ninja compiles in a configured tree, by file, without the compiler cache."""
    tools = open_workspace(ROOT, os.environ).tools(shipped().tools.lock_sha256)
    folder = tree.build / "Release"
    done = subprocess.run(
        [str(tools / "bin" / "ninja"), "-C", str(folder), "-t", "compdb"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = {}
    for each in json.loads(done.stdout):
        file = folder / each["file"]
        if file.suffix not in _COMPILED:
            continue
        words = shlex.split(each["command"])
        if "-c" not in words or "-o" not in words:
            continue
        words = words[1:] if Path(words[0]).name == "sccache" else words
        for option in ("-c", "-o"):
            place = words.index(option)
            words[place : place + 2] = []
        found[file] = Compilation(file=file, words=tuple(words), folder=folder)
    return found
