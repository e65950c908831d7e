"""Fresh virtual environments with exactly one onnxruntime in them, and the lock around them.

The locked dependencies are installed once into a base folder, by hash. Every run makes a new
environment, links the base's files into it and installs the wheel under test anew: nothing of
an earlier wheel can be left, and a run costs seconds. pip does both, so that the index, the proxy
and the certificates that pip is set up with are the ones used.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from packaging.utils import parse_wheel_filename

from ..encoder.model_recipe import file_sha256
from ..errors import EnvironmentFailed
from ..files import made_folder
from .channel import clean_environment
from .wheel_file import WheelFile

Say = Callable[[str], None]
OFFICIAL_VERSION = "1.21.0"


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A published wheel: its file name, size in bytes and SHA-256."""

    file: str
    size: int
    sha256: str


OFFICIAL_MACOS = Pin(
    file="onnxruntime-1.21.0-cp311-cp311-macosx_13_0_universal2.whl",
    size=33_644_022,
    sha256="8e16f8a79df03919810852fb46ffcc916dc87a9e9c6540a58f20c914c575678c",
)
"""The official macOS wheel, whose arm64 halves the ``macho`` checks compare with."""


@contextmanager
def locked(work: Path, *, say: Say) -> Iterator[None]:
    """Keep a work directory to one verification: its environments are made anew each time.

    Raises
    ------
    VerifyError
        When the directory cannot be made.
    """
    lock = FileLock(made_folder(work) / "verify.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"waiting for another verification in {work} to end")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def opened(wheel: WheelFile, work: Path, *, say: Say) -> Iterator[Path]:
    """Give the Python of a fresh environment with this wheel; the work directory stays locked."""
    with locked(work, say=say):
        yield make_candidate(wheel, work.resolve(), say=say)


def make_candidate(wheel: WheelFile, work: Path, *, say: Say) -> Path:
    """Make a fresh environment with this wheel; return its Python interpreter.

    Raises
    ------
    EnvironmentFailed
        When pip cannot get the dependencies or install the wheel, or when more than one
        onnxruntime ends up inside.
    """
    folder = work / "venvs"
    with FileLock(made_folder(folder) / ".lock"):
        base = _base(folder, say=say)
        python = _fresh(folder / f"candidate-{wheel.sha256[:12]}", base)
        say(f"installing {wheel.path.name}")
        arguments = ["install", "--no-deps", "--no-index", "--no-compile", str(wheel.path)]
        _pip(["--python", str(python), *arguments], "install the wheel", folder)
        _only_one_onnxruntime(_site(python))
    return python


def make_official(work: Path, *, say: Say) -> Path:
    """Return the interpreter of the environment with the official wheel, by its locked hash.

    It is made once: its lock pins every byte.

    Raises
    ------
    EnvironmentFailed
        When pip cannot get the wheel.
    """
    folder = work / "venvs"
    lock = _lock_file("official")
    with FileLock(made_folder(folder) / ".lock"):
        base = _base(folder, say=say)
        home = folder / f"official-{_key(lock, base)}"
        marker = home / ".complete"
        python = _python_of(home)
        if marker.is_file() and python.exists():
            return python
        python = _fresh(home, base)
        say(f"installing the official onnxruntime {OFFICIAL_VERSION}")
        arguments = ["install", "--no-deps", "--require-hashes", "--no-compile", "--only-binary"]
        _pip(
            ["--python", str(python), *arguments, ":all:", "-r", str(lock)],
            "install the official wheel",
            folder,
        )
        _only_one_onnxruntime(_site(python))
        marker.touch()
    return python


def fetch_official_macos(work: Path, *, say: Say) -> Path:
    """Return the official macOS wheel, fetched once and checked by size and SHA-256 every time.

    It is read and never installed, so it may be fetched on any host.

    Raises
    ------
    EnvironmentFailed
        When pip cannot get it, or gets other bytes.
    """
    folder = work / "official-macos"
    path = folder / OFFICIAL_MACOS.file
    with FileLock(made_folder(folder) / ".lock"):
        if not _is_pinned(path):
            path.unlink(missing_ok=True)
            say(f"fetching {OFFICIAL_MACOS.file}, to compare with")
            _, _, _, tags = parse_wheel_filename(OFFICIAL_MACOS.file)
            tag = next(iter(tags))
            wanted = folder / "official.txt"
            wanted.write_text(
                f"onnxruntime=={OFFICIAL_VERSION} --hash=sha256:{OFFICIAL_MACOS.sha256}\n",
                encoding="utf-8",
            )
            arguments = ["download", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
            arguments += ["--platform", tag.platform, "--python-version", tag.interpreter[2:]]
            arguments += ["--implementation", "cp", "--abi", tag.abi, "--dest", str(folder)]
            _pip([*arguments, "-r", str(wanted)], "fetch the official macOS wheel", folder)
        if not _is_pinned(path):
            raise EnvironmentFailed(
                f"pip fetched no {OFFICIAL_MACOS.file} with the pinned hash.",
                hint="Another index may serve other files: `pip config list`.",
            )
    return path


def _is_pinned(path: Path) -> bool:
    return (
        path.is_file()
        and path.stat().st_size == OFFICIAL_MACOS.size
        and file_sha256(path) == OFFICIAL_MACOS.sha256
    )


def _base(folder: Path, *, say: Say) -> Path:
    """Return the folder with the locked dependencies; install them when they are not there."""
    lock = _lock_file("target")
    home = folder / f"base-{_key(lock, Path(sys.prefix))}"
    site = home / "site"
    if (home / ".complete").is_file():
        return site
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    say("installing the locked dependencies of the clean environment (once)")
    arguments = ["install", "--require-hashes", "--no-deps", "--only-binary", ":all:"]
    _pip([*arguments, "--target", str(site), "-r", str(lock)], "install the dependencies", folder)
    (home / ".complete").touch()
    return site


def _fresh(home: Path, base: Path) -> Path:
    """Make an empty environment at ``home`` and link the base's files into it."""
    shutil.rmtree(home, ignore_errors=True)
    _run([sys.executable, "-m", "venv", "--without-pip", str(home)], "make the environment", home)
    python = _python_of(home)
    shutil.copytree(base, _site(python), copy_function=_link, dirs_exist_ok=True)
    return python


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _python_of(home: Path) -> Path:
    return home / "bin" / "python"


def _site(python: Path) -> Path:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return python.parent.parent / "lib" / version / "site-packages"


def _only_one_onnxruntime(site: Path) -> None:
    found = sorted(path.name for path in site.glob("onnxruntime*.dist-info"))
    if len(found) != 1:
        raise EnvironmentFailed(
            f"The clean environment holds {len(found)} onnxruntime distributions: {found}.",
            hint="Check verify/requirements/target.txt: it must not name one.",
        )


def _lock_file(name: str) -> Path:
    return Path(__file__).resolve().parents[1] / "requirements" / f"{name}.txt"


def _key(lock: Path, place: Path) -> str:
    version = f"{sys.implementation.cache_tag} {sys.version} {place.resolve()}"
    return hashlib.sha256(lock.read_bytes() + version.encode()).hexdigest()[:12]


def _pip(arguments: list[str], purpose: str, folder: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise EnvironmentFailed(
            "pip is not installed in this environment.",
            hint="Run `nox -s verify`, or `python -m ensurepip` here.",
        )
    options = ["--disable-pip-version-check", "--no-input", "--quiet"]
    _run([sys.executable, "-m", "pip", *options, *arguments], purpose, folder)


def _run(argv: list[str], purpose: str, folder: Path) -> None:
    """Run a tool; its whole output goes to a log, a failure prints the tail of it."""
    environment = clean_environment()
    # pip's own settings belong to the user: index, proxy, certificates, cache.
    environment.update(
        {
            name: value
            for name, value in os.environ.items()
            if name.startswith(("PIP_", "XDG_"))
            or name.upper().endswith("_PROXY")
            or name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        }
    )
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        argv, capture_output=True, text=True, errors="replace", env=environment, check=False
    )
    if done.returncode:
        log = folder.parent / f"{folder.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(done.stdout + done.stderr, encoding="utf-8")
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise EnvironmentFailed(
            f"Could not {purpose}:\n{tail}",
            hint="A firewall, or no network? The index is the one that pip is set up with "
            "(`pip config list`).",
            context={"log": str(log)},
        )
