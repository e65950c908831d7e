"""Small surfaces for the tests of ``tests.surface``."""

from __future__ import annotations

from dataclasses import replace

from tests.surface.model import Declaration, Surface

HEADER = "Foundation.framework/Headers/NSThing.h"


def declaration(kind: str, member: str, **more: object) -> Declaration:
    """Return a declaration that is in order; a member is named by its owner and itself."""
    owner = str(more.get("owner", ""))
    page = ["Foundation", *([owner] if owner else []), member]
    shown = f"-[{owner} {member}]" if kind == "method" else member
    selectors = (member,) if kind in ("method", "property") else ()
    made = Declaration(
        kind=kind,
        name=shown,
        member=member,
        file=HEADER,
        line=3,
        stated="10.0",
        available="10.0",
        documentation=" > ".join(page),
        selectors=selectors,
    )
    return replace(made, **more)


def surface(*declarations: Declaration) -> Surface:
    """Return a surface whose runtime knows alloc and init."""
    return Surface(declarations=declarations, runtime_selectors=frozenset({"alloc", "init"}))
