"""Every command that a page shows is one that there is, and its words are understood.

What the commands do is shown elsewhere: `.ci/run` runs those of the README and of the tutorial, a
test of its own runs those of docs/deployment.md. Lines for a Mac are marked as such.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from build.cli import _parser as build_parser
from tests.kit.nox_sessions import load, started
from verify.cli import parse

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", *(f"docs/{f.name}" for f in (ROOT / "docs").glob("*.md")))
# Generated: help texts, whose examples are the commands' own.
PAGES = tuple(name for name in PAGES if name not in ("docs/commands.md", "docs/reference.md"))
MAC = "<!-- macOS only -->"
# In a sentence: a program's bare name is no command.
INLINE = re.compile(r"`((?:python[0-9.]* -m (?:build|verify)|nox -s|ortmill \w+) [^`\n]+)`")


def commands(page: Path) -> Iterator[list[str]]:
    """Yield every command of the sentences, and of the console blocks that are not Macs' alone."""
    text = page.read_text(encoding="utf-8")
    for mark, block in re.findall(r"(^<!-- .* -->\n)?^```console\n(.*?)^```", text, re.M | re.S):
        if mark.strip() == MAC:
            continue
        for line in block.replace("\\\n", " ").splitlines():
            yield from _each(line)
    for line in INLINE.findall(re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)):
        yield from _each(line)


def _each(line: str) -> Iterator[list[str]]:
    for part in re.split(r"&&|;|>>?|\|(?!\|)|, then ", line):
        try:
            yield shlex.split(part, comments=True)
        except ValueError:  # output, or a shell's own grammar
            continue


def check(words: list[str]) -> None:
    """Fail unless ortmill's own command understands its words."""
    program = Path(words[0]).name if words else ""
    if program == "nox" and words[1:2] == ["-s"]:
        end = words.index("--") if "--" in words else len(words)
        for session in words[2:end]:
            session = session.replace("-", "_")  # noqa: PLW2901 - the name of its function
            assert hasattr(load(), session), f"no session {session}"
            for ran in started(session, *words[end + 1 :]):
                understood(ran)
    elif re.fullmatch(r"python[0-9.]*", program) and words[1:2] == ["-m"]:
        understood(words[2:])
    elif program == "ortmill" and words[1:2] in (["build"], ["verify"]):
        understood(words[1:])
    elif program == "ortmill" and words[1:2] == ["bridge"]:
        understood(["verify", *words[1:]])


def understood(words: list[str]) -> None:
    if {"--help", "-h", "…"} & set(words):
        return
    if words[:1] == ["build"]:
        build_parser().parse_args(words[1:])
    elif words[:1] == ["verify"]:
        parse(words[1:])


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_understood(page: str) -> None:
    for words in commands(ROOT / page):
        try:
            check(words)
        except Exception as error:
            pytest.fail(f"{page}: {shlex.join(words)}: {error}")


def test_a_command_that_there_is_not_is_found() -> None:
    for line in ("nox -s prove", "nox -s verify -- --quik", "python -m build make"):
        with pytest.raises(Exception):  # noqa: B017, PT011 - whichever of the parsers' own
            check(shlex.split(line))


def test_the_pythons_of_the_readme_can_install_it() -> None:
    """The first of each will do: Debian 12's own is 3.11.2."""
    text = (ROOT / "README.md").read_text("utf-8")
    named = re.search(r"Python ((?:\d+\.\d+, )*\d+\.\d+ or \d+\.\d+)", text)
    assert named
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = SpecifierSet(project["requires-python"])
    for version in re.findall(r"\d+\.\d+", named[1]):
        assert wanted.contains(f"{version}.0"), version
