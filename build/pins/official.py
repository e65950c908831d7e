"""What the published wheels of a release tell: their pins, their Pythons, their macOS."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from ..binary.macho import inspect_macho
from ..errors import WheelError
from ..fetch.context import FetchContext
from ..fetch.origins.pypi import fetch_release
from ..recipe.format import PlatformName, PypiOrigin

_ENDS = {
    "linux-x86_64": ("linux", ("x86_64",)),
    "linux-aarch64": ("linux", ("aarch64",)),
    "macos-arm64": ("macosx", ("arm64", "universal2")),
}


@dataclass(frozen=True, kw_only=True)
class Official:
    """``pythons`` are interpreters such as ``cp311``; ``minimum_os`` is the macOS library's own."""

    wheels: Mapping[PlatformName, PypiOrigin]
    pythons: tuple[str, ...] = ()
    minimum_os: str = ""


def read_official(
    project: str,
    release: str,
    platforms: Sequence[PlatformName],
    *,
    interpreter: str,
    context: FetchContext,
) -> Official:
    """Fetch a release's wheels for one interpreter, one for each platform, and read them.

    ``interpreter`` says which, such as ``cp311``; the oldest that there is where that is missing.

    Raises
    ------
    FetchError, IntegrityError
        As :func:`build.fetch.origins.pypi.fetch_release`.
    WheelError
        The macOS wheel holds no library that can be read.
    """
    pythons: list[str] = []
    chosen: dict[str, PlatformName] = {}

    def choose(files: Sequence[str]) -> Sequence[str]:
        tags = {file: _tags(file) for file in files}
        plain = {tag.interpreter for each in tags.values() for tag in each if "t" not in tag.abi}
        pythons[:] = sorted(plain, key=lambda name: (len(name), name))
        wanted = interpreter if interpreter in pythons else next(iter(pythons), "")
        for file, each in sorted(tags.items()):
            for platform in platforms:
                if any(tag.abi == wanted and _fits(tag, platform) for tag in each):
                    chosen[file] = platform
        return list(chosen)

    found = fetch_release(
        project, release, choose, settings=context.pip_settings(), transfer=context.transfer
    )
    minimum = next((_minimum(path) for o, path in found if chosen[o.file] == "macos-arm64"), "")
    wheels = {chosen[origin.file]: origin for origin, _ in found}
    return Official(wheels=wheels, pythons=tuple(pythons), minimum_os=minimum)


def _tags(file: str) -> frozenset[Tag]:
    try:
        return parse_wheel_filename(file)[3]
    except InvalidWheelFilename:
        return frozenset()


def _fits(tag: Tag, platform: PlatformName) -> bool:
    system, processors = _ENDS[platform]
    return system in tag.platform and tag.platform.endswith(processors)


def _minimum(wheel: Path) -> str:
    """Return LC_BUILD_VERSION's minimum in the wheel's extension module."""
    with zipfile.ZipFile(wheel) as zipped:
        for name in zipped.namelist():
            if name.rpartition("/")[2].startswith("onnxruntime_pybind11_state"):
                return inspect_macho(zipped.read(name), name=name).minos
    raise WheelError(
        f"{wheel.name} holds no extension module of ONNX Runtime",
        hint="look into the official wheel, and set minimum_os by hand",
    )
