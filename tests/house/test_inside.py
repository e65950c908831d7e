"""Every `_inside` module is really imported, by a Python that has numpy and onnxruntime alone."""

from __future__ import annotations

import importlib.util
import subprocess
import venv
from pathlib import Path

import pytest

from tests.house.source import House

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
HELD = ("numpy", "onnxruntime")
IMPORT_EACH = """
import importlib, json, sys
told = {}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as error:
        told[name] = f"{type(error).__name__}: {error}"
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment that links the two packages, and nothing else."""
    home = tmp_path_factory.mktemp("bare")
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    site = next(home.glob("lib/python*/site-packages"))
    for name in HELD:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            pytest.skip(f"NOT RUN: {name} is not installed beside the tests")
        folder = Path(spec.origin).parent
        for each in (folder, folder.with_name(f"{name}.libs")):
            if each.exists():
                (site / each.name).symlink_to(each)
    return python


def imported(python: Path, *names: str) -> str:
    answer = subprocess.run(
        [str(python), "-c", IMPORT_EACH, *names],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.strip()


def test_the_environment_is_bare(bare: Path) -> None:
    assert imported(bare, *HELD) == "{}"
    assert "ModuleNotFoundError" in imported(bare, "pydantic")
    assert "ModuleNotFoundError" in imported(bare, "onnx")


def test_every_inside_module_loads_there(bare: Path) -> None:
    inside = [name for name in House(ROOT).modules if name.endswith("_inside")]
    assert inside
    assert imported(bare, *inside) == "{}"
