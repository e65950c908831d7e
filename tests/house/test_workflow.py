"""The workflows cannot run here: every command in them and what they may do is checked instead.

Their form is checked by `nox -s lint`, with the published schema, actionlint and zizmor.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from build.recipe.format import PLATFORMS
from tests.kit.recipe_examples import ROOT
from verify.cli import parse

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
            assert command in {
                "pip install nox",
                ".ci/run",
                "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
            }


def jobs(name: str) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(ROOT / ".github" / "workflows" / name)["jobs"]
    return found


def test_there_is_one_for_each_way() -> None:
    assert [each.name for each in WORKFLOWS] == ["apple-silicon.yml", "linux.yml", "pins.yml"]
    assert jobs("apple-silicon.yml")["on-a-mac"]["strategy"]["matrix"]["runner"] == [
        "macos-15",
        "macos-26",
    ]
    assert jobs("linux.yml")["ci"]["runs-on"].startswith("ubuntu-")


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_only_the_attestation_may_write(file: Path) -> None:
    document = YAML(typ="safe").load(file)
    assert document["permissions"] == {}
    for name, job in document["jobs"].items():
        wanted = {"contents": "read"}
        if name == "attest":
            wanted = {"id-token": "write", "attestations": "write"}
        assert job["permissions"] == wanted, name


def test_a_proven_wheel_alone_is_attested() -> None:
    found = jobs("apple-silicon.yml")
    assert found["attest"]["needs"] == "on-a-mac"
    assert found["on-a-mac"]["needs"] == "cross-build"


def test_one_action_has_one_digest() -> None:
    """And its version beside it; that every action has one, zizmor checks."""
    found: dict[str, set[str]] = {}
    for file in WORKFLOWS:
        for name, pin in re.findall(r"uses: ([\w/-]+)@(.*)", file.read_text(encoding="utf-8")):
            assert re.fullmatch(r"[0-9a-f]{40} # v\d+\.\d+\.\d+", pin), (file.name, name)
            found.setdefault(name, set()).add(pin)
    assert found
    assert {name for name, pins in found.items() if len(pins) > 1} == set()
