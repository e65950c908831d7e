"""A recipe whose upstream pins are the rehearsal's, made from the shipped one."""

from __future__ import annotations

import re
from collections.abc import Mapping

from build.system.digest import FileHashes


def with_pins(recipe: str, *, commit: str, archives: Mapping[str, FileHashes]) -> str:
    """Return a recipe's text with other pins; nothing else changes, comments included.

    Parameters
    ----------
    recipe : str
        The text of a recipe.
    commit : str
        What the source's commit is here.
    archives : Mapping[str, FileHashes]
        By address, what each archive is here. An address that the recipe does not name is an error.
    """
    blocks = re.split(r"(?m)^(?=\[)", recipe)
    missing = dict(archives)
    for index, block in enumerate(blocks):
        found = re.search(r'(?m)^url = "([^"]+)"', block)
        if found and (hashes := missing.pop(found[1], None)):
            blocks[index] = _pinned(block, hashes)
    if missing:
        raise ValueError(f"the recipe names no {', '.join(sorted(missing))}")
    text, count = re.subn(r'(?m)^commit = "[0-9a-f]{40}"', f'commit = "{commit}"', "".join(blocks))
    if not count:
        raise ValueError("the recipe names no commit")
    return text


def _pinned(block: str, hashes: FileHashes) -> str:
    values = {"sha1": f'"{hashes.sha1}"', "sha256": f'"{hashes.sha256}"', "size": hashes.size}
    for key, value in values.items():
        block = re.sub(rf"(?m)^{key} = \S+", f"{key} = {value}", block)
    return block
