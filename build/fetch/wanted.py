"""Which inputs a build needs, and where each may come from. Nothing is fetched here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..recipe.cross import CrossBuild, cross_origins
from ..recipe.format import (
    ArchiveOrigin,
    DebianOrigin,
    DefineValue,
    GitOrigin,
    OverlayOrigin,
    PlatformName,
    PypiOrigin,
    Recipe,
)

Choice = Literal["auto", "upstream", "registry", "cache"]
Role = Literal["source", "dependency", "data", "tools", "toolchain"]
UPSTREAM = frozenset({"git", "archive", "hub"})
REGISTRY = frozenset({"debian", "pypi", "overlay"})


@dataclass(frozen=True, kw_only=True)
class ToolsLock:
    """The wheels of the build's own tools: ``lock`` is a file below the recipes' folder."""

    lock: str
    sha256: str
    kind: Literal["wheelhouse"] = "wheelhouse"
    version: str = ""


AnyOrigin = GitOrigin | ArchiveOrigin | DebianOrigin | PypiOrigin | OverlayOrigin | ToolsLock


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An origin that may be used; ``index`` is its place in the recipe, from 0."""

    index: int
    origin: AnyOrigin


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """An origin that may not be used, and why."""

    index: int
    kind: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class FetchItem:
    """One input of the build.

    ``instead`` says what is done where an input that is not required cannot be had.
    """

    name: str
    version: str
    role: Role
    choice: Choice
    candidates: tuple[Candidate, ...]
    excluded: tuple[Exclusion, ...] = ()
    required: bool = True
    instead: str = ""


def plan_fetch(
    recipe: Recipe,
    platform: PlatformName,
    choice: Choice = "auto",
    *,
    host: PlatformName | None = None,
    cross: CrossBuild | None = None,
) -> tuple[FetchItem, ...]:
    """Return every input of a build, in the recipe's order: source, dependencies, data, tools.

    A dependency that the platform does not need is left out, and one that runs while building
    where ``host`` (by default the platform itself) is not its own. ``cross`` adds the parts of a
    cross toolchain, which are outside the choice like the tools.

    Candidates keep the order of the recipe; when it comes to fetching, one that is in the cache
    already goes before one that is not.

    ``choice`` is about what gets compiled: ``upstream`` leaves git and archive, ``registry``
    leaves debian, pypi and overlay, ``cache`` and ``auto`` leave all. Data files and tools have
    one origin each, and the choice does not concern them. An overlay is left out on every
    platform that it is not made for, whatever the choice.
    """
    source = _item(
        name="onnxruntime",
        version=recipe.version,
        role="source",
        origins=recipe.source.origins,
        platform=platform,
        choice=choice,
        cross=cross is not None,
    )
    dependencies = tuple(
        _item(
            name=dependency.name,
            version=dependency.version,
            role="dependency",
            origins=dependency.origins,
            platform=platform,
            choice=choice,
            cross=cross is not None,
            required=dependency.required,
            instead=_instead(dependency.fallback_defines),
        )
        for dependency in recipe.dependencies
        if platform in dependency.platforms and (host or platform) in dependency.hosts
    )
    data = tuple(
        FetchItem(
            name=f"data for {entry.into}",
            version=entry.origin.release,
            role="data",
            choice=choice,
            candidates=(Candidate(index=0, origin=entry.origin),),
        )
        for entry in recipe.data
    )
    lock = ToolsLock(lock=recipe.tools.lock, sha256=recipe.tools.lock_sha256)
    tools = FetchItem(
        name="build tools",
        version="",
        role="tools",
        choice=choice,
        candidates=(Candidate(index=0, origin=lock),),
    )
    toolchain = tuple(
        FetchItem(
            name=name,
            version=origin.version,
            role="toolchain",
            choice=choice,
            candidates=(Candidate(index=0, origin=origin),),
        )
        for name, origin in (cross_origins(cross) if cross else ())
    )
    return (source, *dependencies, *data, tools, *toolchain)


def _instead(defines: Mapping[str, DefineValue]) -> str:
    if not defines:
        return "building without it"
    text = " ".join(
        f"{name}={'ON' if value is True else 'OFF' if value is False else value}"
        for name, value in defines.items()
    )
    return f"building without it ({text})"


def _item(
    *,
    name: str,
    version: str,
    role: Role,
    origins: tuple[AnyOrigin, ...],
    platform: PlatformName,
    choice: Choice,
    cross: bool,
    required: bool = True,
    instead: str = "",
) -> FetchItem:
    candidates: list[Candidate] = []
    excluded: list[Exclusion] = []
    for index, origin in enumerate(origins):
        reason = _excluded(origin, platform, choice, cross=cross)
        if reason:
            excluded.append(Exclusion(index=index, kind=origin.kind, reason=reason))
        else:
            candidates.append(Candidate(index=index, origin=origin))
    return FetchItem(
        name=name,
        version=version,
        role=role,
        choice=choice,
        candidates=tuple(candidates),
        excluded=tuple(excluded),
        required=required,
        instead=instead,
    )


def _excluded(origin: AnyOrigin, platform: PlatformName, choice: Choice, *, cross: bool) -> str:
    if isinstance(origin, OverlayOrigin) and platform not in origin.platforms:
        allowed = ", ".join(origin.platforms) or "no platform"
        if platform not in origin.cross_platforms:
            return f"the overlay stands in for the original on {allowed}, not on {platform}"
        if not cross:
            return (
                f"the overlay stands in for the original on {allowed}; on {platform} only in an "
                "artefact that is built elsewhere"
            )
    if choice == "upstream" and origin.kind not in UPSTREAM:
        return f"--origin upstream leaves out {origin.kind}"
    if choice == "registry" and origin.kind not in REGISTRY:
        return f"--origin registry leaves out {origin.kind}"
    return ""
