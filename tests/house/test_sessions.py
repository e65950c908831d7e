"""The programs as a shell starts them: the noxfile under nox itself, and the two packages."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
# In place of the build: it needs longer to end than nox waits by itself.
SLOW_TO_END = """
import pathlib, sys, time
here = pathlib.Path(__file__).parent
try:
    (here / "began").touch()
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(1.5)
    (here / "tidied").touch()
    print("interrupted: stopped", file=sys.stderr)
    sys.exit(130)
"""

# What runs in the background of a shell ignores Ctrl-C, and so would all that it starts.
AS_IN_A_TERMINAL = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["nox", "-s", "build"]
runpy.run_module("nox", run_name="__main__")
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder with our noxfile, locks that name nothing, and a build that does nothing."""
    shutil.copy(ROOT / "noxfile.py", tmp_path)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "__main__.py").write_text("")
    (tmp_path / "build" / "requirements.txt").write_text("# nothing\n")
    return tmp_path


def started(checkout: Path) -> subprocess.Popen[str]:
    """Start `nox -s build` in a process group of its own, as a shell does."""
    return subprocess.Popen(
        [sys.executable, "-c", AS_IN_A_TERMINAL],
        cwd=checkout,
        # Its own build, whatever the path of these tests names.
        env={**os.environ, "PYTHONPATH": "", "NO_COLOR": "1", "PIP_NO_INDEX": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_ctrl_c_leaves_a_session_the_time_to_end(checkout: Path) -> None:
    (checkout / "build" / "__main__.py").write_text(SLOW_TO_END)
    folder = checkout / ".nox" / "build"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    lock = (checkout / "build" / "requirements.txt").read_bytes()
    (folder / "ortmill.stamp").write_text(f"{hashlib.sha256(lock).hexdigest()} {sys.version}")
    nox = started(checkout)
    deadline = time.monotonic() + 120
    while not (checkout / "build" / "began").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(nox.pid, signal.SIGINT)
    said, _ = nox.communicate(timeout=120)
    assert nox.returncode == 130, said
    assert (checkout / "build" / "tidied").exists(), said
    assert "interrupted: stopped" in said
    assert "Traceback" not in said


def test_an_environment_is_made_below_an_umlaut_in_a_locale_without_one(checkout: Path) -> None:
    """Python's own venv writes the path as UTF-8, which such a locale does not read it as."""
    place = checkout / "Übung"
    place.mkdir()
    for name in ("noxfile.py", "build"):
        (checkout / name).rename(place / name)
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "nox", "-s", "build"],
        cwd=place,
        env={**os.environ, **plain, "PYTHONPATH": "", "NO_COLOR": "1", "PIP_NO_INDEX": "1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")


def test_two_at_once_make_one_environment(checkout: Path) -> None:
    (checkout / ".nox").mkdir()
    with FileLock(checkout / ".nox" / "build.lock"):  # so that both find it held
        both = [started(checkout) for _ in range(2)]
        lines = []
        for nox in both:
            assert nox.stdout is not None
            line = ""
            while "another nox is making .nox/build" not in line:
                lines.append(line := nox.stdout.readline())
                assert line, lines
    said = [nox.communicate(timeout=250)[0] for nox in both]
    assert [nox.returncode for nox in both] == [0, 0], said
    assert sum("-m pip install" in each for each in said) == 1, said


@pytest.mark.parametrize(("package", "code"), [("build", 7), ("verify", 3)])
def test_a_python_without_the_packages_is_named(package: str, code: int) -> None:
    """As in a shell where the environment of nox is switched on."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", package, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert f"is not installed for {sys.executable}" in done.stderr
    assert f".nox/{package}/bin/python" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("package", ["build", "verify"])
def test_ctrl_c_while_it_loads_is_one_line(package: str, tmp_path: Path) -> None:
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("raise KeyboardInterrupt\n")
    done = subprocess.run(
        [sys.executable, "-m", package, "--help"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130
    assert done.stderr == "interrupted: nothing was begun\n"


def test_an_index_that_has_nothing_is_told_with_what_to_look_at(checkout: Path) -> None:
    (checkout / "build" / "requirements.txt").write_text(f"none==1 --hash=sha256:{64 * '0'}\n")
    nox = started(checkout)
    said, _ = nox.communicate(timeout=120)
    assert nox.returncode == 1, said
    assert "pip could not install build/requirements.txt" in said
    assert "Traceback" not in said
