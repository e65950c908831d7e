"""What the build has fetched already: the source archive of onnx, and the model's files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.emulation.errors import EmulationError
from tests.emulation.qemu import REPOSITORY
from verify.encoder.model_recipe import ModelRecipe, load_model_recipe, recipe_path

MODEL = "all-minilm-l6-v2"


def onnx_archive(given: Path | None) -> Path:
    """Return the archive with the node tests: the given one, else the recipe's, fetched if need be.

    Raises
    ------
    EmulationError
        There is none.
    """
    if given is None:
        given = Path(_build("input", "--name", "onnx", "--quiet").strip().splitlines()[-1])
    if not given.is_file():
        raise EmulationError(
            f"there is no onnx source archive at {given}",
            hint="leave --onnx-archive out, and the build fetches the recipe's",
        )
    return given.resolve()


def model(given: Path | None) -> tuple[Path, ModelRecipe]:
    """Return the folder of the model's files, each checked, and its recipe.

    Raises
    ------
    EmulationError
        They cannot be fetched.
    VerifyError
        A file in the given folder is not the pinned one.
    """
    recipe = load_model_recipe(recipe_path(MODEL))
    if given is None:
        _build("fetch-model", "--quiet")
        given = REPOSITORY / ".work" / "models" / recipe.name
    recipe.check_files(given)
    return given.resolve(), recipe


def _build(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "build", *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise EmulationError(
            f"`python -m build {' '.join(words)}` ended with exit code {done.returncode}",
            hint="run it by hand to see what it needs",
            context={"it said": " | ".join(done.stderr.strip().splitlines()[-4:])},
        )
    return done.stdout
