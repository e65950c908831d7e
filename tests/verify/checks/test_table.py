"""The table of checks: each says what it is about, and the documents say the same."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from tests.gen.check_table import check_table
from verify.checks import table
from verify.checks.table import CHECKS, Check, check_ids, find_check
from verify.policy.limits import Limits

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = {"latency_confidence", "latency_min_samples", "memory_runs", "concurrency_threads"}


def test_the_file_is_strict_data() -> None:
    class Table(BaseModel, extra="forbid"):
        check: tuple[Check, ...]

    path = Path(table.__file__).with_suffix(".toml")
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    assert Table.model_validate_json(json.dumps(data), strict=True).check == CHECKS
    data["check"][0]["place"] = "moon"
    with pytest.raises(ValidationError):
        Table.model_validate_json(json.dumps(data), strict=True)


@pytest.mark.parametrize("check", CHECKS, ids=check_ids())
def test_a_check_is_complete(check: Check) -> None:
    group, _, name = check.id.partition(".")
    assert group
    assert name
    assert check.catches.endswith(".")
    assert not check.proves.endswith(".")
    assert callable(check.function())
    assert find_check(check.id) is check


def test_every_limit_decides_in_one_check_and_is_reached_or_not_exceeded() -> None:
    named = Counter(name for check in CHECKS for name in check.limits)
    assert set(named) == {item.name for item in fields(Limits)} - SETTINGS
    assert set(named.values()) == {1}
    for name in named:
        # The names say it too, and a wrong word here would turn a check round.
        reached = name.endswith(("_min", "min_cosine"))
        assert Limits.relation(name) == ("at least" if reached else "at most")


def test_the_page_lists_the_checks_of_the_table() -> None:
    page = (ROOT / "docs" / "verification.md").read_text(encoding="utf-8")
    assert check_table() in page, "stale: run `nox -s gen`"
    assert check_table().count("\n") == len(CHECKS) + 1
    for check in CHECKS:
        assert check.id in page.partition("<!-- checks: end -->")[2], "explained below the list"
