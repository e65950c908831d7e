"""Mach-O files and macOS wheels for the tests: compiled ones, and ways to damage them.

``tests/data/macho/make.py`` compiled the images; nothing here needs a compiler or a network.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from verify.environment.promise import Promise, read_promise
from verify.macho.binaries import Binaries, read_binaries
from verify.macho.image import Image, read_image
from verify.policy.findings import Explanations, Outcome, compare_all
from verify.policy.result import CheckResult

ARCHIVE = Path(__file__).resolve().parents[1] / "data" / "macho" / "images.zip"
LIBRARY = "onnxruntime/capi/libonnxruntime.1.21.0.dylib"
EXTENSION = "onnxruntime/capi/onnxruntime_pybind11_state.so"
TAG = "cp311-cp311-macosx_13_3_arm64"
NAME = f"onnxruntime-1.21.0-{TAG}.whl"
INFO = "onnxruntime-1.21.0.dist-info"
PROMISE: Promise = read_promise(NAME)
BUILD_VERSION, ID_DYLIB, UUID, CODE_SIGNATURE, SEGMENT = 0x32, 0xD, 0x1B, 0x1D, 0x19
NOT_MUTANTS = ("library", "extension", "with-stubs")


@functools.cache
def stored(name: str) -> bytes:
    """The bytes of one compiled image."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        return archive.read(name)


def mutants() -> list[str]:
    """The images with one wrong declaration each."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        return [name for name in archive.namelist() if name not in NOT_MUTANTS]


@functools.cache
def image(name: str = "library") -> Image:
    """One compiled image, read."""
    return read_image(stored(name), EXTENSION if name == "extension" else LIBRARY)


def commands(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield number, offset and size of each load command."""
    (count,) = struct.unpack_from("<I", data, 16)
    at = 32
    for _ in range(count):
        number, size = struct.unpack_from("<2I", data, at)
        yield number, at, size
        at += size


def command(data: bytes, wanted: int) -> int:
    """Return the offset of the first load command of a kind."""
    return next(at for number, at, _ in commands(data) if number == wanted)


def patched(data: bytes, at: int, content: bytes) -> bytes:
    """Return the bytes with some of them replaced."""
    return data[:at] + content + data[at + len(content) :]


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    """Return the bytes with a text replaced wherever it occurs; it must occur."""
    assert old in data
    assert len(old) == len(new)
    return data.replace(old, new)


def files(changes: Mapping[str, bytes | None] | None = None) -> dict[str, bytes]:
    """The content of a sound wheel without RECORD; ``None`` leaves a file out."""
    content: dict[str, bytes | None] = {
        "onnxruntime/__init__.py": b"__version__ = '1.21.0'\n",
        LIBRARY: stored("library"),
        EXTENSION: stored("extension"),
        f"{INFO}/METADATA": b"Metadata-Version: 2.1\nName: onnxruntime\nVersion: 1.21.0\n",
        f"{INFO}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {TAG}\n".encode(),
        **(changes or {}),
    }
    return {name: data for name, data in content.items() if data is not None}


def record(content: Mapping[str, bytes]) -> bytes:
    """RECORD for these files."""
    lines = []
    for name, data in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}\n")
    return "".join([*lines, f"{INFO}/RECORD,,\n"]).encode()


def wheel(
    folder: Path, changes: Mapping[str, bytes | None] | None = None, *, name: str = NAME
) -> Path:
    """Write a macOS wheel; RECORD is right for what is in it unless ``changes`` says otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    content = files(changes)
    if f"{INFO}/RECORD" not in (changes or {}):
        content[f"{INFO}/RECORD"] = record(content)
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for entry, data in content.items():
            archive.writestr(entry, data)
    return path


def judged(outcome: Outcome, explanations: Explanations | None = None) -> CheckResult:
    """What a check says by its rules; and of its differences, where it breaks none."""
    rules, differences = outcome.result(), compare_all(outcome.check, [outcome], explanations or {})
    chosen = rules if rules.status != "passed" else differences
    return replace(
        chosen,
        measured=rules.measured + differences.measured,
        evidence={**rules.evidence, **differences.evidence},
    )


def binaries(folder: Path, changes: Mapping[str, bytes | None] | None = None) -> Binaries:
    """The binaries of such a wheel."""
    return read_binaries(wheel(folder, changes))
