"""The Mach-O files of a wheel, and which part each plays."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import WheelNotUsable
from ..policy.findings import Role
from .image import FAT_MAGICS, THIN_MAGIC, Image, read_image

ROLES: tuple[Role, ...] = ("extension", "library")
_MAGICS = (*FAT_MAGICS, THIN_MAGIC, b"\xce\xfa\xed\xfe", b"\xfe\xed\xfa\xcf", b"\xfe\xed\xfa\xce")
_SUFFIXES = (".so", ".dylib")


@dataclass(frozen=True, kw_only=True)
class Binaries:
    """The arm64 images of one wheel, in the order of their names."""

    wheel: Path
    images: tuple[Image, ...]

    def of(self, role: Role) -> Image | None:
        """Return the image that plays a part, or ``None``."""
        return next((image for image in self.images if role_of(image.name) == role), None)


def role_of(name: str) -> Role | None:
    """Return the part that a file plays: the Python extension, or the library for C."""
    base = PurePosixPath(name).name
    if base.startswith("onnxruntime_pybind11_state.") and base.endswith(".so"):
        return "extension"
    if base.startswith("libonnxruntime.") and base.endswith(".dylib"):
        return "library"
    return None


def pairs(ours: Binaries, official: Binaries | None) -> Iterator[tuple[Role, Image, Image]]:
    """Yield each part with both its images, where there is something to compare with."""
    if official is None:
        return
    for role in ROLES:
        mine, theirs = ours.of(role), official.of(role)
        if mine is not None and theirs is not None:
            yield role, mine, theirs


def read_binaries(wheel: Path) -> Binaries:
    """Read every Mach-O file of a wheel.

    Raises
    ------
    WheelNotUsable
        When the wheel is no zip archive, or holds no Mach-O file.
    MachOUnreadable
        When one of them cannot be read or holds no arm64 code.
    """
    images = []
    try:
        with zipfile.ZipFile(wheel) as archive:
            for entry in sorted(archive.infolist(), key=lambda entry: entry.filename):
                with archive.open(entry) as stream:
                    magic = stream.read(4)
                    if magic in _MAGICS or entry.filename.endswith(_SUFFIXES):
                        images.append(read_image(magic + stream.read(), entry.filename))
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise WheelNotUsable(
            f"{wheel} is damaged: {error}.", hint="Build or download it again."
        ) from None
    if not images:
        raise WheelNotUsable(
            f"{wheel.name} holds no Mach-O file.", hint="Give a macOS wheel, or another policy."
        )
    return Binaries(wheel=wheel, images=tuple(images))
