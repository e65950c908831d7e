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
    known = hashlib.sha256(sys.version.encode() + wheel.read_bytes())
    for part in ("build", "verify", "recipes", "distribution"):
        for file in sorted((ROOT / part).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                known.update(file.read_bytes())
    folder = work / "environment"
    stamp = folder / "ortmill.stamp"
    if stamp.is_file() and stamp.read_text("ascii") == known.hexdigest():
        return folder
    say("installing the wheel and the project for path B")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    pip.append("--disable-pip-version-check")
    subprocess.run([*pip, str(wheel), str(ROOT)], check=True)
    stamp.write_text(known.hexdigest(), "ascii")
    return folder
