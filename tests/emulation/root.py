"""The emulator and the emulated system on disk, below the cache."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from build.errors import IntegrityError, SourceError
from build.fetch.cache import ContentCache
from build.fetch.download import Transfer
from build.fetch.http import TransferError
from build.fetch.origins.debian import fetch_debian, find_mirrors
from build.recipe.format import DebianOrigin
from build.tree.unpack import unpack
from tests.emulation.errors import EmulationError
from tests.emulation.pins import PIN_COMMAND, Package, Pins

Say = Callable[[str], None]
_LAYOUT = 1
_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Emulator:
    """Where the emulator's program and the emulated root are."""

    home: Path

    @property
    def qemu(self) -> Path:
        """The emulator."""
        return self.home / "host" / "usr" / "bin" / "qemu-aarch64-static"

    @property
    def root(self) -> Path:
        """The root of the emulated system."""
        return self.home / "root"

    @property
    def python(self) -> Path:
        """The emulated interpreter."""
        return self.root / "usr" / "bin" / "python3.11"


def ensure_root(pins: Pins, cache: ContentCache, env: Mapping[str, str], say: Say) -> Emulator:
    """Fetch and unpack the pinned packages, unless that was done before.

    Raises
    ------
    EmulationError
        A package is not to be had any more as it was pinned, or cannot be unpacked.
    TransferError
        The mirror could not be reached.
    """
    home = cache.root / "emulation" / f"{pins.digest[:32]}-{_LAYOUT}"
    emulator = Emulator(home=home)
    if (home / "complete.json").is_file():
        return emulator
    with cache.lock(f"emulation-{home.name}", lambda: say("waiting for another emulation")):
        if (home / "complete.json").is_file():
            return emulator
        files = _fetch(pins, cache, env, say)
        scratch = cache.scratch_folder()
        try:
            for package, path in files:
                place = scratch / ("root" if package.architecture == "arm64" else "host")
                unpack_package(package, path, place)
            record = {"suite": pins.suite, "packages": [p.path for p in pins.packages]}
            (scratch / "complete.json").write_text(json.dumps(record, indent=1) + "\n")
            home.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(home, ignore_errors=True)
            scratch.chmod(0o755)
            scratch.rename(home)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return emulator


def unpack_package(package: Package, file: Path, into: Path) -> None:
    """Unpack the files of a package, or those that its ``only`` names.

    Raises
    ------
    EmulationError
        The package is damaged, or lacks a member that ``only`` names.
    """
    whole = into.with_name(f"{into.name}-{package.name}") if package.only else into
    try:
        # A Debian system has absolute links (Debian Policy 10.5), which mean its own root.
        unpack(file, whole, strip_root=False, rooted_links=True)
    except SourceError as error:
        raise EmulationError(
            f"the Debian package {package.name} cannot be unpacked: {error.__cause__}",
            hint="remove the file from the cache and run it again",
            context={"file": str(file)},
        ) from error
    for name in package.only:
        if not (whole / name).is_file():
            raise EmulationError(
                f"the Debian package {package.name} has no {name}",
                hint="the package was laid out anew: correct `only` in pins.toml",
            )
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        (whole / name).rename(into / name)
    if package.only:
        shutil.rmtree(whole)


def _fetch(
    pins: Pins, cache: ContentCache, env: Mapping[str, str], say: Say
) -> list[tuple[Package, Path]]:
    mirrors = find_mirrors(env)
    transfer = Transfer(cache=cache)
    total = sum(package.size for package in pins.packages)
    say(f"fetching {len(pins.packages)} Debian packages ({total / _MIB:.0f} MiB, once)")
    files = []
    for package in pins.packages:
        origin = DebianOrigin(
            kind="debian", path=package.path, size=package.size, sha256=package.sha256
        )
        try:
            found = fetch_debian(origin, mirrors=mirrors, transfer=transfer, label=package.name)
        except (TransferError, IntegrityError) as error:
            raise stale(package, pins.suite, error) from error
        files.append((package, found))
    return files


def stale(package: Package, suite: str, error: TransferError | IntegrityError) -> Exception:
    """Return the error for a pinned file that the mirror does not deliver.

    A host that cannot be reached says nothing about the pins: its error is returned as it is.
    """
    if isinstance(error, TransferError) and error.host is not None:
        return error
    return EmulationError(
        f"the mirror no longer has {package.name} as it is pinned: {error.problem}",
        hint=f"a point release of Debian {suite} has probably replaced it. Run `{PIN_COMMAND}`, "
        "read the difference of pins.toml, run the emulation again, and commit it",
        context={"path": package.path, "sha256": package.sha256, **error.context},
    )
