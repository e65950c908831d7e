"""Nix's hash of a whole tree: the one public figure about what GitHub's trees hold."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path


def nar_hash(tree: Path) -> str:
    """Return ``sha256-<base64>`` of a tree's Nix archive.

    Contents, names, links and execute bits count; times, owners and other permissions do not.
    """
    total = hashlib.sha256()
    for part in (_text("nix-archive-1"), *_node(tree)):
        total.update(part)
    return "sha256-" + base64.b64encode(total.digest()).decode()


def _text(value: str | bytes) -> bytes:
    content = os.fsencode(value) if isinstance(value, str) else value
    return len(content).to_bytes(8, "little") + content + b"\0" * (-len(content) % 8)


def _node(path: Path) -> Iterator[bytes]:
    yield _text("(") + _text("type")
    if path.is_symlink():
        yield _text("symlink") + _text("target") + _text(os.readlink(path))
    elif path.is_dir():
        yield _text("directory")
        for entry in sorted(path.iterdir(), key=lambda each: os.fsencode(each.name)):
            yield _text("entry") + _text("(") + _text("name") + _text(entry.name) + _text("node")
            yield from _node(entry)
            yield _text(")")
    else:
        yield _text("regular")
        if path.stat().st_mode & 0o100:
            yield _text("executable") + _text("")
        yield _text("contents") + _text(path.read_bytes())
    yield _text(")")
