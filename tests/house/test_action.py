"""The GitHub Action runs the commands that there are; its shell steps are run here as they are."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from verify.cli import parse

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def action() -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(ROOT / "action.yml")
    return found


def prove(action: dict[str, Any], folder: Path, code: int = 0, **given: str) -> tuple[int, str]:
    """Run the action's last step with an `ortmill` that writes down what it is asked for."""
    (step,) = (each for each in action["runs"]["steps"] if each.get("id") == "prove")
    program = folder / "ortmill" / "bin" / "ortmill"
    program.parent.mkdir(parents=True)
    program.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$*" >> {folder}/asked\n[ "$1" = build ] || exit {code}\n'
    )
    program.chmod(0o755)
    told = dict.fromkeys(step["env"], "")
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", step["run"]],
        env={
            "PATH": os.environ["PATH"], "RUNNER_TEMP": str(folder),
            "GITHUB_OUTPUT": str(folder / "output"), **told, **given,
        },
        check=False,
    )  # fmt: skip
    return done.returncode, (folder / "asked").read_text()


def test_every_input_reaches_the_step(action: dict[str, Any]) -> None:
    text = str(action["runs"]["steps"])
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(action["inputs"])


def test_a_recipe_s_model_is_fetched_and_the_wheel_is_proven(
    action: dict[str, Any], tmp_path: Path
) -> None:
    given = {"WHEEL": "onnxruntime==1.32.0", "MODEL": "all-minilm-l6-v2", "MORE": "--quick"}
    code, asked = prove(action, tmp_path, BUDGET="10", **given)
    first, then = asked.splitlines()
    assert first == "build fetch-model all-minilm-l6-v2"
    options = parse(then.removeprefix("verify ").split())
    assert (str(options.wheel), options.budget_ms, options.quick) == (given["WHEEL"], 10.0, True)
    assert code == 0
    assert (tmp_path / "output").read_text() == "exit-code=0\n"


@pytest.mark.parametrize("code", [1, 2, 3])
def test_the_exit_code_is_told_and_kept(action: dict[str, Any], tmp_path: Path, code: int) -> None:
    ended, asked = prove(action, tmp_path, code, WHEEL="a wheel.whl", MODEL="net.onnx")
    assert ended == code
    assert (tmp_path / "output").read_text() == f"exit-code={code}\n"
    assert asked == "verify run a wheel.whl --model net.onnx\n"
