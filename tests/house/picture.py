"""Draw the rooms: `python -m tests.house.picture` writes docs/architecture.svg.

A box is a folder of a package with the first sentence of its docstring. A line leads from a room
down to one that it uses; what follows from other lines is left out. Modules beside the rooms are
not drawn: what they use counts for the rooms that use them.
"""

from __future__ import annotations

import ast
import html
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.house.source import PACKAGES, House

FILE = "docs/architecture.svg"
BOX, PASSAGE, GAP = 232, 16, 20  # widths in px: a room, a line that passes a row, between two
LINE, LETTERS = 15, 33  # px between lines of text, letters on one
MARGIN, TOP = 24, 112  # px around everything, and above the first row
INK, QUIET = "#1f2933", "#52606d"
COLOURS = {"build": ("#e8f1fb", "#2b6cb0"), "verify": ("#e9f7ef", "#2f855a")}
Uses = Mapping[str, frozenset[str]]


def uses(house: House, package: str) -> Uses:
    """Return which rooms each room uses, without what follows from the rest."""
    direct: dict[str, set[str]] = {}
    for name, found in house.imports.items():
        ends = {house.modules[each.target].room for each in found if each.target in house.modules}
        direct.setdefault(house.modules[name].room, set()).update(ends)
    rooms = {
        module.name
        for module in house.modules.values()
        if module.is_folder and module.package == package and module.name.count(".") == 1
    }
    below = {room: _reach(direct, room) & rooms for room in rooms}
    return {
        room: frozenset(each for each in found if not any(each in below[other] for other in found))
        for room, found in sorted(below.items())
    }


def _reach(direct: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = direct.get(waiting.pop(), set()) - found - {start}
        found |= new
        waiting += new
    return found


@dataclass
class Place:
    """A room, or a point where a line passes the rooms of a row; ``x`` is its middle in px."""

    room: str
    ends: list[Place] = field(default_factory=list)  # where its lines go, one row below
    x: float = 0.0

    @property
    def width(self) -> int:
        """How wide it is, in px."""
        return BOX if self.room else PASSAGE


def rows(edges: Uses) -> list[list[Place]]:
    """Return the rooms row by row, each as low as the rooms that it uses let it be."""
    heights: dict[str, int] = {}

    def height(room: str) -> int:
        if room not in heights:
            heights[room] = 1 + max((height(other) for other in edges[room]), default=-1)
        return heights[room]

    laid: list[list[Place]] = [[] for _ in range(1 + max(height(room) for room in edges))]
    places = {room: Place(room) for room in edges}
    for room in edges:
        laid[-1 - heights[room]].append(places[room])
    for room, others in edges.items():
        for other in sorted(others):
            last = places[room]
            for row in laid[len(laid) - heights[room] : -1 - heights[other]]:
                row.append(Place(""))
                last.ends.append(row[-1])
                last = row[-1]
            last.ends.append(places[other])
    for _ in range(8):  # rows settle: each goes below its users, then above what it uses
        for above, row in pairwise(laid):
            _settle(row, {id(each): [p.x for p in above if each in p.ends] for each in row})
        for row in laid[-2::-1]:
            _settle(row, {id(each): [end.x for end in each.ends] for each in row})
    left = min(each.x - each.width / 2 for row in laid for each in row)
    for each in (each for row in laid for each in row):
        each.x -= left
    return laid


def _settle(row: list[Place], wanted: Mapping[int, Sequence[float]]) -> None:
    """Put each place of a row near the mean of what it is tied to, none upon another."""
    means = {
        id(each): sum(near) / len(near) if (near := wanted[id(each)]) else each.x for each in row
    }
    row.sort(key=lambda each: (means[id(each)], each.room))
    at = float("-inf")
    for each in row:
        each.x = max(means[id(each)], at + each.width / 2)
        at = each.x + each.width / 2 + GAP
    shift = sum(means[id(each)] - each.x for each in row) / len(row)
    for each in row:
        each.x = round(each.x + shift, 1)


def sentence(house: House, room: str) -> list[str]:
    """Return the first sentence of a room's docstring, in lines."""
    text = ast.get_docstring(house.modules[room].tree) or ""
    first = re.split(r"(?<=\.)\s", " ".join(text.split()), maxsplit=1)[0]
    return textwrap.wrap(re.sub(r"``|:\w+:`~?|`", "", first), LETTERS)


def draw(root: Path) -> str:
    """Return the picture of a checkout as SVG; the same source gives the same bytes."""
    house = House(root)
    parts: list[str] = []
    x, tallest = float(MARGIN), 0.0
    middles = []
    for package in PACKAGES:
        drawn, width, height = _tower(house, package, x)
        parts += drawn
        middles.append(x + width / 2)
        x += width + 3 * MARGIN
        tallest = max(tallest, height)
    width, height = round(x - 2 * MARGIN), round(tallest + MARGIN)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
            "<title>The rooms of build and verify, and which uses which</title>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            *_band(middles, width),
            *parts,
            "</svg>\n",
        ]
    )


def _band(middles: Sequence[float], width: int) -> Iterator[str]:
    """Yield the line on top: what goes in, what is handed over, what comes out."""
    build, verify = middles
    stations = [
        (MARGIN + 42.0, "recipes/*.toml", ""),
        (build, "build", COLOURS["build"][1]),
        ((build + verify) / 2, "wheels/", ""),
        (verify, "verify", COLOURS["verify"][1]),
        (width - MARGIN - 52.0, "verdict, report", ""),
    ]
    for one, other in pairwise(stations):
        start, end = one[0] + _half(*one), other[0] - _half(*other) - 8
        yield f'<path d="M{start:.1f} 40H{end:.1f}" stroke="{QUIET}" stroke-width="1.5"/>'
        yield f'<path d="M{end:.1f} 36l8 4l-8 4z" fill="{QUIET}"/>'
    for x, name, colour in stations:
        style = f'font-size="22" font-weight="bold" fill="{colour}"' if colour else f'fill="{INK}"'
        yield f'<text x="{x:.1f}" y="{47 if colour else 44}" text-anchor="middle" {style}>{name}'
        yield "</text>"
    for (x, _, _), words in zip(
        stations[1::2], ("a recipe to a wheel", "a wheel to a verdict"), strict=True
    ):
        yield f'<text x="{x:.1f}" y="68" text-anchor="middle" fill="{QUIET}">{words}</text>'


def _half(_x: float, name: str, colour: str) -> float:
    """Return half of what a station's name takes, with some air, in px."""
    return 10 + len(name) * (7.5 if colour else 4)


def _tower(house: House, package: str, left: float) -> tuple[list[str], float, float]:
    """Return the boxes and lines of a package, how wide they are and where they end, in px."""
    fill, stroke = COLOURS[package]
    lines, boxes = [], []
    y, width = float(TOP), 0.0
    laid = rows(uses(house, package))
    texts = {each.room: sentence(house, each.room) for row in laid for each in row if each.room}
    tops, deep = [], []
    for row in laid:
        tall = max(34 + LINE * len(texts[each.room]) for each in row if each.room)
        tops.append(y)
        deep.append(tall)
        y += tall + 34
    for number, row in enumerate(laid):
        for each in row:
            middle = left + each.x
            width = max(width, each.x + each.width / 2)
            if not each.room:  # a line goes straight through
                end = tops[number] + deep[number]
                lines.append(f"M{middle:.1f} {tops[number]:.1f}V{end:.1f}")
            for other in each.ends:
                start, end = tops[number] + deep[number], tops[number + 1]
                bend = (start + end) / 2
                lines.append(
                    f"M{middle:.1f} {start:.1f}C{middle:.1f} {bend:.1f} "
                    f"{left + other.x:.1f} {bend:.1f} {left + other.x:.1f} {end:.1f}"
                )
            if each.room:
                boxes += [
                    f'<rect x="{middle - BOX / 2:.1f}" y="{tops[number]:.1f}" width="{BOX}" '
                    f'height="{deep[number]}" rx="6" fill="{fill}" stroke="{stroke}"/>',
                    f'<text x="{middle - BOX / 2 + 10:.1f}" y="{tops[number] + 20:.1f}" '
                    f'font-weight="bold" font-size="14" fill="{INK}">'
                    f"{each.room.partition('.')[2]}/</text>",
                    *(
                        f'<text x="{middle - BOX / 2 + 10:.1f}" '
                        f'y="{tops[number] + 38 + LINE * index:.1f}" fill="{QUIET}">'
                        f"{html.escape(text, quote=False)}</text>"
                        for index, text in enumerate(texts[each.room])
                    ),
                ]
    path = f'<path d="{" ".join(lines)}" fill="none" stroke="{stroke}" stroke-width="1.4"/>'
    return [path, *boxes], width, y - 34


def main(root: Path) -> None:
    """Write the picture."""
    (root / FILE).write_text(draw(root), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
