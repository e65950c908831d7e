"""What a build needs and where each input may come from; nothing is fetched here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..recipe.cross import CrossBuild, cross_origins
from ..recipe.format import (
    ArchiveOrigin,
    DebianOrigin,
    DefineValue,
    DerivedModelOrigin,
    GitOrigin,
    HubOrigin,
    LocalOrigin,
    ModelFile,
    ModelOrigin,
    ModelRecipe,
    OverlayOrigin,
    PackagedModelOrigin,
    PlatformName,
    PypiOrigin,
    Recipe,
    SplitModelOrigin,
)

Choice = Literal["auto", "upstream", "registry", "cache"]
Role = Literal["source", "dependency", "data", "tools", "toolchain", "model"]
_UPSTREAM = frozenset({"git", "archive", "hub"})
_REGISTRY = frozenset({"debian", "pypi", "overlay", "derived", "split"})


@dataclass(frozen=True, kw_only=True)
class ToolsLock:
    """The wheels of the build's own tools: ``lock`` is a file below the recipes' folder."""

    lock: str
    sha256: str
    kind: Literal["wheelhouse"] = "wheelhouse"
    version: str = ""


@dataclass(frozen=True, kw_only=True)
class HubFiles:
    """A model's files on a hub, each with its pin."""

    hub: HubOrigin
    files: tuple[ModelFile, ...]
    kind: Literal["hub"] = "hub"

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, kw_only=True)
class LocalFiles:
    """A model's files in a folder of this machine, each with its pin."""

    folder: Path
    files: tuple[ModelFile, ...]
    kind: Literal["local"] = "local"


AnyOrigin = (
    GitOrigin
    | ArchiveOrigin
    | DebianOrigin
    | PypiOrigin
    | OverlayOrigin
    | ToolsLock
    | HubFiles
    | LocalFiles
    | PackagedModelOrigin
    | SplitModelOrigin
    | DerivedModelOrigin
)


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """An origin that may not be used, and why; ``index`` is its place in the recipe, from 0."""

    index: int
    kind: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One input: ``origins`` are those that may be used, in the recipe's order.

    ``instead`` says what is done where an input that is not required cannot be had.
    """

    name: str
    version: str = ""
    role: Role
    choice: Choice
    origins: tuple[AnyOrigin, ...]
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
) -> tuple[Wanted, ...]:
    """Return every input of a build, in the recipe's order: source, dependencies, data, tools.

    A dependency that the platform does not need is left out, and one that runs while building
    where ``host`` (by default the platform itself) is not its own. ``cross`` adds the parts of a
    cross toolchain, which are outside the choice like the tools.

    Origins keep the order of the recipe; when it comes to fetching, one that is in the cache
    already goes before one that is not.

    ``choice`` is about what gets compiled: ``upstream`` leaves git and archive, ``registry``
    leaves debian, pypi and overlay, ``cache`` and ``auto`` leave all. Data files and tools have
    one origin each, and the choice does not concern them. An overlay is left out on every
    platform that it is not made for, whatever the choice.
    """

    def compiled(name: str, version: str, role: Role, origins: tuple[AnyOrigin, ...]) -> Wanted:
        item = Wanted(name=name, version=version, role=role, choice=choice, origins=origins)
        return _allowed(item, platform, cross=cross is not None)

    def single(name: str, version: str, role: Role, origin: AnyOrigin) -> Wanted:
        return Wanted(name=name, version=version, role=role, choice=choice, origins=(origin,))

    lock = ToolsLock(lock=recipe.tools.lock, sha256=recipe.tools.lock_sha256)
    return (
        compiled("onnxruntime", recipe.version, "source", recipe.source.origins),
        *(
            replace(
                compiled(each.name, each.version, "dependency", each.origins),
                required=each.required,
                instead=_instead(each.fallback_defines),
            )
            for each in recipe.dependencies
            if platform in each.platforms and (host or platform) in each.hosts
        ),
        *(
            single(f"data for {each.into}", each.origin.release, "data", each.origin)
            for each in recipe.data
        ),
        single("build tools", "", "tools", lock),
        *(
            single(name, origin.version, "toolchain", origin)
            for name, origin in (cross_origins(cross) if cross else ())
        ),
    )


def plan_model(recipe: ModelRecipe, choice: Choice, *, home: Path) -> Wanted:
    """Return a model as an input; all of its files come from one origin.

    ``home`` is where a relative folder of this machine starts.
    """

    def placed(origin: ModelOrigin) -> AnyOrigin:
        match origin:
            case HubOrigin():
                return HubFiles(hub=origin, files=recipe.files)
            case LocalOrigin():
                return LocalFiles(
                    folder=home / Path(origin.folder).expanduser(), files=recipe.files
                )
        return origin

    origins = tuple(placed(origin) for origin in recipe.origins)
    return _allowed(Wanted(name=recipe.name, role="model", choice=choice, origins=origins), None)


def shown_kind(origin: AnyOrigin) -> str:
    """Return an origin's kind as lines about it name it."""
    return f"upstream {origin.kind}" if origin.kind in _UPSTREAM else origin.kind


def _instead(defines: Mapping[str, DefineValue]) -> str:
    if not defines:
        return "building without it"
    text = " ".join(
        f"{name}={'ON' if value is True else 'OFF' if value is False else value}"
        for name, value in defines.items()
    )
    return f"building without it ({text})"


def _allowed(item: Wanted, platform: PlatformName | None, *, cross: bool = False) -> Wanted:
    """Return an input without the origins that may not be used."""
    reasons = [_excluded(origin, platform, item.choice, cross=cross) for origin in item.origins]
    both = list(zip(item.origins, reasons, strict=True))
    return replace(
        item,
        origins=tuple(origin for origin, reason in both if not reason),
        excluded=tuple(
            Exclusion(index=index, kind=origin.kind, reason=reason)
            for index, (origin, reason) in enumerate(both)
            if reason
        ),
    )


def _excluded(
    origin: AnyOrigin, platform: PlatformName | None, choice: Choice, *, cross: bool
) -> str:
    if isinstance(origin, OverlayOrigin) and platform not in origin.platforms:
        allowed = ", ".join(origin.platforms) or "no platform"
        if platform not in origin.cross_platforms:
            return f"the overlay stands in for the original on {allowed}, not on {platform}"
        if not cross:
            return (
                f"the overlay stands in for the original on {allowed}; on {platform} only in an "
                "artefact that is built elsewhere"
            )
    if choice == "upstream" and origin.kind not in _UPSTREAM:
        return f"--origin upstream leaves out {origin.kind}"
    if choice == "registry" and origin.kind not in _REGISTRY:
        return f"--origin registry leaves out {origin.kind}"
    return ""
