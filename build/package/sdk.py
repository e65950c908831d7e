"""The native SDK: the shared library of the same compile, with what C and C++ need to use it."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..binary.macho import inspect_macho
from ..binary.rules import install_name
from ..errors import WheelError
from ..recipe.format import PlatformName
from ..system.digest import file_sha256
from ..system.files import check_writable, replacing
from ..system.process import Run
from .licences import placed_licences
from .release import MAC_ARCHITECTURE, Release
from .wheel import check_binaries, check_paths

NAME = "onnxruntime"
_UPSTREAM_TEXTS = ("LICENSE", "ThirdPartyNotices.txt", "VERSION_NUMBER")
_HEADERS = ("onnxruntime_c_api.h", "onnxruntime_cxx_api.h")
_PACKAGE = ("Config.cmake", "ConfigVersion.cmake", "Targets.cmake", "Targets-release.cmake")

_PKG_CONFIG = """\
prefix=${{pcfiledir}}/../..
libdir=${{prefix}}/lib
includedir=${{prefix}}/include/onnxruntime

Name: {name}
Description: ONNX Runtime, the native library
URL: https://onnxruntime.ai
Version: {upstream}
Libs: -L${{libdir}} -l{name}
Cflags: -I${{includedir}}
"""

_README = """\
# ONNX Runtime {upstream}, native SDK

Version {version} for {platform}, from the same compile as the wheel of that version.

- `lib/`: the shared library and its links
- `include/onnxruntime/`: the C and C++ headers that upstream installs
- `lib/cmake/onnxruntime/`: `find_package(onnxruntime CONFIG REQUIRED)`, then link
  `onnxruntime::onnxruntime`; give CMake this folder as `CMAKE_PREFIX_PATH`
- `lib/pkgconfig/`: `pkg-config --cflags --libs libonnxruntime` with `PKG_CONFIG_PATH` set here
- `licences/`: the licence texts of everything that is linked in

The folder may be moved anywhere. At run time the loader must find `lib/`: set an rpath
(CMake does in the build tree) or install the library where the system looks.
"""
_README_MACOS = """\

The library is for Macs with Apple silicon and macOS {minos} or newer. Its install name is
`{name}`, and it is signed ad hoc, by nobody: an application that is signed must sign it
again together with everything else that it carries.
"""


@dataclass(frozen=True, kw_only=True)
class SdkArtifact:
    """The SDK archive; ``files`` is the sha256 of every regular file below its one folder."""

    path: Path
    sha256: str
    size: int
    files: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Member:
    """One entry of the archive: a file's content, or the text of a link."""

    content: bytes = b""
    link: str = ""
    executable: bool = False


def install_argv(cmake: Path, build_dir: Path, prefix: Path) -> list[str]:
    """Return the command that installs ONNX Runtime itself, and none of its dependencies.

    ``CMAKE_INSTALL_LOCAL_ONLY`` (CMake's own ``install/local`` target sets it) stops at the top
    folder, so that nothing of a dependency is installed or asked for.
    """
    return [
        str(cmake),
        f"-DCMAKE_INSTALL_PREFIX={prefix}",
        "-DCMAKE_INSTALL_LOCAL_ONLY=1",
        *("-P", str(build_dir / "cmake_install.cmake")),
    ]


def library_names(upstream_version: str, platform: PlatformName) -> dict[str, str]:
    """Return the library's file names: a link's target, or an empty string for the file itself."""
    if platform == "macos-arm64":
        full, plain = f"lib{NAME}.{upstream_version}.dylib", f"lib{NAME}.dylib"
        # What a program that is linked with it asks dyld for.
        asked = install_name(full).removeprefix("@rpath/")
        return {full: "", plain: full} if asked == full else {full: "", asked: full, plain: asked}
    full = f"lib{NAME}.so.{upstream_version}"
    major = f"lib{NAME}.so.{upstream_version.split('.', 1)[0]}"
    return {full: "", major: full, f"lib{NAME}.so": major}


def _staged(root: Path) -> dict[str, Member]:
    members = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            members[name] = Member(link=str(path.readlink()))
        elif path.is_file():
            library = ".so" in path.name or path.suffix == ".dylib"
            members[name] = Member(content=path.read_bytes(), executable=library)
    return members


def _check(members: Mapping[str, Member], names: Mapping[str, str], build_dir: Path) -> None:
    wanted = [f"lib/{library}" for library in names]
    wanted += [f"include/{NAME}/{header}" for header in _HEADERS]
    wanted += [f"lib/cmake/{NAME}/{NAME}{file}" for file in _PACKAGE]
    missing = [path for path in wanted if path not in members]
    wrong = [
        library
        for library, link in names.items()
        if f"lib/{library}" in members and members[f"lib/{library}"].link != link
    ]
    if missing or wrong:
        raise WheelError(
            "the installed tree is no SDK: "
            + (f"{missing[0]} is missing" if missing else f"{wrong[0]} is no link as expected"),
            hint="build with --build_shared_lib and CMAKE_INSTALL_LIBDIR=lib",
            context={"missing": ", ".join(missing), "links": ", ".join(wrong)},
        )
    for path, member in members.items():
        text = path.endswith((".cmake", ".pc", ".h"))
        if text and str(build_dir).encode() in member.content:
            raise WheelError(
                f"{path} of the SDK holds a path of the build tree, so it cannot be moved",
                hint="a define of the recipe put an absolute path into the exported targets",
            )


def _mac_readme(members: Mapping[str, Member], library: str, minimum_os: str) -> str:
    """Check the library for macOS and return what the README adds about it."""
    content = members[f"lib/{library}"].content
    facts = inspect_macho(content, architecture=MAC_ARCHITECTURE, name=library)
    check_binaries({library: content}, minimum_os=minimum_os)
    name = install_name(library)
    return _README_MACOS.format(minos=facts.minos, name=name)


def write_archive(
    members: Mapping[str, Member], folder: str, path: Path, *, source_date_epoch: int
) -> None:
    """Write a tar.gz below one folder: sorted, one time stamp, no owner, gzip's own time zero."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for name in sorted(members):
            member = members[name]
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.mtime = source_date_epoch
            info.mode = 0o755 if member.executable or member.link else 0o644
            if member.link:
                info.type, info.linkname = tarfile.SYMTYPE, member.link
                archive.addfile(info)
            else:
                info.size = len(member.content)
                archive.addfile(info, io.BytesIO(member.content))


def make_sdk(
    release: Release, *, build_dir: Path, source_dir: Path, cmake: Path, run: Run
) -> SdkArtifact:
    """Make ``onnxruntime-sdk-<version>-<platform>.tar.gz`` of a compiled tree.

    Upstream's own install rules choose the library, the headers and the CMake package; the
    pkg-config file is written anew because upstream's holds an absolute prefix. Upstream's licence
    texts are in ``source_dir``.

    Raises
    ------
    WheelError
        The installed tree lacks a file, holds a path of the build tree, or its library for macOS
        has a weakness (:func:`build.binary.rules.macho_weaknesses`).
    ResourceError
        The folder cannot be written.
    """
    check_writable(release.into)
    with tempfile.TemporaryDirectory(prefix="ortmill-sdk-") as scratch:
        prefix = Path(scratch).resolve() / "prefix"
        run(install_argv(cmake, build_dir, prefix))
        members = _staged(prefix)
    names = library_names(release.upstream_version, release.platform)
    _check(
        {path: item for path, item in members.items() if not path.endswith(".pc")}, names, build_dir
    )
    members |= _own_texts(release, members, next(iter(names)))
    for file in _UPSTREAM_TEXTS:
        if (source_dir / file).is_file():
            members[file] = Member(content=(source_dir / file).read_bytes())
    for path, licence in placed_licences(release.licences).items():
        members[f"licences/{path}"] = Member(content=licence)
    check_paths({path: member.content for path, member in members.items()}, release.forbidden_paths)
    folder = f"{NAME}-sdk-{release.version}-{release.platform}"
    target = release.into / f"{folder}.tar.gz"
    with replacing(target) as part:
        write_archive(members, folder, part, source_date_epoch=release.source_date_epoch)
    return SdkArtifact(
        path=target,
        sha256=file_sha256(target),
        size=target.stat().st_size,
        files={
            path: hashlib.sha256(member.content).hexdigest()
            for path, member in sorted(members.items())
            if not member.link
        },
    )


def _own_texts(release: Release, members: Mapping[str, Member], library: str) -> dict[str, Member]:
    """Return the pkg-config file and the README; the library for macOS is checked on the way."""
    upstream = release.upstream_version
    readme = _README.format(upstream=upstream, version=release.version, platform=release.platform)
    if release.platform == "macos-arm64":
        readme += _mac_readme(members, library, release.minimum_os)
    texts = {
        f"lib/pkgconfig/lib{NAME}.pc": _PKG_CONFIG.format(name=NAME, upstream=upstream),
        "README.md": readme,
    }
    return {path: Member(content=text.encode()) for path, text in texts.items()}
