"""Fresh virtual environments with exactly one onnxruntime in them, and the lock around them.

The locked dependencies are installed once into a base folder, by hash. Every run makes a new
environment, links the base's files into it and installs the wheel under test anew: nothing of
an earlier wheel can be left, and a run costs seconds. pip does both, so that the index, the proxy
and the certificates that pip is set up with are the ones used.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from packaging.utils import parse_wheel_filename

from ..encoder.model_recipe import file_sha256
from ..errors import CannotWrite, EnvironmentFailed
from ..files import made_folder
from ..policy.limits import wheel_kind
from ..program import recipes_folder
from ..sentence import Say
from .channel import clean_environment
from .promise import Promise, older_than, read_promise
from .wheel_file import WheelFile

_NEWEST_MACOS, _NEWEST_GLIBC = 40, 60
"""Newer than any tag: pip takes the newest wheel that a system so new could install."""
_NUMPY_1_BEFORE = "1.19"
"""Wheels before this version were compiled against NumPy 1 and do not load with NumPy 2."""


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
    with _environments(work) as folder:
        base = _base(folder, wheel.upstream, say=say)
        python = _fresh(folder / f"candidate-{wheel.sha256[:12]}", base)
        say(f"installing {wheel.path.name}")
        _install(wheel, python, "install the wheel")
    return python


def make_official(wheel: WheelFile, work: Path, *, say: Say) -> Path:
    """Return the interpreter of the environment with an official wheel; it is made once.

    Raises
    ------
    EnvironmentFailed
        When pip cannot install it.
    """
    with _environments(work) as folder:
        base = _base(folder, wheel.upstream, say=say)

        def fill(python: Path) -> None:
            say(f"installing the official onnxruntime {wheel.upstream}")
            _install(wheel, python, "install the official wheel")

        return _once(folder / f"official-{wheel.sha256[:12]}-{base.parent.name}", base, fill)


def make_locked(name: str, work: Path, *, say: Say) -> Path:
    """Return the interpreter of an environment that holds ``requirements/NAME.txt``; made once.

    Raises
    ------
    EnvironmentFailed
        When pip cannot install it.
    """
    with _environments(work) as folder:
        base = _installed(folder, name, say=say)
        return _once(folder / f"{name}-{base.parent.name}", base)


def fetch_official(like: str, work: Path, *, say: Say) -> WheelFile:
    """Return the official wheel of a wheel's version, Python and platform, from pip's index.

    ``like`` is the wheel's file name. It is fetched once; where a lock or a recipe pins it, its
    bytes must be those.

    Raises
    ------
    EnvironmentFailed
        When the index has none, pip cannot get it, or gets other bytes than the pinned ones.
    """
    promise = read_promise(like)
    _, _, _, tags = parse_wheel_filename(like)
    abi = sorted({tag.abi for tag in tags})[0]
    folder = work / "official" / f"{promise.version}-{abi}-{wheel_kind(like) or promise.system}"
    stamp = folder / "fetched.sha256"
    with FileLock(made_folder(folder) / ".lock"):
        found = sorted(folder.glob("*.whl"))
        stood = stamp.read_text(encoding="ascii").strip() if stamp.is_file() else ""
        if len(found) != 1 or file_sha256(found[0]) != stood:
            for path in (*found, stamp):
                path.unlink(missing_ok=True)
            say(f"fetching the official onnxruntime {promise.version}")
            _pip(_download(promise, abi, folder), "fetch the official wheel", folder)
            found = sorted(folder.glob("*.whl"))
            if len(found) != 1:
                raise EnvironmentFailed(f"pip fetched {len(found)} wheels, not one.")
            stamp.write_text(file_sha256(found[0]) + "\n", encoding="ascii")
    (path,) = found
    sha256 = file_sha256(path)
    pinned = _pinned(promise.version, path.name)
    if pinned and pinned != sha256:
        raise EnvironmentFailed(
            f"pip fetched {path.name} with another hash than the pinned one.",
            hint="Another index may serve other files: `pip config list`.",
            context={"pinned": pinned, "fetched": sha256},
        )
    return WheelFile(path=path, version=promise.version, sha256=sha256, size=path.stat().st_size)


def _download(promise: Promise, abi: str, folder: Path) -> list[str]:
    """Return pip's arguments for the official wheel that a host of the wheel's kind would get."""
    cpu = "arm64" if "arm64" in promise.architectures else promise.architectures[0]
    if promise.system == "macos":
        platforms = [f"macosx_{_NEWEST_MACOS}_0_{cpu}"]
    else:
        platforms = [f"manylinux_2_{number}_{cpu}" for number in range(17, _NEWEST_GLIBC)]
        platforms += [f"manylinux2014_{cpu}"]
    digits = promise.pythons[0].removeprefix("cp")
    lock = _lock_file("official")
    wanted = [f"onnxruntime=={promise.version}"]
    if lock.read_text(encoding="utf-8").startswith(f"{wanted[0]} "):
        wanted = ["--require-hashes", "-r", str(lock)]
    return [
        "download", "--no-deps", "--only-binary", ":all:", "--dest", str(folder),
        "--implementation", "cp", "--python-version", f"{digits[0]}.{digits[1:]}", "--abi", abi,
        *(word for platform in platforms for word in ("--platform", platform)), *wanted,
    ]  # fmt: skip


def _pinned(version: str, file: str) -> str:
    """Return the SHA-256 that a recipe pins for an official wheel, or an empty string."""
    path = recipes_folder() / f"onnxruntime-{version}.toml"
    if not path.is_file():
        return ""
    platforms = tomllib.loads(path.read_text(encoding="utf-8")).get("platforms", {})
    known = [platform.get("official", {}) for platform in platforms.values()]
    return next((str(each["sha256"]) for each in known if each.get("file") == file), "")


@contextmanager
def _environments(work: Path) -> Iterator[Path]:
    """Give the folder of all environments, which one process at a time may change."""
    folder = made_folder(work / "venvs")
    with FileLock(folder / ".lock"):
        yield folder


def _once(home: Path, base: Path, fill: Callable[[Path], None] = lambda python: None) -> Path:
    """Return the Python of an environment; make and fill it unless it is whole already."""
    marker = home / ".complete"
    if not (marker.is_file() and _python_of(home).exists()):
        fill(_fresh(home, base))
        marker.touch()
    return _python_of(home)


def _install(wheel: WheelFile, python: Path, purpose: str) -> None:
    arguments = ["install", "--no-deps", "--no-index", "--no-compile", str(wheel.path)]
    _pip(["--python", str(python), *arguments], purpose, python.parents[2])
    _only_one_onnxruntime(_site(python))


def _base(folder: Path, version: str, *, say: Say) -> Path:
    """Return the folder with the locked dependencies; install them when they are not there."""
    old = older_than(version, _NUMPY_1_BEFORE)
    return _installed(folder, "target-numpy1" if old else "target", say=say)


def _installed(folder: Path, name: str, *, say: Say) -> Path:
    """Return the folder with what a lock file names; install it when it is not there."""
    lock = _lock_file(name)
    home = folder / f"base-{_key(lock, Path(sys.prefix))}"
    site = home / "site"
    if (home / ".complete").is_file():
        return site
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    say(f"installing the locked dependencies of an environment, {lock.name} (once)")
    arguments = ["install", "--require-hashes", "--no-deps", "--only-binary", ":all:"]
    arguments += ["--target", str(site), "-r", str(lock)]
    try:
        _pip(arguments, "install the dependencies", folder)
        (home / ".complete").touch()
    except BaseException:
        # What is there is of no use, and it may be what has filled the disk.
        shutil.rmtree(home, ignore_errors=True)
        raise
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
        if os.strerror(errno.ENOSPC) in done.stderr:
            raise CannotWrite(
                f"Could not {purpose}: {folder} is on a full disk, or the folder for temporary "
                f"files, {tempfile.gettempdir()}, is.",
                hint="Free some space; --work DIR names another work directory, TMPDIR another "
                "folder for temporary files.",
            )
        log = folder.parent / f"{folder.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(done.stdout + done.stderr, encoding="utf-8")
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        # pip names the versions that the index has, so it has answered.
        answered = "No matching distribution" in tail and "(from versions: none)" not in tail
        raise EnvironmentFailed(
            f"Could not {purpose}:\n{tail}",
            hint="The index has no such version for this Python and platform; take one of those "
            "that it names."
            if answered
            else "A firewall, or no network? The index is the one that pip is set up with "
            "(`pip config list`).",
            context={"log": str(log)},
        )
