"""Ask for everything that a recipe pins once more, past the cache, and say what no longer holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

from ..errors import FetchError, IntegrityError
from ..fetch.context import FetchContext
from ..fetch.fetched import locator
from ..fetch.http import TransferError
from ..fetch.origins.kinds import obtain
from ..fetch.wanted import AnyOrigin, Choice, Wanted, plan_fetch
from ..recipe.cross import find_cross
from ..recipe.format import Recipe
from .document import build_pairs

_WORKERS = 4
# What a later attempt will not mend.
_GONE = re.compile(r"answered (404|410)|is in no index|not our ref|no such file")


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A pin that does not hold: other bytes, nothing there, or nobody to ask."""

    name: str
    locator: str
    how: Literal["changed", "gone", "not asked"]
    problem: str


def pinned(recipe: Recipe, choice: Choice) -> Iterator[tuple[Wanted, AnyOrigin]]:
    """Yield every origin of a recipe once, for all of its platforms and build machines."""
    items = [
        item
        for host, target in build_pairs(recipe)
        for item in plan_fetch(
            recipe, target, choice, host=host, cross=find_cross(recipe, target, host)
        )
    ]
    for name, platform in recipe.platforms.items():
        if platform.official:
            label = f"official wheel, {name}"
            origins = (platform.official,)
            items.append(Wanted(name=label, role="data", choice=choice, origins=origins))
    seen = set[str]()
    for item in items:
        for origin in item.origins:
            if (place := locator(origin)) not in seen:
                seen.add(place)
                yield item, origin


def broken_pins(recipe: Recipe, choice: Choice, context: FetchContext) -> tuple[int, list[Broken]]:
    """Return how many pins were asked for, and those that do not hold.

    ``upstream`` asks for what git and plain addresses have of the sources, ``registry`` for the
    rest. The context's cache must be empty, for what is in a cache is not asked for.
    """
    pins = list(pinned(recipe, choice))
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="pins") as pool:
        found = pool.map(lambda pin: _ask(pin[0], pin[1], context), pins)
    return len(pins), [each for each in found if each]


def _ask(item: Wanted, origin: AnyOrigin, context: FetchContext) -> Broken | None:
    broken = Broken(name=item.name, locator=locator(origin), how="changed", problem="")
    try:
        obtain(item, origin, context)
    except IntegrityError as error:
        return replace(broken, problem=error.problem)
    except FetchError as error:
        brief = error.brief if isinstance(error, TransferError) else error.problem
        how: Literal["gone", "not asked"] = "gone" if _GONE.search(brief) else "not asked"
        return replace(broken, how=how, problem=error.problem)
    return None
