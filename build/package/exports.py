"""What a program needs to find an unpacked SDK, as lines for a shell, for CI or for Cargo."""

from __future__ import annotations

import json
import os
import re
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..recipe.format import PlatformName
from ..system.digest import file_sha256
from ..tree.unpack import unpack

FORMS = ("bash", "zsh", "fish", "github", "cargo")

# Cargo's names of the targets, whose linker is told where the library is.
_TARGETS: Mapping[PlatformName, str] = {
    "linux-x86_64": "x86_64-unknown-linux-gnu",
    "linux-aarch64": "aarch64-unknown-linux-gnu",
    "macos-arm64": "aarch64-apple-darwin",
}


@dataclass(frozen=True, kw_only=True)
class Sdk:
    """An unpacked SDK; its folder is the parent of ``lib`` and ``include``.

    ``api`` is the version of the C API in its header: what the library serves, with every older
    one.
    """

    folder: Path
    platform: PlatformName
    version: str
    api: int


def read_sdk(folder: Path) -> Sdk:
    """Read what an unpacked SDK says about itself.

    Raises
    ------
    UsageError
        The folder holds no SDK, or a shell's line cannot carry its path.
    """
    folder = folder.resolve()
    header = folder / "include" / "onnxruntime" / "onnxruntime_c_api.h"
    libraries = sorted((folder / "lib").glob("libonnxruntime.*[0-9].*"))
    if not header.is_file() or not libraries:
        raise UsageError(
            f"{folder} is no unpacked SDK",
            hint="unpack wheels/onnxruntime-sdk-*.tar.gz and name the one folder inside",
        )
    # As UTF-8, whatever the locale makes of the name's bytes.
    name = os.fsencode(folder).decode("utf-8", "surrogateescape")
    if not name.isprintable() or set(":;,") & set(name):
        # Lists of folders are cut at colons, CMake's at semicolons, the linker's words at commas.
        raise UsageError(
            f"the path {str(folder)!r} holds a character that no line can carry",
            hint="move the SDK to another folder",
        )
    found = re.search(r"^#define ORT_API_VERSION (\d+)$", header.read_text("utf-8"), re.MULTILINE)
    version = re.search(r"\d+\.\d+\.\d+", libraries[-1].name)
    if found is None or version is None:
        raise UsageError(
            f"{header.name} and {libraries[-1].name} do not say their version",
            hint="unpack the archive again",
        )
    mac = libraries[-1].suffix == ".dylib"
    # The machine's kind stands in an ELF header at byte 18; 183 is AArch64 (System V ABI).
    arm = not mac and libraries[-1].read_bytes()[18] == 183
    return Sdk(
        folder=folder,
        platform="macos-arm64" if mac else "linux-aarch64" if arm else "linux-x86_64",
        version=version[0],
        api=int(found[1]),
    )


def unpacked(archive: Path, below: Path) -> Path:
    """Unpack an SDK's archive once and return its one folder; another archive is another one."""
    folder = below / archive.name.removesuffix(".tar.gz") / file_sha256(archive)[:16]
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Renamed when it is whole: a run that was stopped leaves no half of an SDK.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as part:
            unpack(archive, Path(part) / "sdk", strip_root=True)
            (Path(part) / "sdk").rename(folder)
    return folder


def variables(sdk: Sdk) -> dict[str, str]:
    """Return the variables: those of the crate ort, pkg-config's, CMake's and the loader's."""
    mac = sdk.platform == "macos-arm64"
    library = "libonnxruntime.dylib" if mac else "libonnxruntime.so"
    lib = sdk.folder / "lib"
    return {
        "ORT_DYLIB_PATH": str(lib / library),
        "ORT_LIB_PATH": str(lib),
        # What releases before 2.0.0-rc.12 call it.
        "ORT_LIB_LOCATION": str(lib),
        "ORT_PREFER_DYNAMIC_LINK": "1",
        "PKG_CONFIG_PATH": str(lib / "pkgconfig"),
        "CMAKE_PREFIX_PATH": str(sdk.folder),
        "DYLD_LIBRARY_PATH" if mac else "LD_LIBRARY_PATH": str(lib),
    }


# Lists of folders: what is there already is kept behind ours.
_LISTS = frozenset({"PKG_CONFIG_PATH", "CMAKE_PREFIX_PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"})


def exports(sdk: Sdk, form: str, env: Mapping[str, str] | None = None) -> str:
    """Return the lines in one of :data:`FORMS`, with a first line that says what the SDK is.

    GitHub's file cannot name a list of folders that is there already: ``env`` has it.
    """
    about = (
        f"# ONNX Runtime {sdk.version}, C API {sdk.api}: the crate ort with its feature "
        f"api-{sdk.api} or a lower one"
    )
    given = variables(sdk)
    if form == "cargo":
        return "\n".join([about, *_cargo(sdk, given)]) + "\n"
    if form == "github":
        # The file takes NAME=value alone, without comments.
        there = env or {}
        kept = {name: f":{there[name]}" for name in _LISTS if there.get(name)}
        return "".join(f"{name}={value}{kept.get(name, '')}\n" for name, value in given.items())
    line = _fish if form == "fish" else _posix
    return "\n".join([about, *(line(name, value) for name, value in given.items())]) + "\n"


def _posix(name: str, value: str) -> str:
    kept = f'"${{{name}:+:${name}}}"' if name in _LISTS else ""
    return f"export {name}={shlex.quote(value)}{kept}"


def _fish(name: str, value: str) -> str:
    quoted = "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if name not in _LISTS:
        return f"set -gx {name} {quoted}"
    # Colons between what was there: the programs that read it are no fish.
    return f"set -gx {name} (string join : -- {quoted} ${name})"


def _cargo(sdk: Sdk, given: Mapping[str, str]) -> Sequence[str]:
    """Return a ``.cargo/config.toml``: JSON's strings are TOML's."""
    wanted = ("ORT_DYLIB_PATH", "ORT_LIB_PATH", "ORT_LIB_LOCATION", "ORT_PREFER_DYNAMIC_LINK")
    flag = f"link-arg=-Wl,-rpath,{sdk.folder / 'lib'}"
    return [
        "[env]",
        *(f"{name} = {json.dumps(given[name], ensure_ascii=False)}" for name in wanted),
        "",
        "# A program that is linked with the library finds it here.",
        f"[target.{_TARGETS[sdk.platform]}]",
        f'rustflags = ["-C", {json.dumps(flag, ensure_ascii=False)}]',
    ]
