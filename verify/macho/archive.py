"""``macho.wheel``: the archive around the binaries.

The rules about libraries are those of ``delocate-wheel``, read again here.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from ..environment.promise import Promise
from ..environment.wheel_archive import read_archive
from ..policy.findings import Outcome
from .binaries import Binaries
from .image import Image

CHECK = "macho.wheel"
_SYSTEM = ("/usr/lib/", "/System/Library/")


def check_archive(ours: Binaries, promise: Promise) -> Outcome:
    """Judge name, tags, RECORD, the files that lie inside and where libraries come from."""
    files, problems = read_archive(ours.wheel)
    problems += tags(promise, ours.images)
    problems += _libraries(ours, files)
    if ours.of("extension") is None:
        problems.append("the wheel has no extension")
    newest = max((image.minimum_os for image in ours.images), default=(0, 0))
    nearest = ""
    if promise.oldest and newest > promise.oldest:
        nearest = (
            f"; the tag's macOS {promise.to_macos()} is the nearest that installers know to the "
            f"{newest[0]}.{newest[1]} that the binaries ask for"
        )
    return Outcome(
        check=CHECK,
        compared=f"{len(files)} files as RECORD says, tags kept, every library inside or the "
        f"system's{nearest}",
        problems=problems,
        evidence={
            "files": len(files),
            "binaries": [image.name for image in ours.images],
            "minimum_os": {image.name: list(image.minimum_os) for image in ours.images},
        },
    )


def tags(promise: Promise, images: tuple[Image, ...]) -> list[str]:
    """Return what a wheel's tags promise and its binaries do not keep."""
    if promise.system != "macos":
        return ["its tags promise nothing about macOS"]
    return [
        f"the tag promises macOS {promise.to_macos()}, but {image.name} needs "
        f"{minimum[0]}.{minimum[1]} on {architecture}"
        for image in images
        for architecture, minimum in sorted(image.minimums.items())
        if architecture in promise.architectures and not promise.keeps(minimum)
    ] + [
        f"the tag promises {architecture}, which {image.name} does not hold"
        for image in images
        for architecture in promise.architectures
        if architecture not in image.architectures
    ]


def _libraries(ours: Binaries, files: Mapping[str, bytes]) -> list[str]:
    """Every library must be the system's or lie where its path says, inside the wheel."""
    problems = []
    for image in ours.images:
        folder = posixpath.dirname(image.name)
        for library in image.libraries:
            if library.name.startswith(_SYSTEM):
                continue
            start, _, rest = library.name.partition("/")
            places = [
                posixpath.normpath(posixpath.join(folder, path.removeprefix("@loader_path"), rest))
                for path in (("@loader_path",) if start == "@loader_path" else image.rpaths)
                if path.startswith("@loader_path")
            ]
            if start not in ("@loader_path", "@rpath") or not set(places) & files.keys():
                problems.append(f"{image.name} needs {library.name}, which is not in the wheel")
    return problems
