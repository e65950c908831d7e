"""Ask Clang what it makes of the Apple surface: syntax trees, LLVM text and objects.

The surface is the folder ``recipes/overlays/apple``. Everything that its checks know about a
declaration comes from Clang's own reading of it, never from a second parser of ours.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.errors import ToolchainError

TARGET = "arm64-apple-macosx13.3"

# What zig itself says to libc++ when it compiles for macOS, but with the system's library in mind.
_LIBCXX = (
    "-D_LIBCPP_ABI_VERSION=1",
    "-D_LIBCPP_ABI_NAMESPACE=__1",
    "-D_LIBCPP_ASSERTION_SEMANTIC_DEFAULT=_LIBCPP_ASSERTION_SEMANTIC_IGNORE",
    "-D_LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_NONE",
    "-D_LIBCPP_HAS_FILESYSTEM=1",
    "-D_LIBCPP_HAS_LOCALIZATION",
    "-D_LIBCPP_HAS_MONOTONIC_CLOCK",
    "-D_LIBCPP_HAS_MUSL_LIBC=0",
    "-D_LIBCPP_HAS_NO_STD_MODULES",
    "-D_LIBCPP_HAS_RANDOM_DEVICE",
    "-D_LIBCPP_HAS_TERMINAL",
    "-D_LIBCPP_HAS_THREADS=1",
    "-D_LIBCPP_HAS_UNICODE",
    "-D_LIBCPP_HAS_VENDOR_AVAILABILITY_ANNOTATIONS=1",
    "-D_LIBCPP_HAS_WIDE_CHARACTERS",
    "-D_LIBCPP_PSTL_BACKEND_SERIAL",
)

Node = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SurfaceCompiler:
    """Clang for arm64 macOS, with the surface in place of an SDK.

    Attributes
    ----------
    command : tuple[str, ...]
        The program and the arguments that every call begins with.
    surface : Path
        The folder laid out like an SDK that ``command`` looks into.
    """

    command: tuple[str, ...]
    surface: Path

    def run(self, arguments: Sequence[str], *, text: str | None = None) -> str:
        """Run Clang and return what it prints.

        Parameters
        ----------
        arguments : Sequence[str]
            What follows ``command``.
        text : str, optional
            The source, where the arguments name ``-`` as the file.

        Raises
        ------
        ToolchainError
            Clang cannot be started, or refuses the source; its first words are in the context.
        """
        try:
            done = subprocess.run(
                [*self.command, *arguments],
                input=text,
                capture_output=True,
                text=True,
                check=False,
                timeout=600,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ToolchainError(
                f"the compiler {self.command[0]} cannot be run: {error}",
                hint="name zig's program with ORTMILL_ZIG",
            ) from error
        if done.returncode != 0:
            said = [line for line in done.stderr.splitlines() if "error:" in line]
            raise ToolchainError(
                "Clang refuses a source that uses the Apple surface: "
                + (said[0] if said else done.stderr.strip()[:400] or "it says nothing"),
                hint="is something missing from recipes/overlays/apple?",
                context={"all errors": "\n".join(said[:20])},
            )
        return done.stdout

    def tree(
        self, arguments: Sequence[str], *, text: str | None = None, within: str = ""
    ) -> list[Node]:
        """Return Clang's syntax tree, as the documents that it prints.

        Parameters
        ----------
        arguments : Sequence[str]
            Flags and the file.
        text : str, optional
            The source, where the file is ``-``.
        within : str, optional
            Only declarations whose qualified name contains this; without it the whole
            translation unit, which for ONNX Runtime's sources is gigabytes.
        """
        words = ["-fsyntax-only", "-w", "-Xclang", "-ast-dump=json"]
        if within:
            words += ["-Xclang", f"-ast-dump-filter={within}"]
        return documents(self.run([*words, *arguments], text=text))


def zig_compiler(zig: Path, surface: Path) -> SurfaceCompiler:
    """Return the Clang of a ziglang wheel, set up for the surface.

    Parameters
    ----------
    zig : Path
        The program ``zig``; its headers lie beside it in ``lib``.
    surface : Path
        The folder laid out like an SDK.
    """
    lib = zig.parent / "lib"
    words = [str(zig), "clang", f"--target={TARGET}", "-nostdinc"]
    for folder in ("libcxx/include", "libcxxabi/include", "include", "libc/include/any-darwin-any"):
        words += ["-isystem", str(lib / folder)]
    words += ["-isystem", str(surface / "usr" / "include")]
    words += ["-F", str(surface / "System" / "Library" / "Frameworks")]
    return SurfaceCompiler(command=(*words, *_LIBCXX), surface=surface)


def documents(text: str) -> list[Node]:
    """Return the JSON documents that stand one after the other in a text."""
    found: list[Node] = []
    decoder, place = json.JSONDecoder(), 0
    while True:
        while place < len(text) and text[place].isspace():
            place += 1
        if place == len(text):
            return found
        document, place = decoder.raw_decode(text, place)
        found.append(document)


def umbrella(surface: Path) -> str:
    """Return a source that includes every header of the surface's frameworks."""
    headers = sorted((surface / "System/Library/Frameworks").glob("*.framework/Headers/*.h"))
    return "".join(f"#include <{header.parents[1].stem}/{header.name}>\n" for header in headers)
