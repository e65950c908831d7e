"""Which contents a tree's CMake files fetch, and how they patch them: read, not run.

Conditions have three values, for much is known when CMake runs and not before. What may be
fetched counts as fetched. Grammar: cmake-language(7); conditions: the command ``if``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

_TOKEN = re.compile(r'#[^\n]*|"((?:[^"\\]|\\.)*)"|([()])|([^\s()"#]+)', re.DOTALL)
_ADDRESS = re.compile(r"\$\{DEP_URL_([\w.-]+)\}")
_PATCH = re.compile(r"\$\{PROJECT_SOURCE_DIR\}/(patches/\S+\.patch)")
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_ON = frozenset({"1", "ON", "YES", "TRUE", "Y"})
_OFF = frozenset({"", "0", "OFF", "NO", "FALSE", "N", "IGNORE", "NOTFOUND"})
_UNARY = frozenset({"TARGET", "EXISTS", "COMMAND", "POLICY", "DEFINED", "IS_DIRECTORY"})
_ENDS_OF_VALUE = frozenset({"CACHE", "PARENT_SCOPE"})


@dataclass(frozen=True, kw_only=True)
class Content:
    """One declared content: its name, what ``deps.txt`` calls it, and its patches below cmake/."""

    name: str
    dependency: str
    patches: tuple[str, ...]


def declared(cmake: Path, variables: Mapping[str, str]) -> list[Content]:
    """Return what the CMake files below a folder may fetch where ``variables`` are set."""
    reader = _Reader(cmake, dict(variables))
    reader.read(cmake / "CMakeLists.txt")
    return reader.found


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield every command of a file with its arguments; parentheses inside are arguments too."""
    depth, name, words = 0, "", list[str]()
    for token in _TOKEN.finditer(text):
        quoted, mark, word = token.groups()
        if mark == "(":
            depth += 1
            if depth == 1:
                words = []
                continue
        elif mark == ")":
            depth -= 1
            if depth == 0:
                yield name.lower(), words
                continue
        value = quoted if quoted is not None else mark or word
        if value is not None and depth:
            words.append(value)
        elif word:
            name = word


class Truth(IntEnum):
    """Whether something holds; "and" is the smaller of two, "or" the greater."""

    NO = 0
    MAYBE = 1
    YES = 2

    @property
    def opposite(self) -> Truth:
        """NOT, as CMake says."""
        return Truth(2 - self)


def truth(words: Sequence[str], variables: Mapping[str, str | None]) -> Truth:
    """Return whether a condition holds.

    ``variables`` maps a name to its value, or to None where CMake alone knows it.
    """
    return _Condition(list(words), variables).alternatives()


@dataclass
class _Condition:
    words: list[str]
    variables: Mapping[str, str | None]

    def alternatives(self) -> Truth:
        found = self._all()
        while self._next("OR"):
            found = max(found, self._all())
        return found

    def _all(self) -> Truth:
        found = self._one()
        while self._next("AND"):
            found = min(found, self._one())
        return found

    def _next(self, word: str) -> bool:
        if self.words[:1] == [word]:
            del self.words[0]
            return True
        return False

    def _one(self) -> Truth:
        if self._next("NOT"):
            return self._one().opposite
        if self._next("("):
            found = self.alternatives()
            self._next(")")
            return found
        word = self.words.pop(0) if self.words else ""
        if word in _UNARY:
            del self.words[:1]
            return Truth.MAYBE
        value = self._value(word)
        if self.words and self.words[0] not in ("AND", "OR", ")"):
            operator, other = self.words.pop(0), self.words.pop(0) if self.words else ""
            if value is None or operator not in ("STREQUAL", "MATCHES"):
                return Truth.MAYBE
            holds = value == other if operator == "STREQUAL" else re.search(other, value)
            return Truth.YES if holds else Truth.NO
        if value is None:
            return Truth.MAYBE
        return Truth.NO if value.upper() in _OFF or value.endswith("-NOTFOUND") else Truth.YES

    def _value(self, word: str) -> str | None:
        name = match[1] if (match := _VARIABLE.fullmatch(word)) else word
        if name in self.variables:
            return self.variables[name]
        if name.upper() in _ON | _OFF:
            return name
        # Upstream's own switches are all options; whatever else was never set may be found.
        return "" if name.startswith("onnxruntime_") else None


class _Reader:
    def __init__(self, folder: Path, variables: dict[str, str | None]) -> None:
        self.folder = folder
        self.variables = variables
        self.found: list[Content] = []
        # Of each open `if`: whether this branch is taken, and whether one so far was.
        self._branches: list[tuple[Truth, Truth]] = []
        self._inside = 0  # functions and macros: their bodies run elsewhere, if at all

    def read(self, file: Path) -> None:
        for name, words in commands(file.read_text(encoding="utf-8", errors="replace")):
            if name in ("function", "macro", "endfunction", "endmacro"):
                self._inside += -1 if name.startswith("end") else 1
            elif not self._inside and not self._branched(name, words) and self._live():
                self._run(name, words)

    def _live(self) -> Truth:
        return min((taken for taken, _ in self._branches), default=Truth.YES)

    def _branched(self, name: str, words: list[str]) -> bool:
        if name in ("if", "else", "elseif"):
            before = Truth.NO if name == "if" else self._branches.pop()[1]
            holds = Truth.YES if name == "else" else truth(words, self.variables)
            self._branches.append((min(before.opposite, holds), max(before, holds)))
        elif name == "endif":
            self._branches.pop()
        else:
            return False
        return True

    def _run(self, name: str, words: list[str]) -> None:
        if name == "include" and words:
            for file in (words[0], f"{words[0]}.cmake", f"external/{words[0]}.cmake"):
                if (self.folder / file).is_file():
                    self.read(self.folder / file)
        elif name == "option" and len(words) > 1:
            self.variables.setdefault(words[0], words[2] if words[2:] else "OFF")
        elif name == "cmake_dependent_option" and len(words) == 5:
            holds = min(truth(each.split(), self.variables) for each in words[3].split(";"))
            self.variables.setdefault(words[0], (words[4], None, words[2])[holds])
        elif name == "set" and words:
            self._set(words)
        elif name.endswith("fetchcontent_declare"):
            self._declare(words)

    def _set(self, words: list[str]) -> None:
        end = next((i for i, word in enumerate(words) if word in _ENDS_OF_VALUE), len(words))
        if words[end : end + 1] == ["CACHE"] and words[0] in self.variables:
            return
        known = self._live() == Truth.YES
        self.variables[words[0]] = self._expanded(" ".join(words[1:end])) if known else None

    def _expanded(self, text: str) -> str:
        return _VARIABLE.sub(lambda match: self.variables.get(match[1]) or match[0], text)

    def _declare(self, words: list[str]) -> None:
        text = " ".join(words)
        if address := _ADDRESS.search(text):
            patches = tuple(f"cmake/{file}" for file in _PATCH.findall(self._expanded(text)))
            content = Content(name=words[0], dependency=address[1], patches=patches)
            self.found.append(content)
