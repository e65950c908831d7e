"""Which cross build applies, what it takes, and the digests of that."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from pydantic import TypeAdapter

from ..errors import UsageError
from .format import Cross, CrossTools, DebianOrigin, OverlayOrigin, PlatformName, PypiOrigin, Recipe


@dataclass(frozen=True, kw_only=True)
class CrossBuild:
    """What a recipe says of a cross build: the tools of all of them, and the one target."""

    tools: CrossTools
    target: Cross


def find_cross(recipe: Recipe, platform: PlatformName, host: PlatformName) -> CrossBuild | None:
    """Return how a platform is built on this host: None where it is the host itself.

    Raises
    ------
    UsageError
        The recipe knows no way from here to there.
    """
    if platform == host:
        return None
    cross = recipe.platforms[platform].cross
    if cross and recipe.cross_tools and host in cross.hosts:
        return CrossBuild(tools=recipe.cross_tools, target=cross)
    others = f" or on {', '.join(cross.hosts)}" if cross else ""
    raise UsageError(
        f"this machine is {host} and the recipe knows no way to build for {platform} here",
        hint=f"build it on {platform}{others}; "
        f"`python -m build plan --platform {platform}` prints what would run there",
    )


def cross_of(recipe: Recipe, platform: PlatformName) -> CrossBuild:
    """Return how a platform is cross-built; ValueError where its recipe does not say."""
    cross = recipe.platforms[platform].cross
    if cross is None or recipe.cross_tools is None:
        raise ValueError(f"the recipe does not say how {platform} is built elsewhere")
    return CrossBuild(tools=recipe.cross_tools, target=cross)


def cross_origins(cross: CrossBuild) -> list[tuple[str, PypiOrigin | DebianOrigin | OverlayOrigin]]:
    """Return the toolchain's inputs with their names, in the order in which they are unpacked."""
    named: list[tuple[str, PypiOrigin | DebianOrigin | OverlayOrigin]] = [
        ("cross-compiler", cross.tools.compiler)
    ]
    named += [(f"cross-linker-{number}", each) for number, each in enumerate(cross.tools.linker)]
    named += [(f"cross-sysroot-{number}", each) for number, each in enumerate(cross.target.sysroot)]
    return named


def pins_digest(cross: CrossBuild, prefix: str = "cross-") -> str:
    """Return the sha256 of the pins whose name begins with ``prefix``, 64 hex digits."""
    pins = [[n, origin.sha256] for n, origin in cross_origins(cross) if n.startswith(prefix)]
    return hashlib.sha256(json.dumps(pins).encode()).hexdigest()


def cross_digest(cross: CrossBuild) -> str:
    """Return the sha256 of all that the recipe says of a cross build, 64 hex digits.

    Flags stand in the wrappers and not in CMake's arguments: without this number a changed flag
    would leave everything that was compiled as it is.
    """
    data = TypeAdapter(CrossBuild).dump_python(cross, mode="json")
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
