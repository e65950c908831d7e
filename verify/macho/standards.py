"""``macho.standards``: what ortmill asks of its own macOS wheels, beyond what their tags promise.

One architecture, one oldest macOS that binaries and tags both name, stripped, no path of a building
machine, libraries found beside the file alone, and every file as the manifest says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..environment.promise import Promise
from ..environment.wheel_archive import as_built, build_paths, read_archive
from ..policy.findings import Outcome
from .binaries import ROLES, Binaries, role_of
from .image import Image

CHECK = "macho.standards"


def check_standards(
    ours: Binaries, promise: Promise, manifest: Mapping[str, Any] | None
) -> Outcome:
    """Judge a wheel of our own by our own standards."""
    found = Outcome(check=CHECK)
    for image in ours.images:
        found.add_problems(image.name, rules(image, promise))
        if role_of(image.name) is None:
            found.problems.append(f"{image.name} is a binary that the official wheel has not")
    found.problems.extend(f"the wheel has no {role}" for role in ROLES if ours.of(role) is None)
    if promise.architectures != ("arm64",):
        found.problems.append(f"its tags promise {' and '.join(promise.architectures)}")
    found.problems.extend(as_built(read_archive(ours.wheel)[0], manifest))
    compared = f"{len(ours.images)} stripped files for arm64 alone, no build path"
    told = ", every file as the manifest says" if manifest is not None else ""
    return Outcome(
        check=CHECK,
        compared=compared + told,
        problems=found.problems,
        evidence={"manifest": manifest is not None},
    )


def rules(image: Image, promise: Promise) -> list[str]:
    """Return what breaks a standard of ours."""
    problems = []
    if image.architectures != ("arm64",):
        problems.append(f"holds {', '.join(image.architectures)}, not arm64 alone")
    if image.minimum_os != promise.oldest:
        needs = ".".join(str(part) for part in image.minimum_os)
        problems.append(f"needs macOS {needs}, and the tag says {promise.to_macos()}")
    problems += [
        f'has the rpath "{path}", not @loader_path'
        for path in image.rpaths
        if path != "@loader_path"
    ]
    if image.debug_symbols:
        problems.append(f"{image.debug_symbols} debugging entries in the symbol table")
    if image.local_symbols:
        problems.append(f"{image.local_symbols} local symbols: it is not stripped")
    debug = sorted({entry.name for entry in image.sections if entry.segment == "__DWARF"})
    if debug:
        problems.append(f"debugging sections {', '.join(debug)}")
    return problems + build_paths(image.data)
