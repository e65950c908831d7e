"""What `recipe new` writes for the version that was written by hand: the same, or explained."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

_UPSTREAM = ("git", "archive")
_PIN = re.compile(r'(?m)^(commit|sha1|sha256) = "([0-9a-f]+)"')
_ALL_WHEELS = "pip looks into a folder here, in which not all official wheels are"

EXPLAINED: Mapping[str, str] = {
    "summary": "each says who wrote it",
    "python": _ALL_WHEELS,
    r"platforms\..*\.official": _ALL_WHEELS,
    "data": "it replaces what a registry's tree lacks; the tag's tree lacks nothing",
    r"dependencies\.coremltools\.origins\..*\.sha256": "nobody has published one; it is computed",
    r"dependencies\.mp11\.licence_files": "the tree that stands for it has one of its own",
    r"dependencies\.flatbuffers\.patches": "for AIX and flatc's warnings: left out by hand",
}
"""Paths (regular expressions) where the two may differ, and why."""


def spoilt(recipe: str, *, keep: str) -> str:
    """Return a recipe whose upstream pins are all wrong, so that none can be copied.

    ``keep`` is part of an address that upstream's tree does not name: a recipe alone knows it.
    """
    blocks = re.split(r"(?m)^(?=\[)", recipe)
    for index, block in enumerate(blocks):
        if re.search(r'(?m)^kind = "(git|archive)"|^\[source\]', block) and keep not in block:
            blocks[index] = _PIN.sub(lambda pin: f'{pin[1]} = "{"0" * len(pin[2])}"', block)
    return "".join(blocks)


def differences(by_hand: str, written: str) -> dict[str, str]:
    """Return where the upstream halves of two recipes differ, each with why it may, or nothing."""
    one, two = (dict(_values("", _half(tomllib.loads(text)))) for text in (by_hand, written))
    return {
        path: next((why for way, why in EXPLAINED.items() if re.match(rf"{way}(\.|$)", path)), "")
        for path in sorted(one.keys() | two.keys())
        if one.get(path) != two.get(path)
    }


def _half(recipe: dict[str, Any]) -> dict[str, Any]:
    """Name dependencies and origins, so that order counts for nothing; leave registries out."""
    recipe["source"]["origins"] = _origins(recipe["source"])
    recipe["dependencies"] = {
        each["name"]: {**each, "origins": _origins(each)} for each in recipe["dependencies"]
    }
    return recipe


def _origins(row: Mapping[str, Any]) -> dict[str, Any]:
    return {each["url"]: each for each in row["origins"] if each["kind"] in _UPSTREAM}


def _values(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _values(f"{path}.{key}".lstrip("."), each)
    else:
        yield path, value
