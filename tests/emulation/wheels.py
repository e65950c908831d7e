"""The wheel under test and what it needs, in folders that the emulated Python looks into.

pip installs all of it for the foreign platform (``--platform``), from lock files with hashes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from build.fetch.cache import ContentCache
from build.fetch.origins.pip_settings import pip_environment
from build.system.digest import file_sha256
from tests.emulation.errors import EmulationError

Say = Callable[[str], None]
HERE = Path(__file__).resolve().parent
LOCK = HERE / "requirements.txt"
OFFICIAL_LOCK = HERE.parents[1] / "verify" / "requirements" / "official.txt"
OFFICIAL_VERSION = "1.21.0"
MACHINE = "aarch64"
#: What Debian 12's glibc 2.36 can load: every wheel for this or an older one.
NEWEST_GLIBC = 36
_PYTHON = "cp311"


@dataclass(frozen=True, kw_only=True)
class ArmWheel:
    """A linux-aarch64 wheel of onnxruntime for CPython 3.11.

    Parameters
    ----------
    path : Path
    version : str
        With the local part.
    sha256 : str
    platforms : tuple of str
        The platform tags of its name.
    """

    path: Path
    version: str
    sha256: str
    platforms: tuple[str, ...]

    @property
    def base_version(self) -> str:
        """The upstream version."""
        return self.version.split("+", maxsplit=1)[0]


def inspect_name(path: Path) -> ArmWheel:
    """Check what a wheel's name says before anything is fetched.

    Raises
    ------
    EmulationError
        It is missing, or not a linux-aarch64 wheel of onnxruntime for CPython 3.11.
    """
    if not path.is_file():
        raise EmulationError(
            f"there is no wheel at {path}", hint="give the path of a linux-aarch64 wheel"
        )
    try:
        project, version, _, tags = parse_wheel_filename(path.name)
    except InvalidWheelFilename:
        raise EmulationError(f"{path.name} is not the name of a wheel") from None
    platforms = tuple(sorted({tag.platform for tag in tags}))
    if project != "onnxruntime":
        raise EmulationError(f"{path.name} is a wheel of {project}, not of onnxruntime")
    if not all(p.endswith(f"_{MACHINE}") and "linux" in p for p in platforms):
        raise EmulationError(
            f"{path.name} is a wheel for {', '.join(platforms)}, not for linux-{MACHINE}",
            hint="this machine's own wheels are verified by `nox -s verify`, without an emulator",
        )
    if _PYTHON not in {tag.interpreter for tag in tags}:
        found = ", ".join(sorted({tag.interpreter for tag in tags}))
        raise EmulationError(
            f"{path.name} is a wheel for {found}; the emulated Python is CPython 3.11",
            hint="build the wheel with Python 3.11",
        )
    newer = [p for p in platforms if (minor := _minor(p)) and minor > NEWEST_GLIBC]
    if newer:
        raise EmulationError(
            f"{path.name} asks for a newer glibc than the emulated 2.{NEWEST_GLIBC}",
            hint="build it for an older one, or name a newer suite in tests/emulation/pins.toml",
        )
    return ArmWheel(
        path=path.resolve(),
        version=str(version),
        sha256=file_sha256(path),
        platforms=platforms,
    )


def _minor(platform: str) -> int | None:
    match = re.match(r"manylinux_2_(\d+)_", platform)
    return int(match[1]) if match else None


def pip_arguments(platforms: Sequence[str]) -> list[str]:
    """Return pip's arguments for installing wheels of another machine."""
    chosen = [word for platform in platforms for word in ("--platform", platform)]
    return [
        *("--no-deps", "--only-binary", ":all:", "--no-compile"),
        *("--implementation", "cp", "--python-version", "3.11"),
        *chosen,
    ]


def known_platforms() -> list[str]:
    """Return the platform tags that the emulated system can load, best first."""
    perennial = [f"manylinux_2_{minor}_{MACHINE}" for minor in range(NEWEST_GLIBC, 16, -1)]
    return [*perennial, f"manylinux2014_{MACHINE}"]


def install_locked(lock: Path, cache: ContentCache, env: Mapping[str, str], say: Say) -> Path:
    """Install the wheels of a lock file, once; return the folder that holds them.

    Raises
    ------
    EmulationError
        pip could not get them.
    """
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    home = cache.root / "emulation" / f"site-{lock.stem}-{digest}"
    if (home / ".complete").is_file():
        return home
    with cache.lock(f"emulation-{home.name}", lambda: say("waiting for another emulation")):
        if (home / ".complete").is_file():
            return home
        say(f"installing the arm64 wheels of {lock.name} (once)")
        shutil.rmtree(home, ignore_errors=True)
        arguments = ["--require-hashes", "--requirement", str(lock)]
        _pip([*pip_arguments(known_platforms()), "--target", str(home), *arguments], env, lock.name)
        (home / ".complete").touch()
    return home


def install_wheel(wheel: ArmWheel, into: Path, env: Mapping[str, str], say: Say) -> Path:
    """Install one wheel into a fresh folder and return the folder.

    Raises
    ------
    EmulationError
        The wheel is damaged, or its inside says something else than its name.
    """
    say(f"installing {wheel.path.name}")
    shutil.rmtree(into, ignore_errors=True)
    arguments = ["--no-index", "--target", str(into), str(wheel.path)]
    _pip([*pip_arguments(wheel.platforms), *arguments], env, wheel.path.name)
    found = sorted(path.name for path in into.glob("onnxruntime*.dist-info"))
    if len(found) != 1:
        raise EmulationError(f"{wheel.path.name} holds {len(found)} distributions: {found}")
    return into


def _pip(arguments: Sequence[str], env: Mapping[str, str], what: str) -> None:
    if importlib.util.find_spec("pip") is None:
        raise EmulationError("pip is not installed here", hint="run `nox -s emulate`")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", *arguments],
        env=pip_environment(env),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
        said = errors or done.stderr.strip().splitlines() or ["no message"]
        raise EmulationError(
            f"pip could not install {what}: {said[-1].removeprefix('ERROR: ')}",
            hint="check the network and `python -m pip config list`",
            context={"pip said": " | ".join(said[-4:])},
        )
