"""The verdict and the comparison on a terminal: tables that fit, with and without colour."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from tests.kit.report_example import example, example_document
from verify.commands.progress import Progress
from verify.report.document import parse
from verify.report.terminal import show, show_comparison
from verify.report.two_runs import Comparison, compare

CODE = "\x1b["


def console(width: int, *, terminal: bool = True) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=terminal, highlight=False)


def printed(to: Console) -> str:
    assert isinstance(to.file, io.StringIO)
    return to.file.getvalue()


def plain(to: Console) -> str:
    """What was printed, without the marks of bold text, which NO_COLOR leaves."""
    return re.sub(r"\x1b\[[01]m", "", printed(to))


@pytest.fixture
def colourless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture(scope="module")
def differ() -> Comparison:
    after = example_document(seed=2, scale=1.3)
    after["checks"][1]["status"] = "failed"
    after["checks"].pop()
    reference = next(one for one in after["checks"] if one["id"] == "embedding.reference")
    reference["evidence"]["max_abs"] = 3e-4
    return compare(example(), parse(after))


@pytest.mark.parametrize("width", [60, 80, 140])
@pytest.mark.usefixtures("colourless")
def test_the_verdict_fits_and_names_every_check(width: int) -> None:
    to = console(width)
    document = example()
    show(document, to)
    lines = printed(to).splitlines()
    assert (
        max(len(line.replace(f"{CODE}1m", "").replace(f"{CODE}0m", "")) for line in lines) <= width
    )
    words = " ".join(printed(to).split())
    for check in document.checks:
        assert check.id in words
        assert check.status in words
    assert "38;5" not in words
    assert f"{CODE}32m" not in words


def test_with_colour_a_status_has_its_own() -> None:
    for width in (80, 140):
        to = console(width)
        show(example(), to)
        assert f"{CODE}32mpassed" in printed(to)


def test_a_log_has_a_line_for_each_check_whatever_its_width() -> None:
    to = console(40, terminal=False)
    document = example()
    show(document, to)
    lines = printed(to).splitlines()
    for check in document.checks:
        [line] = [line for line in lines if f" {check.id} " in line]
        assert line.startswith(check.status)
        assert line.endswith(check.summary)
    assert CODE not in printed(to)


@pytest.mark.usefixtures("colourless")
def test_a_comparison_is_one_table_of_what_differs(differ: Comparison) -> None:
    to = console(80)
    show_comparison(differ, to)
    lines = plain(to).splitlines()
    assert max(len(line) for line in lines[1:]) <= 80
    words = " ".join(" ".join(lines).split())
    assert lines[0] == differ.headline
    assert "slower: ratio 1.3" in words
    assert "provider.registered passed failed" in words
    assert "robustness.inputs passed absent" in words
    assert "1.8e-07 0.0003" in words


def test_a_comparison_in_a_pipe_is_not_folded(differ: Comparison) -> None:
    to = console(40, terminal=False)
    show_comparison(differ, to)
    [line] = [one for one in printed(to).splitlines() if "candidate/cpu/fp32/mix median" in one]
    assert "slower: ratio 1.3" in line
    assert CODE not in printed(to)


def test_nothing_that_differs_is_no_table() -> None:
    one = example_document(calls=1)
    one["samples"]["latency"] = []
    to = console(80)
    show_comparison(compare(parse(one), parse(one)), to)
    assert len(printed(to).splitlines()) == 1


def test_progress_is_told_where_no_cursor_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    to = console(80)
    with Progress(to) as progress:
        progress.say("installing")
    assert "installing" in printed(to)
