"""The SDK as one static library, for programs that link all of ONNX Runtime into themselves.

Not part of a build: it is merged, when asked for, out of the archives that the build has linked
its shared library from. So it is the same compile, and a recipe's digest knows nothing of it.
"""

from __future__ import annotations

import re
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import ToolchainError, UsageError
from .package.artefacts import Artefacts, machine_paths
from .package.sdk import Member, write_archive
from .package.wheel import check_paths
from .recipe.format import PlatformName
from .recipe.version import source_date_epoch
from .request import Request
from .system.console import Reporter
from .system.files import replacing
from .tree.lock import hold_tree

LIBRARY = "lib/libonnxruntime.a"
_KEPT = ("include/", "licences/", "LICENSE", "ThirdPartyNotices.txt", "VERSION_NUMBER")

# One of MLAS's kernels does not say that it needs no executable stack, and GNU's linker then gives
# the whole program one. rustc says it by itself.
_LINUX = "-lstdc++ -lpthread -ldl -lrt -lm -Wl,-z,noexecstack"

# What the library asks of a program's link line, beside itself.
SYSTEM: Mapping[PlatformName, str] = {
    "linux-x86_64": _LINUX,
    "linux-aarch64": _LINUX,
    "macos-arm64": "-lc++ -framework Foundation -framework CoreML",
}

_README = """\
# ONNX Runtime, the static library

`lib/libonnxruntime.a` is everything that the shared library of {sdk} is linked from,
merged into one archive. Link it with `{system}`.

The Rust crate `ort` (2.0.0-rc.12 and newer) takes it with `ORT_LIB_PATH=<this folder>/lib`, without
`load-dynamic` and without `ORT_PREFER_DYNAMIC_LINK`. A program that already holds protobuf, abseil,
re2, flatbuffers or onnx must link the shared library: their symbols are visible here.
"""


def make_static_sdk(request: Request, made: Artefacts, reporter: Reporter) -> Path:
    """Write ``onnxruntime-static-sdk-<version>-<platform>.tar.gz`` beside a build's artefacts.

    Raises
    ------
    UsageError
        The build's tree has been removed, or this host cannot merge its archives.
    ToolchainError
        The archiver failed.
    WheelError
        An object holds a path of this machine.
    """
    tree = request.workspace.tree(request.recipe, request.platform)
    with hold_tree(tree.lock, request.workspace.root, reporter.say):
        library = _merged(tree.build / "Release")
    members = {
        name: member for name, member in _unpacked(made.sdk).items() if name.startswith(_KEPT)
    }
    readme = _README.format(sdk=made.sdk.name, system=SYSTEM[request.platform])
    members |= {LIBRARY: Member(content=library), "README.md": Member(content=readme.encode())}
    check_paths(
        {name: member.content for name, member in members.items()},
        machine_paths(tree, request.workspace),
    )
    folder = made.sdk.name.removesuffix(".tar.gz").replace("-sdk-", "-static-sdk-", 1)
    target = made.sdk.with_name(f"{folder}.tar.gz")
    with replacing(target) as part:
        write_archive(members, folder, part, source_date_epoch=source_date_epoch(request.recipe))
    reporter.finish(f"{target.name}, {target.stat().st_size / 1e6:.1f} MB")
    return target


def linked_archives(ninja: str) -> list[str]:
    """Return the static libraries that the shared one is linked from, in the linker's order."""
    rule = re.search(
        r"^build libonnxruntime\.[\w.]+: \w*SHARED_LIBRARY_LINKER.*?^  LINK_LIBRARIES = ([^\n]+)",
        ninja,
        re.MULTILINE | re.DOTALL,
    )
    if rule is None:
        raise UsageError(
            "the build's build.ninja has no rule for the shared library",
            hint="compile anew: `python -m build run --fresh`",
        )
    return list(dict.fromkeys(word for word in rule[1].split() if word.endswith(".a")))


def _merged(build_dir: Path) -> bytes:
    ninja, cache = build_dir / "build.ninja", build_dir / "CMakeCache.txt"
    if not ninja.is_file() or not cache.is_file():
        raise UsageError(
            f"the tree that was compiled is gone: {build_dir}",
            hint="compile anew: `python -m build run --fresh --static-sdk`",
        )
    return merge(
        _archiver(cache.read_text("utf-8")),
        [build_dir / name for name in linked_archives(ninja.read_text("utf-8"))],
    )


def _archiver(cache: str) -> str:
    """Return the ``ar`` that made the archives; Apple's own cannot merge them."""
    # A cross build's toolchain file names it, and then the cache has the compiler's own alone.
    found = re.search(r"^CMAKE_(?:C_COMPILER_)?AR:FILEPATH=(.+)$", cache, re.MULTILINE)
    if found is None or "/Xcode" in found[1] or "/CommandLineTools/" in found[1]:
        raise UsageError(
            "Apple's ar merges no archives, so the static SDK is not made on a Mac",
            hint="cross-build it on Linux, with --platform macos-arm64",
        )
    return found[1]


def merge(archiver: str, archives: Sequence[Path]) -> bytes:
    """Merge static libraries into one, members of the same name kept.

    The script is what GNU's and LLVM's ``ar -M`` read (binutils manual, "Controlling ar with a
    script"); both leave out owners and times.
    """
    with tempfile.TemporaryDirectory(prefix="ortmill-static-") as scratch:
        made = Path(scratch) / "merged.a"
        script = [f"create {made}", *(f"addlib {each}" for each in archives), "save", "end", ""]
        done = subprocess.run(
            [archiver, "-M"], input="\n".join(script), capture_output=True, text=True, check=False
        )
        if done.returncode or not made.is_file():
            raise ToolchainError(
                f"{archiver} -M could not merge the static libraries",
                hint="it must be GNU's or LLVM's ar",
                context={"said": (done.stderr or done.stdout).strip()[-1000:]},
            )
        return made.read_bytes()


def _unpacked(sdk: Path) -> dict[str, Member]:
    """Return the files of an SDK's archive by their names below its one folder."""
    members = {}
    with tarfile.open(sdk) as archive:
        for item in archive:
            stream = archive.extractfile(item) if item.isreg() else None
            if stream is not None:
                members[item.name.partition("/")[2]] = Member(content=stream.read())
    return members
