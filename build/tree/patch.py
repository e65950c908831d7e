"""Apply unified diffs exactly, without a ``patch`` program: a machine may have none.

The format is the one that ``diff -u`` and git write (POSIX.1-2017, *diff*, "Diff -u Output
Format"). Our own patches must fit to the letter and at their line numbers. A patch of upstream's
is applied as upstream's own build applies it, ``--ignore-whitespace``: runs of blanks count as one,
and a hunk may have moved. Context is never dropped ("fuzz"): it is what makes a patch safe.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import SourceError
from ..fetch.integrity import not_pinned
from ..system.digest import file_sha256

_HUNK = re.compile(rb"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_BLANKS = re.compile(rb"[ \t\r]+")


@dataclass(frozen=True, kw_only=True)
class Hunk:
    """A run of lines: ``start`` counts from 1, ``old`` and ``new`` hold lines with their ends."""

    start: int
    old: tuple[bytes, ...]
    new: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True)
class FilePatch:
    """The hunks of one file; ``old`` or ``new`` is None where the file is made or removed."""

    old: str | None
    new: str | None
    hunks: tuple[Hunk, ...]


def parse_patch(text: bytes) -> tuple[FilePatch, ...]:
    """Read a unified diff; lines before a file's ``---`` are its description.

    Raises
    ------
    ValueError
        It is no unified diff, or a hunk is cut short.
    """
    lines = text.splitlines(keepends=True)
    files: list[FilePatch] = []
    index = 0
    while index < len(lines):
        following = lines[index + 1] if index + 1 < len(lines) else b""
        if not (lines[index].startswith(b"--- ") and following.startswith(b"+++ ")):
            index += 1
            continue
        old, new = _path(lines[index]), _path(following)
        index += 2
        hunks: list[Hunk] = []
        while index < len(lines) and (head := _HUNK.match(lines[index])):
            hunk, index = _hunk(lines, index + 1, head)
            hunks.append(hunk)
        if not hunks:
            raise ValueError(f"line {index}: a file without a hunk")
        files.append(FilePatch(old=old, new=new, hunks=tuple(hunks)))
    if not files:
        raise ValueError("it holds no `---`, `+++` pair")
    return tuple(files)


def _path(line: bytes) -> str | None:
    """Return a header's path with its first component stripped, None for ``/dev/null``."""
    name = line[4:].split(b"\t")[0].strip().decode("utf-8")
    if name == "/dev/null":
        return None
    parts = PurePosixPath(name).parts[1:]
    if not parts or name.startswith("/") or ".." in parts:
        raise ValueError(f"the path {name!r} would leave the tree")
    return str(PurePosixPath(*parts))


def _hunk(lines: Sequence[bytes], index: int, head: re.Match[bytes]) -> tuple[Hunk, int]:
    left, right = (int(head[group]) if head[group] is not None else 1 for group in (2, 4))
    old: list[bytes] = []
    new: list[bytes] = []
    while len(old) < left or len(new) < right:
        if index >= len(lines):
            raise ValueError("the last hunk is cut short")
        mark, content = lines[index][:1], lines[index][1:]
        if mark == b" " or not lines[index].strip(b"\r\n"):
            # Some editors take the blank off an empty context line.
            content = content if mark == b" " else lines[index]
            old.append(content)
            new.append(content)
        elif mark == b"-":
            old.append(content)
        elif mark == b"+":
            new.append(content)
        elif mark != b"\\":
            raise ValueError(f"line {index + 1}: {lines[index][:40]!r} belongs to no hunk")
        index += 1
        if index < len(lines) and lines[index].startswith(b"\\"):
            for side in (old if mark != b"+" else None, new if mark != b"-" else None):
                if side:
                    side[-1] = side[-1].rstrip(b"\r\n")
            index += 1
    return Hunk(start=int(head[1]), old=tuple(old), new=tuple(new)), index


def patched(content: bytes, hunks: Sequence[Hunk], *, lenient: bool = False) -> bytes:
    """Return a file's new content; the hunks are in the order of the file.

    Where ``lenient``, runs of blanks count as one, and a hunk may stand at another line (the
    nearest).

    Raises
    ------
    ValueError
        A hunk does not fit.
    """
    lines = content.splitlines(keepends=True)
    result: list[bytes] = []
    position = shift = 0
    for number, hunk in enumerate(hunks, start=1):
        # A hunk that only adds names the line after which it adds.
        wanted = hunk.start - (1 if hunk.old else 0) + shift
        place = _find(lines, hunk.old, wanted, position, lenient=lenient)
        if place is None:
            expected = hunk.old[0].decode("utf-8", "replace").strip() if hunk.old else ""
            raise ValueError(f"hunk {number} does not fit at line {hunk.start} ({expected[:60]!r})")
        shift += place - wanted
        result += lines[position:place]
        result += hunk.new
        position = place + len(hunk.old)
    return b"".join(result + lines[position:])


def _find(
    lines: Sequence[bytes], old: Sequence[bytes], wanted: int, least: int, *, lenient: bool
) -> int | None:
    last = len(lines) - len(old)
    places = [wanted]
    if lenient:
        places = sorted(range(least, last + 1), key=lambda place: abs(place - wanted))
    for place in places:
        if not least <= place <= last:
            continue
        found = lines[place : place + len(old)]
        if all(_same(one, two, lenient=lenient) for one, two in zip(found, old, strict=True)):
            return place
    return None


def _same(one: bytes, two: bytes, *, lenient: bool) -> bool:
    if not lenient:
        return one == two
    return _BLANKS.sub(b" ", one).strip() == _BLANKS.sub(b" ", two).strip()


def read_pinned(patch: Path, sha256: str | None) -> bytes:
    """Read a diff, and hold it against its pin where it has one.

    Raises
    ------
    IntegrityError
        It is not the pinned one.
    SourceError
        It cannot be read.
    """
    try:
        actual = file_sha256(patch)
        text = patch.read_bytes()
    except OSError as error:
        raise SourceError(
            f"the patch {patch} cannot be read: {error.strerror or error}",
            hint="check the path in the recipe, or check the file out again",
        ) from error
    if sha256 and actual != sha256:
        hint = "a patch is changed together with its sha256 in the recipe"
        raise not_pinned(f"the patch {patch.name}", patch, sha256, actual, hint=hint)
    return text


def apply_patch(
    patch: Path, tree: Path, *, sha256: str | None = None, lenient: bool = False
) -> None:
    """Apply a unified diff to a tree, one path component stripped; all of its files or none.

    Lines before the diff's first file say why it exists; ``lenient`` is as for :func:`patched`.

    Raises
    ------
    IntegrityError
        The diff does not hash to ``sha256``.
    SourceError
        It is no diff, or a hunk does not fit.
    """
    text = read_pinned(patch, sha256)
    results: dict[Path, bytes | None] = {}
    name = patch.name
    try:
        for part in parse_patch(text):
            name = part.old or part.new or patch.name
            if part.old is None and (tree / name).exists():
                raise ValueError("the patch makes this file, but it is there already")
            before = b"" if part.old is None else (tree / part.old).read_bytes()
            after = patched(before, part.hunks, lenient=lenient)
            if part.old is not None and part.old != part.new:
                results[tree / part.old] = None
            if part.new is not None:
                results[tree / part.new] = after
    except (OSError, ValueError) as error:
        raise SourceError(
            f"the patch {patch.name} does not apply to {name}: {error}",
            hint="the tree is not the one that the patch was written for; "
            "check the recipe's versions",
            context={"file": str(patch)},
        ) from error
    for target, content in results.items():
        if content is None:
            target.unlink()
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
