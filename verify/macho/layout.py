"""``macho.layout``: identified and mappable, and the sizes of sections side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..policy.findings import Outcome
from .binaries import Binaries, pairs
from .image import Image

CHECK = "macho.layout"
_PAGE = 0x4000


def check_layout(ours: Binaries, official: Binaries | None) -> Outcome:
    """Judge how segments lie and what names the build; list sections side by side."""
    found = Outcome(check=CHECK)
    for image in ours.images:
        found.add_problems(image.name, rules(image))
    seen: dict[str, str] = {}
    for image in ours.images:
        if image.uuid and image.uuid in seen:
            found.problems.append(f"{image.name} has the UUID of {seen[image.uuid]}")
        seen.setdefault(image.uuid, image.name)
    for role, mine, theirs in pairs(ours, official):
        found.evidence[role] = {
            "bytes": {"ours": len(mine.data), "official": len(theirs.data)},
            "local_symbols": {"ours": mine.local_symbols, "official": theirs.local_symbols},
            "debug_symbols": {"ours": mine.debug_symbols, "official": theirs.debug_symbols},
            "sections": side_by_side(mine, theirs),
        }
    size = sum(len(image.data) for image in ours.images)
    return replace(
        found, compared=f"{len(ours.images)} files that can be mapped, {size / 2**20:.1f} MiB"
    )


def rules(image: Image) -> list[str]:
    """Return what breaks a rule: no UUID, segments that cannot be mapped."""
    problems = []
    if not image.uuid.strip("0"):
        problems.append("no UUID, so that a crash report cannot name the build")
    end = 0
    for segment in image.segments:
        if segment.address % _PAGE or segment.offset % _PAGE:
            problems.append(f"segment {segment.name} does not start at a page of 16 KiB")
        if segment.address < end:
            problems.append(f"segment {segment.name} overlaps the one before it")
        end = segment.address + segment.size
        if segment.offset + segment.file_size > len(image.data):
            problems.append(f"segment {segment.name} lies outside the file")
    return problems


def side_by_side(ours: Image, official: Image) -> list[dict[str, Any]]:
    """Return ``{"section", "ours", "official"}`` in bytes; ``None`` where there is none."""
    sizes = [
        {f"{entry.segment},{entry.name}": entry.size for entry in image.sections}
        for image in (ours, official)
    ]
    names = list(dict.fromkeys([*sizes[0], *sizes[1]]))
    return [
        {"section": name, "ours": sizes[0].get(name), "official": sizes[1].get(name)}
        for name in names
    ]
