"""What docstrings, comments, hints and pages say of this project's files is still true of names."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOUSE = Path(__file__).parent
WRITTEN = [
    *(file for folder in ("build", "verify", "tests") for file in (ROOT / folder).rglob("*.py")),
    *(file for folder in ("build", "verify") for file in (ROOT / folder).rglob("*.toml")),
    *(ROOT / "docs").glob("*.md"),
    # Not the overlays: their bytes are part of the recipes' digests.
    *(ROOT / "recipes").glob("*.*"),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "noxfile.py", "pyproject.toml")),
    ROOT / ".pre-commit-config.yaml",
]
PATH = re.compile(
    r"(?<![\w./-])(?:build|verify|tests|docs)/[\w/.-]*\w\.(?:py|md|toml|npz|json|txt)\b"
)
DOTTED = re.compile(r"(?<![\w./-])(?:build|verify|tests)(?:\.[A-Za-z_]\w*)+")
# From Python 3.12 on an f-string is several tokens.
TEXTS = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", None)}
# Files of other programs that begin like a module of ours.
OTHERS = {"build.ninja", "build.py", "tests.pth", "verify.json", "verify.lock"}


def prose(file: Path, text: str) -> Iterator[tuple[int, str]]:
    """Yield what is written for people: all of a page, strings and comments of a module."""
    if file.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in TEXTS:
            yield from enumerate(token.string.splitlines(), token.start[0])


def stale(root: Path, text: str) -> list[str]:
    """Return the paths and dotted names of a text that lead nowhere in a checkout."""
    found = [each for each in PATH.findall(text) if not (root / each).exists()]
    return found + [each for each in DOTTED.findall(text) if not _exists(root, each)]


@cache
def _exists(root: Path, dotted: str) -> bool:
    if dotted in OTHERS or dotted.endswith((".schema.json", ".toml", ".py", ".md")):
        return True
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        place = root.joinpath(*parts[:end])
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if file.exists():
            inner = parts[end : end + 1]
            text = file.read_text(encoding="utf-8")
            return not inner or re.search(rf"\b{inner[0]}\b", text) is not None
    return False


def test_every_name_leads_somewhere() -> None:
    found = []
    for file in WRITTEN:
        text = file.read_text(encoding="utf-8")
        if not file.is_relative_to(HOUSE) and stale(ROOT, text):  # quick, and code counts too
            found += [
                f"{file.relative_to(ROOT)}:{number}: {name}"
                for number, line in prose(file, text)
                for name in stale(ROOT, line)
            ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("see build/tree/unpack.py and ``build.tree.unpack.unpack``", []),
        ("see build/unpack.py", ["build/unpack.py"]),
        (":mod:`build.tree.packing` makes it", ["build.tree.packing"]),
        ("`verify.run.gone_away`", ["verify.run.gone_away"]),
        ("python -m verify.differential.cases_inside CASES", []),
        ("build.ninja, verify.json, tools/build/x.py", []),
        ("docs/nothing.md", ["docs/nothing.md"]),
    ],
)
def test_a_stale_name_is_found(line: str, found: list[str]) -> None:
    assert stale(ROOT, line) == found
