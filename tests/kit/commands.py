"""Commands in this process, with the built wheel's environment made once for a module."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from verify.cli import main


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended: its exit code and what it wrote, with all lines in one."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return " ".join(f"{self.out} {self.err}".split())


Run = Callable[..., Ended]
WHEELS = sorted((Path(__file__).resolve().parents[2] / "wheels").glob("onnxruntime-*linux*.whl"))


def target_python(wheel: Path, home: Path) -> Path:
    """Make an environment with a wheel before this one's own packages; return its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = home / "lib" / version / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (site / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return home / "bin" / "python"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an interpreter with the built wheel before the tests' own packages."""
    if not WHEELS:
        pytest.skip("NOT SHOWN: there is no wheel in wheels/ (`nox -s build` makes one)")
    return target_python(WHEELS[-1], tmp_path_factory.mktemp("target") / "venv")


@pytest.fixture
def run(
    python: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Return a function that runs a command about the wheel; no traceback may ever be seen."""

    @contextlib.contextmanager
    def opened(*_: object, **__: object) -> Iterator[Path]:
        yield python

    monkeypatch.setattr("verify.environment.venv.opened", opened)

    def ended(command: str, *words: object) -> Ended:
        named = [] if command == "conversion" else ["--wheel"]
        wheel, work = str(WHEELS[-1]), str(tmp_path / "work")
        given = [command, *named, wheel, *map(str, words), "--work", work]
        code = main(given)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Ended(code=code, out=captured.out, err=captured.err)

    return ended
