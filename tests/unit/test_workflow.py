"""The workflow for a Mac cannot run here: its form and every command in it are checked instead."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from build.recipe import PLATFORMS
from tests.unit.recipe_examples import ROOT
from verify.arguments import parse

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def commands(file: Path) -> list[str]:
    document: dict[str, Any] = YAML(typ="safe").load(file)
    return [
        " ".join(str(step["run"]).replace("\\\n", " ").split())
        for job in document["jobs"].values()
        for step in job["steps"]
        if "run" in step
    ]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_fits_the_published_schema(file: Path) -> None:
    answer = subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema"),
            *("--builtin-schema", "vendor.github-workflows", str(file)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_every_command_is_one_that_there_is(file: Path) -> None:
    sessions = set(re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(), re.M))
    found = commands(file)
    assert found
    for command in found:
        if match := re.match(r"nox -s (\w+)(?: -- (.*))?$", command):
            assert match[1] in sessions, command
            words = (match[2] or "").split()
            if match[1] == "verify":
                assert parse(["run", *words]).command == "run"
            if "--platform" in words:
                assert words[words.index("--platform") + 1] in PLATFORMS
        elif match := re.match(r"\S+/python -m verify (.*)$", command):
            assert parse(match[1].split())
        else:
            assert command == "pip install nox"


def test_there_is_one_for_a_mac() -> None:
    assert [each.name for each in WORKFLOWS] == ["apple-silicon.yml"]
