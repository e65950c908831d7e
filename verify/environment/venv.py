"""Fresh virtual environments with exactly one onnxruntime in them.

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
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock
from packaging.tags import Tag, sys_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from ..encoder.model_recipe import file_sha256
from ..errors import EnvironmentFailed, WheelNotUsable
from .channel import clean_environment

Role = Literal["candidate", "official"]
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


@dataclass(frozen=True, kw_only=True)
class WheelFile:
    """A wheel that this interpreter can install."""

    path: Path
    version: str
    sha256: str
    size: int


def inspect_wheel(
    path: Path, manifest: Mapping[str, Any] | None, *, foreign: bool = False
) -> WheelFile:
    """Check a wheel before anything is installed.

    Parameters
    ----------
    path : Path
        The wheel.
    manifest : Mapping or None
        The build's manifest, where there is one.
    foreign : bool
        Whether a wheel that this interpreter cannot install will do: its bytes are read alone.

    Raises
    ------
    WheelNotUsable
        When it is missing, damaged, of another project, made for another platform or Python, or
        not the one that the manifest describes.
    """
    if not path.is_file():
        raise WheelNotUsable(f"There is no wheel at {path}.", hint="Run `nox -s build` first.")
    try:
        project, version, _, tags = parse_wheel_filename(path.name)
    except InvalidWheelFilename:
        raise WheelNotUsable(
            f"{path.name} is not the name of a wheel.",
            hint="Give a file such as onnxruntime-1.21.0-cp311-cp311-linux_x86_64.whl.",
        ) from None
    if project != "onnxruntime":
        raise WheelNotUsable(
            f"{path.name} is a wheel of {project}, not of onnxruntime.",
            hint="Give a wheel that `nox -s build` made.",
        )
    if not foreign:
        refuse_foreign_tags(path.name, tags)
    _refuse_damaged(path)
    if manifest is not None and str(version) != manifest.get("version"):
        raise WheelNotUsable(
            f"{path.name} has version {version}, but the manifest beside it describes "
            f"{manifest.get('version')}.",
            hint="Run `nox -s build` again, or give a wheel from a folder of its own.",
        )
    return WheelFile(
        path=path.resolve(),
        version=str(version),
        sha256=file_sha256(path),
        size=path.stat().st_size,
    )


def refuse_foreign_tags(
    name: str, tags: Iterable[Tag], supported: Iterable[Tag] | None = None
) -> None:
    """Refuse a wheel whose tags none of this interpreter's equals.

    Raises
    ------
    WheelNotUsable
        Saying whether the Python or the platform is the wrong one.
    """
    mine = list(sys_tags() if supported is None else supported)
    wanted = list(tags)
    if set(wanted) & set(mine):
        return
    pythons = {tag.interpreter for tag in mine} | {"py3"}
    here = f"{mine[0].interpreter} on {mine[0].platform}"
    foreign = sorted({tag.interpreter for tag in wanted})
    if not {tag.interpreter for tag in wanted} & pythons or _same_platform(wanted, mine):
        digits = foreign[0].removeprefix("cp")
        readable = (
            f"CPython {digits[0]}.{digits[1:]}" if foreign[0].startswith("cp") else foreign[0]
        )
        raise WheelNotUsable(
            f"{name} is a wheel for {readable}; this is {here}.",
            hint=f"Run the verification with {readable}, or build a wheel with this Python.",
        )
    platforms = ", ".join(sorted({tag.platform for tag in wanted}))
    raise WheelNotUsable(
        f"{name} is a wheel for another platform ({platforms}); this is {here}.",
        hint="Verify it on that platform; every host proves its own wheel. A macOS wheel can be "
        "read anywhere: --policy macos-arm64-cross.",
    )


def _same_platform(wanted: list[Tag], mine: list[Tag]) -> bool:
    return bool({tag.platform for tag in wanted} & {tag.platform for tag in mine})


def _refuse_damaged(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise WheelNotUsable(
            f"{path} is damaged: {error}.", hint="Delete it and run `nox -s build` again."
        ) from None
    if broken is not None:
        raise WheelNotUsable(
            f"{path} is damaged: the file {broken} inside fails its checksum.",
            hint="Delete it and run `nox -s build` again.",
        )


def make_candidate(wheel: WheelFile, work: Path, *, say: Say) -> Path:
    """Make a fresh environment with this wheel; return its Python interpreter.

    Raises
    ------
    EnvironmentFailed
        When pip cannot get the dependencies or install the wheel, or when more than one
        onnxruntime ends up inside.
    """
    folder = work / "venvs"
    with _locked(folder):
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
    with _locked(folder):
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
    with _locked(folder):
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


def _locked(folder: Path) -> FileLock:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFailed(
            f"The work directory {folder} cannot be written: {error.strerror}.",
            hint="Name another one with --work DIR.",
        ) from None
    return FileLock(folder / ".lock")


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
