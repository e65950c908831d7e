"""The reference names what the code says, each with an anchor of its own."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from build.errors import BuildError
from tests.gen.reference import kinds, messages, page
from verify.errors import VerifyError
from verify.policy.limits import Limits

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def text() -> str:
    return page(ROOT)


def test_every_error_has_an_anchor_of_its_own(text: str) -> None:
    anchors = re.findall(r'<a id="([^"]+)">', text)
    assert len(anchors) == len(messages(ROOT)) > 250
    assert len(set(anchors)) == len(anchors)


def test_an_error_is_there_with_its_gap_its_hint_and_its_code(text: str) -> None:
    (row,) = [line for line in text.splitlines() if "the recipe has no input called …" in line]
    assert row.endswith("</a>the recipe has no input called … | it has … | usage, 2 |")


def test_every_exit_code_and_limit_is_there(text: str) -> None:
    for kind in BuildError.__subclasses__():
        assert f"| {kind.exit_code} | {kind.title} |" in text
    for limit in fields(Limits):
        assert f"| `{limit.name}` |" in text
    assert "| `conversion_exact_min` | at least this | 0.9999999 | -1.0 to 1.0 |" in text


def test_classes_of_errors_in_every_room_are_known() -> None:
    found = kinds(ROOT / "build", BuildError)
    proof = kinds(ROOT / "verify", VerifyError)
    assert {"UsageError", "WheelNotUsable"} <= proof.keys()
    assert (proof["UsageError"][1], found["UsageError"][1]) == (3, 2)
    assert found["TransferError"] == ("fetch", 4)
    assert {kind.__name__ for kind in BuildError.__subclasses__()} <= found.keys()
    assert found["FetchError"] == ("fetch", 4)


def test_what_is_raised_in_a_function_of_its_own_is_found(tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    kind = "class FetchError(BuildError):\n    exit_code = 4\n\n\n"
    source = kind + 'def f(x):\n    raise FetchError(f"no {x}" + " at all", hint="look|again")\n'
    (tmp_path / "build" / "one.py").write_text(source)
    (found,) = messages(tmp_path)
    assert (found.sentence, found.hint, found.code) == ("no … at all", "look|again", 4)
