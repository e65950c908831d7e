"""Load TOML or JSON data into frozen dataclasses, strictly and with every mistake reported at once.

Only the host side loads files, so only here is pydantic needed; the dataclasses themselves are
plain and can be rebuilt in an environment that holds nothing but the wheel and numpy.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..errors import PolicyError

T = TypeVar("T")


def read_toml(path: Path, *, what: str) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    PolicyError
        When the file is missing, is not UTF-8 or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise PolicyError(f"There is no {what} at {path}.", hint="Check the path.") from None
    except OSError as error:
        raise PolicyError(f"The {what} {path} cannot be read: {error}.") from None
    except UnicodeDecodeError:
        raise PolicyError(
            f"The {what} {path} is not valid TOML: it is no UTF-8 text.", hint="Save it as UTF-8."
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(
            f"The {what} {path} is not valid TOML: {error}.", hint="Mend the line named above."
        ) from None


def load(cls: type[T], data: Mapping[str, Any], *, where: str) -> T:
    """Build ``cls`` from plain data; unknown keys and wrong types are errors.

    Numeric ranges are in the fields' metadata as ``min`` and ``max`` (both inclusive).

    Raises
    ------
    PolicyError
        One error that lists every problem with its path in the file and, for a misspelt key, the
        nearest right one.
    """
    from pydantic import TypeAdapter, ValidationError

    problems: list[str] = []
    value: T | None = None
    try:
        value = TypeAdapter(cls).validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        for item in error.errors(include_url=False, include_context=False):
            problems.append(_explain(cls, item["loc"], item["type"], item["msg"]))
    else:
        problems.extend(_out_of_range(value, ()))
    if problems or value is None:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        count = len(problems)
        noun = "mistake" if count == 1 else "mistakes"
        raise PolicyError(f"{where} has {count} {noun}:\n{listed}", hint="Mend them and run again.")
    return value


def nearest(word: str, words: Sequence[str]) -> str:
    """Return `` (did you mean "x"?)``, or nothing when no word is near."""
    found = difflib.get_close_matches(word, words, n=1, cutoff=0.7)
    return f' (did you mean "{found[0]}"?)' if found else ""


def _explain(cls: Any, loc: tuple[int | str, ...], kind: str, message: str) -> str:
    path = ".".join(str(part) for part in loc) or "the file"
    if kind in {"unexpected_keyword_argument", "extra_forbidden"}:
        names = _fields_at(cls, loc[:-1])
        return f'{path}: unknown key "{loc[-1]}"{nearest(str(loc[-1]), names)}'
    if kind in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return f"{path}: missing"
    return f"{path}: {message[:1].lower()}{message[1:]}"


def _fields_at(cls: Any, loc: tuple[int | str, ...]) -> list[str]:
    for part in loc:
        if not dataclasses.is_dataclass(cls):
            return []
        if isinstance(part, int):
            continue
        cls = typing.get_type_hints(cls).get(part)
        arguments = typing.get_args(cls)
        if arguments and dataclasses.is_dataclass(arguments[0]):
            cls = arguments[0]
    return [item.name for item in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []


def _out_of_range(value: Any, path: tuple[str, ...]) -> list[str]:
    problems = []
    for item in dataclasses.fields(value):
        content = getattr(value, item.name)
        here = (*path, item.name)
        if dataclasses.is_dataclass(content):
            problems.extend(_out_of_range(content, here))
            continue
        low, high = item.metadata.get("min"), item.metadata.get("max")
        if isinstance(content, (int, float)) and (
            (low is not None and content < low) or (high is not None and content > high)
        ):
            allowed = f"at least {low}" if high is None else f"from {low} to {high}"
            problems.append(f"{'.'.join(here)}: {content} is out of range, it must be {allowed}")
    return problems
