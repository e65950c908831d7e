"""Conditions have three values: what is known only while CMake runs may be so."""

from __future__ import annotations

from pathlib import Path

import pytest

from build.pins.cmake import Truth, commands, declared, truth

KNOWN = {"YES_": "ON", "NO_": "OFF", "NAME": "Linux", "PROCESSOR": "x86_64", "OPEN": None}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("YES_", True),
        ("NO_", False),
        ("OPEN", None),
        ("NEVER_HEARD_OF", None),
        ("onnxruntime_NEVER_HEARD_OF", False),
        ("NOT OPEN", None),
        ("NO_ AND OPEN", False),
        ("YES_ OR OPEN", True),
        ("YES_ AND OPEN", None),
        ("NO_ OR OPEN", None),
        ("NOT ( NO_ OR NOT YES_ )", True),
        ("NO_ OR YES_ AND YES_", True),
        ("NAME STREQUAL Linux", True),
        ("${NAME} STREQUAL Darwin", False),
        ("OPEN STREQUAL Darwin", None),
        ("PROCESSOR MATCHES ^(x86_64|amd64)$", True),
        ("NAME VERSION_LESS 3", None),
        ("TARGET onnx AND NO_", False),
        ("NOT TARGET onnx", None),
        ("ON", True),
        ("0", False),
    ],
)
def test_conditions(condition: str, expected: bool | None) -> None:
    found = truth(condition.split(), KNOWN)
    assert {Truth.YES: True, Truth.NO: False, Truth.MAYBE: None}[found] is expected


def test_commands_are_read_with_comments_quotes_and_parentheses() -> None:
    text = (
        '# set(A 1)\nset(A "b (c)" # d)\n  e)\nif((A) AND NOT B)\n  Message(STATUS "#x")\nendif()'
    )
    assert list(commands(text)) == [
        ("set", ["A", "b (c)", "e"]),
        ("if", ["(", "A", ")", "AND", "NOT", "B"]),
        ("message", ["STATUS", "#x"]),
        ("endif", []),
    ]


@pytest.mark.parametrize(
    ("branches", "expected"),
    [
        ("if(OPEN_)\n{a}elseif(ON)\n{b}else()\n{c}endif()", "ab"),
        ("if(OFF)\n{a}elseif(OPEN_)\n{b}else()\n{c}endif()", "bc"),
        ("if(ON)\n{a}elseif(OPEN_)\n{b}else()\n{c}endif()", "a"),
        ("if(OFF)\nif(ON)\n{a}endif()\nelse()\n{b}endif()", "b"),
        ("if(OPEN_)\nset(X OFF)\nendif()\nif(X)\n{a}endif()", "a"),
        ("set(X OFF CACHE BOOL x)\nif(X)\n{a}else()\n{b}endif()", "b"),
        ("set(GIVEN OFF CACHE BOOL x)\nif(GIVEN)\n{a}endif()", "a"),
        ("option(GIVEN x OFF)\nif(GIVEN)\n{a}endif()", "a"),
        ("cmake_dependent_option(D x ON \"GIVEN;NOT OFF\" OFF)\nif(D)\n{a}else()\n{b}endif()", "a"),
        ("function(f)\n{a}endfunction()\n{b}", "b"),
    ],
)  # fmt: skip
def test_what_may_be_fetched(tmp_path: Path, branches: str, expected: str) -> None:
    contents = {name: f"FetchContent_Declare({name} URL ${{DEP_URL_{name}}})\n" for name in "abc"}
    (tmp_path / "CMakeLists.txt").write_text(branches.format(**contents), encoding="utf-8")
    found = declared(tmp_path, {"GIVEN": "ON"})
    assert "".join(each.dependency for each in found) == expected
