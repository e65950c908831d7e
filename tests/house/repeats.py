"""Count the repeated passages: `python -m tests.house.repeats [CHECKOUT]`.

A passage is a run of lines with code on them; blank lines, comments, docstrings and imports are
passed over. Two passages have the same lines where every line is the same, and the same shape where
every line is, once all names are one name and all strings and numbers one value. They count when
both reach over at least twelve lines of the file, at least eight of them with code and of at least
five shapes: a long list of texts is data, and no passage. Of passages that overlap the longest
counts, and of four copies three.
"""

from __future__ import annotations

import io
import keyword
import sys
import tokenize
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from tests.house.source import House

REACH = 12
CODE_LINES = 8
SHAPES = 5
LAYOUT = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
    *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
}
Place = tuple[int, int]  # which file, which of its lines of code


@dataclass(frozen=True)
class Line:
    """A line of code: where it is, as it is written, and its shape."""

    number: int
    text: str
    shape: str


@dataclass(frozen=True)
class Repeat:
    """Two passages, each as file and first line, and how many lines of code they share."""

    first: tuple[Path, int]
    second: tuple[Path, int]
    code_lines: int

    def __str__(self) -> str:
        ends = (f"{file}:{number}" for file, number in (self.first, self.second))
        return f"{self.code_lines:3d} lines of code  {'  '.join(ends)}"


def code(text: str) -> list[Line]:
    """Return the lines of code of a module, in order."""
    by_line: dict[int, list[tokenize.TokenInfo]] = defaultdict(list)
    statement: list[tokenize.TokenInfo] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in LAYOUT:
            statement.append(token)
        elif token.type == tokenize.NEWLINE:
            texts_alone = all(each.type == tokenize.STRING for each in statement)
            if not texts_alone and statement[0].string not in {"import", "from"}:
                for each in statement:
                    by_line[each.start[0]].append(each)
            statement = []
    return [
        Line(
            number,
            " ".join(each.string for each in tokens),
            " ".join(_shape(each) for each in tokens),
        )
        for number, tokens in sorted(by_line.items())
    ]


def _shape(token: tokenize.TokenInfo) -> str:
    if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
        return "name"
    return "value" if token.type in {tokenize.STRING, tokenize.NUMBER} else token.string


def repeats(house: House, told_apart_by: Callable[[Line], str]) -> list[Repeat]:
    """Return the repeated passages, the longest first."""
    names = [module.file.relative_to(house.root) for module in house.modules.values()]
    files = [code(module.text) for module in house.modules.values()]
    keys = [[told_apart_by(line) for line in lines] for lines in files]
    found: list[tuple[int, Place, Place]] = []
    for length, first, second in _runs(keys):
        passages = [files[at][line : line + length] for at, line in (first, second)]
        reach = min(passage[-1].number - passage[0].number + 1 for passage in passages)
        if reach >= REACH and len({line.shape for line in passages[0]}) >= SHAPES:
            found.append((length, first, second))
    counted: list[Repeat] = []
    seen: set[Place] = set()
    for length, *ends in sorted(found, key=lambda run: (-run[0], *run[1:])):
        first, second = ({(at, line + step) for step in range(length)} for at, line in ends)
        if not first & second and not (first & seen and second & seen):
            seen |= first | second
            where = [(names[at], files[at][line].number) for at, line in ends]
            counted.append(Repeat(where[0], where[1], length))
    return counted


def _runs(keys: Sequence[Sequence[str]]) -> Iterator[tuple[int, Place, Place]]:
    """Yield every pair of equal runs that cannot be made longer: lines, place, place."""
    places: dict[tuple[str, ...], list[Place]] = defaultdict(list)
    for at, lines in enumerate(keys):
        for line in range(len(lines) - CODE_LINES + 1):
            places[tuple(lines[line : line + CODE_LINES])].append((at, line))
    pairs = {pair for each in places.values() for pair in combinations(each, 2)}
    for first, second in pairs:
        if ((first[0], first[1] - 1), (second[0], second[1] - 1)) not in pairs:
            more = 0
            while ((first[0], first[1] + more), (second[0], second[1] + more)) in pairs:
                more += 1
            yield CODE_LINES + more - 1, first, second


def same_lines(house: House) -> list[Repeat]:
    """Return the passages that are repeated word by word."""
    return repeats(house, lambda line: line.text)


def same_shape(house: House) -> list[Repeat]:
    """Return the passages that are repeated but for names, strings and numbers."""
    return repeats(house, lambda line: line.shape)


def main(checkout: Path) -> None:
    """Print both counts and the passages."""
    house = House(checkout)
    for title, found in (
        ("same lines", same_lines(house)),
        ("same shape, other names or the same", same_shape(house)),
    ):
        print(f"{title}: {len(found)}")
        print("".join(f"  {each}\n" for each in found), end="")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
