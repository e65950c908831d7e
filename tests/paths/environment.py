"""The environment of path B, made as docs/bridge.md says: the wheel and the project, by pip."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def bridge_environment(wheels: Path, work: Path, *, say: Callable[[str], None]) -> Path:
    """Make the environment, or return the one that stands for this wheel and these sources.

    Raises
    ------
    FileNotFoundError
        There is no wheel.
    subprocess.CalledProcessError
        pip could not install it.
    """
    manifest = wheels / "manifest.json"
    if not manifest.is_file():
        raise FileNotFoundError(f"there is no wheel in {wheels}; run `nox -s build`")
    wheel = wheels / json.loads(manifest.read_text("utf-8"))["wheel"]["file"]
    folder = work / "environment"
    base = hashlib.sha256(sys.version.encode() + wheel.read_bytes())
    base.update((ROOT / "pyproject.toml").read_bytes())
    own = base.copy()
    for part in ("build", "verify", "recipes", "distribution"):
        for file in sorted((ROOT / part).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                own.update(file.read_bytes())
    stamp = folder / "ortmill.stamp"
    there = stamp.read_text("ascii").split() if stamp.is_file() else []
    wanted = [base.hexdigest(), own.hexdigest()]
    if there == wanted:
        return folder
    say("installing the wheel and the project for path B")
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    pip.append("--disable-pip-version-check")
    if there[:1] == wanted[:1]:
        # The dependencies are the same: the project alone is put in anew.
        subprocess.run([*pip, "--no-deps", "--force-reinstall", str(ROOT)], check=True)
    else:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([*pip, str(wheel), str(ROOT)], check=True)
    stamp.write_text(" ".join(wanted), "ascii")
    return folder
