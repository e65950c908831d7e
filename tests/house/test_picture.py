"""The picture of the rooms says what the imports say, and the same imports give the same bytes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.house import picture
from tests.house.source import PACKAGES, House
from tests.house.test_rules import house

ROOT = Path(__file__).resolve().parents[2]


def test_what_follows_from_other_lines_is_left_out(tmp_path: Path) -> None:
    made = house(
        tmp_path,
        {
            "build/a/__init__.py": "from ..b import x\nfrom ..c import y\n",
            "build/b/__init__.py": "",
            "build/b/x.py": "from .. import between\n",
            "build/between.py": "from .c import y\n",
            "build/c/__init__.py": "",
            "build/c/y.py": "",
        },
    )
    assert picture.uses(made, "build") == {
        "build.a": {"build.b"},
        "build.b": {"build.c"},
        "build.c": frozenset(),
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_no_room_lies_on_another_and_all_lines_lead_down(package: str) -> None:
    edges = picture.uses(House(ROOT), package)
    laid = picture.rows(edges)
    assert sorted(each.room for row in laid for each in row if each.room) == sorted(edges)
    for row, below in zip(laid, [*laid[1:], []], strict=True):
        for one, other in pairwise(row):
            assert other.x - one.x >= (one.width + other.width) / 2
        assert {id(end) for each in row for end in each.ends} <= {id(each) for each in below}


def test_the_picture_shows_every_room_inside_its_frame() -> None:
    drawn = picture.draw(ROOT)
    assert drawn == picture.draw(ROOT)
    tree = ElementTree.fromstring(drawn)
    width, height = float(tree.attrib["width"]), float(tree.attrib["height"])
    names = [text.text for text in tree.iter("{http://www.w3.org/2000/svg}text")]
    rooms = [
        name.partition(".")[2] for each in PACKAGES for name in picture.uses(House(ROOT), each)
    ]
    assert {f"{room}/" for room in rooms} <= {*names}
    for box in tree.iter("{http://www.w3.org/2000/svg}rect"):
        x, y = float(box.get("x", 0)), float(box.get("y", 0))
        assert 0 <= x <= width - float(box.attrib["width"])
        assert 0 <= y <= height - float(box.attrib["height"])
