"""Put a recipe together from its own file and those that it includes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RecipeError

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
_JOINED = "dependencies"


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What all files of a recipe say together.

    ``parts`` are the recipe's own data, under no name, and then what each included file says, by
    its name. ``faults`` are contradictions between them.
    """

    data: Mapping[str, Any]
    parts: tuple[tuple[str, Mapping[str, Any]], ...]
    faults: tuple[str, ...] = ()

    def file_of(self, location: Sequence[Any]) -> str:
        """Return the included file in which a place stands, empty for the recipe's own."""
        if location[:1] == [_JOINED] and len(location) > 1:
            before = 0
            for name, part in self.parts:
                before += len(_rows(part))
                if location[1] < before:
                    return name
        return next((name for name, part in self.parts if _holds(part, location)), "")


def read_toml(
    path: Path, *, hint: str = "list the recipes with `python -m build recipes`"
) -> dict[str, Any]:
    """Read a file of TOML; the hint is for one that is not there.

    Raises
    ------
    RecipeError
        It cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RecipeError(
            f"cannot read the recipe {path}: {error.strerror or error}", hint=hint
        ) from error
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"{path} is no valid TOML: it is no UTF-8 text", hint="save it as UTF-8"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(
            f"{path} is no valid TOML: {error}", hint="mend the line that the message names"
        ) from error


def read_merged(path: Path, recipes: Path | None = None) -> Merged:
    """Read a recipe with the files that it includes, which are below ``recipes``.

    Tables are merged, the dependencies of all files are joined, and for everything else the
    recipe's own value wins. Two included files may not give one key two values.

    Raises
    ------
    RecipeError
        A file cannot be read, or is no TOML.
    """
    own: Mapping[str, Any] = read_toml(path)
    parts: list[tuple[str, Mapping[str, Any]]] = [("", own)]
    faults: list[str] = []
    names = own.get("include")
    # Whatever is no list of relative paths is for the format to refuse.
    for name in names if isinstance(names, list) else ():
        if not isinstance(name, str) or name.startswith("/") or ".." in Path(name).parts:
            continue
        part = read_toml((recipes or RECIPES) / name, hint="mend its name under `include`")
        if "include" in part:
            faults.append(f"include: an included file includes no other, {name} does")
        parts.append((name, part))
    shared: dict[str, Any] = {}
    for index, (name, said) in enumerate(parts[1:], start=1):
        for where, former, value in _differences(shared, said):
            first = next(n for n, each in parts[1:index] if _holds(each, where))
            faults.append(f"{'.'.join(where)}: {first} says {former!r}, {name} {value!r}")
        shared = _merge(said, shared)
    return Merged(data=_merge(own, shared), parts=tuple(parts), faults=tuple(faults))


def _rows(part: Mapping[str, Any]) -> list[Any]:
    rows = part.get(_JOINED, [])
    return rows if isinstance(rows, list) else []


def _merge(own: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(own)
    for key, value in other.items():
        mine = merged.get(key)
        if key not in merged:
            merged[key] = value
        elif isinstance(mine, dict) and isinstance(value, dict):
            merged[key] = _merge(mine, value)
        elif key == _JOINED and isinstance(mine, list) and isinstance(value, list):
            merged[key] = [*mine, *value]
    return merged


def _differences(
    one: Mapping[str, Any], two: Mapping[str, Any]
) -> list[tuple[tuple[str, ...], Any, Any]]:
    found: list[tuple[tuple[str, ...], Any, Any]] = []
    for key in one.keys() & two.keys():
        mine, value = one[key], two[key]
        if isinstance(mine, dict) and isinstance(value, dict):
            found += [((key, *where), *rest) for where, *rest in _differences(mine, value)]
        elif mine != value and key != _JOINED:
            found.append(((key,), mine, value))
    return found


def _holds(part: Any, location: Sequence[Any]) -> bool:
    for step in location:
        if step in (part if isinstance(part, dict) else _places(part)):
            part = part[step]
        elif not (isinstance(part, dict) and part.get("kind") == step):
            # A kind of origin is no key: the format's checker puts it into its paths.
            return False
    return True


def _places(part: Any) -> range:
    return range(len(part) if isinstance(part, list) else 0)
