"""Small ELF libraries and Linux wheels, written byte by byte after the System V gABI and the LSB.

``elf()`` alone gives a sound, hardened and stripped library for x86-64 that asks for glibc 2.17.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

MACHINES = {"x86_64": 0x3E, "aarch64": 0xB7}
_NEEDED, _HASH, _STRTAB, _SYMTAB, _STRSZ, _SYMENT, _RUNPATH = 1, 4, 5, 6, 10, 11, 29
_TEXTREL, _FLAGS, _VERNEED, _VERNEEDNUM, _NOW = 22, 30, 0x6FFFFFFE, 0x6FFFFFFF, 8
_LOAD, _DYNAMIC, _STACK, _RELRO = 1, 2, 0x6474E551, 0x6474E552
ENTRY = "PyInit_onnxruntime_pybind11_state"
TAG = "cp311-cp311-manylinux_2_28_x86_64"
NAME = f"onnxruntime-1.30.0-{TAG}.whl"


def elf(
    *,
    machine: str = "x86_64",
    exports: Sequence[str] = (ENTRY,),
    versions: Mapping[str, Sequence[str]] | None = None,
    needed: Sequence[str] = ("libc.so.6",),
    runpath: str = "",
    stack: int = 6,
    now: bool = True,
    text_relocations: bool = False,
    text: bytes = b"",
) -> bytes:
    """Return a library; ``versions`` is library to symbol versions asked of it."""
    asked = {"libc.so.6": ["GLIBC_2.17"]} if versions is None else versions
    names = bytearray(b"\0")

    def name(word: str) -> int:
        at = len(names)
        names.extend(word.encode() + b"\0")
        return at

    symbols = bytes(24) + b"".join(
        struct.pack("<IBBHQQ", name(each), 0x12, 0, 1, 0x1000, 8) for each in exports
    )
    need = b""
    for place, (library, wanted) in enumerate(asked.items()):
        last = place == len(asked) - 1
        size = 16 + 16 * len(wanted)
        need += struct.pack("<HHIII", 1, len(wanted), name(library), 16, 0 if last else size)
        for number, version in enumerate(wanted):
            more = 0 if number == len(wanted) - 1 else 16
            need += struct.pack("<IHHII", 0, 0, 2 + number, name(version), more)
    count = len(exports) + 1
    table = struct.pack(f"<{4 + count}I", 1, count, 0, *range(1, count), 0, 0)[: 4 * (3 + count)]
    dynamic = [(_NEEDED, name(each)) for each in needed]
    dynamic += [(_RUNPATH, name(runpath))] if runpath else []
    dynamic += [(_FLAGS, _NOW)] if now else []
    dynamic += [(_TEXTREL, 0)] if text_relocations else []
    places, at, parts = {}, 64 + 4 * 56, b""
    for tag, content in (
        (_SYMTAB, symbols), (_STRTAB, bytes(names)), (_HASH, table), (_VERNEED, need)
    ):  # fmt: skip
        pad = -at % 8
        at += pad
        places[tag] = at
        parts += bytes(pad) + content
        at += len(content)
    dynamic += [*places.items(), (_STRSZ, len(names)), (_SYMENT, 24), (_VERNEEDNUM, len(asked))]
    parts += bytes(-at % 8)
    at += -at % 8
    entries = b"".join(struct.pack("<qQ", tag, value) for tag, value in (*dynamic, (0, 0)))
    parts += entries + text
    end = at + len(entries) + len(text)
    headers = b"".join(
        struct.pack("<IIQQQQQQ", kind, flags, offset, offset, offset, size, size, 8)
        for kind, flags, offset, size in (
            (_LOAD, 5, 0, end), (_DYNAMIC, 6, at, len(entries)), (_STACK, stack, 0, 0),
            (_RELRO, 4, at, len(entries)),
        )
    )  # fmt: skip
    start = b"\x7fELF\2\1\1" + bytes(9)
    kind = (3, MACHINES[machine], 1)
    start += struct.pack("<HHIQQQIHHHHHH", *kind, 0, 64, 0, 0, 64, 56, 4, 64, 0, 0)
    return start + headers + parts


def wheel(
    folder: Path, changes: Mapping[str, bytes | None] | None = None, *, name: str = NAME
) -> Path:
    """Write a Linux wheel with one extension; ``None`` leaves a file out."""
    folder.mkdir(parents=True, exist_ok=True)
    project, version, *tags = name.removesuffix(".whl").split("-")
    info = f"{project}-{version}.dist-info"
    platforms = tags[-1].split(".")
    said = "".join(f"Tag: {tags[0]}-{tags[1]}-{platform}\n" for platform in platforms)
    content: dict[str, bytes | None] = {
        "onnxruntime/__init__.py": b"",
        "onnxruntime/capi/onnxruntime_pybind11_state.so": elf(),
        f"{info}/METADATA": f"Name: {project}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\n{said}".encode(),
        **(changes or {}),
    }
    files = {each: data for each, data in content.items() if data is not None}
    lines = [
        f"{each},sha256="
        f"{base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for each, data in files.items()
    ]
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,\n"]).encode()
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for each, data in files.items():
            archive.writestr(each, data)
    return path
