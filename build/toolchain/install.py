"""A virtual environment with the build's own tools, made from the wheels that were fetched."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from ..errors import ToolchainError
from ..fetch.origins.pip_settings import last_error, last_lines, run_module
from ..fetch.origins.wheelhouse import check_lock
from ..system.environment import network_environment
from ..system.files import write_whole
from ..system.process import Outcome

_INSTALLED = "ortmill-tools.json"
_SCHEMA = 1


def install_tools(
    venv_dir: Path,
    *,
    wheels: Path,
    lock: Path,
    lock_sha256: str,
    env: Mapping[str, str],
    python: str = sys.executable,
) -> Path:
    """Make a virtual environment with the tools of a folder of wheels; return its ``python``.

    The environment holds no pip of its own (the caller's pip installs into it), so that it can
    be made where Python comes without ensurepip. No network is used. One that is complete and
    belongs to the same lock and interpreter is left as it is; any other is made anew. Several
    checkouts share it: which environment of theirs the build runs in makes no difference.

    Raises
    ------
    ToolchainError
        The environment cannot be made.
    """
    check_lock(lock, lock_sha256)
    record = {
        "schema": _SCHEMA,
        "wheelhouse": wheels.name,
        "python": f"{Path(python).resolve()} {sys.version}",
    }
    venv_dir.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(venv_dir.with_name(venv_dir.name + ".lock")):
        return _installed(venv_dir, record) or _install(
            venv_dir, record, wheels=wheels, lock=lock, env=env, python=python
        )


def _installed(venv_dir: Path, record: Mapping[str, object]) -> Path | None:
    inside, done = venv_dir / "bin" / "python", venv_dir / _INSTALLED
    try:
        complete = inside.exists() and json.loads(done.read_text(encoding="utf-8")) == record
    except (OSError, ValueError):
        return None
    return inside if complete else None


def _install(
    venv_dir: Path,
    record: Mapping[str, object],
    *,
    wheels: Path,
    lock: Path,
    env: Mapping[str, str],
    python: str,
) -> Path:
    inside = venv_dir / "bin" / "python"
    plain = network_environment(env)
    _must(
        run_module(python, "venv", "--clear", "--without-pip", str(venv_dir), env=plain),
        f"cannot make a virtual environment in {venv_dir}",
    )
    # Everything is at hand and hashed: the machine's pip settings could only get in the way.
    offline = plain | {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    words = ["--python", str(inside), "install", "--quiet", "--no-index", "--no-cache-dir"]
    words += ["--find-links", str(wheels), "--require-hashes", "--no-deps"]
    words += ["--only-binary", ":all:", "--requirement", str(lock)]
    _must(
        run_module(python, "pip", *words, env=offline),
        f"cannot install the build tools into {venv_dir}",
    )
    write_whole(venv_dir / _INSTALLED, json.dumps(record) + "\n")
    return inside


def _must(result: Outcome, problem: str) -> None:
    if result.code:
        raise ToolchainError(
            f"{problem}: {last_error(result)}",
            hint="check that the Python that runs the build has the modules venv and pip",
            context={"it said": last_lines(result)},
        )
