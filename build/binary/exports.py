"""The export trie of a Mach-O file: the names that dyld can find in it.

A node is the size of its export information in ULEB128, that information, the number of its
children, and for each child the letters that lead to it and the offset of its node (``dyld``'s
``MachOTrie.hpp``; comments in ``mach-o/loader.h``).
"""

from __future__ import annotations

_LONGEST_NUMBER = 10


class BadTrie(ValueError):
    """Bytes that are no export trie."""


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for count, byte in enumerate(data[at : at + _LONGEST_NUMBER]):
        value |= (byte & 0x7F) << 7 * count
        if not byte & 0x80:
            return value, at + count + 1
    raise BadTrie("a number of the export trie has no end")


def read_trie(data: bytes) -> frozenset[str]:
    """Return every exported name.

    Raises
    ------
    BadTrie
        A node lies outside, or is reached twice: the trie would have no end.
    """
    if not data:
        return frozenset()
    names = set()
    seen = {0}
    waiting = [(0, b"")]
    while waiting:
        at, prefix = waiting.pop()
        if at >= len(data):
            raise BadTrie("the export trie leads out of its table")
        size, at = _number(data, at)
        if size:
            names.add(prefix.decode("utf-8"))
        at += size
        if at >= len(data):
            raise BadTrie("the export trie ends inside a node")
        children, at = data[at], at + 1
        for _ in range(children):
            end = data.find(b"\0", at)
            if end < 0:
                raise BadTrie("the export trie ends inside a name")
            edge, (child, at) = data[at:end], _number(data, end + 1)
            if child in seen:
                raise BadTrie("the export trie reaches a node twice")
            seen.add(child)
            waiting.append((child, prefix + edge))
    return frozenset(names)
