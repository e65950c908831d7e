"""How the verification is called and where recipes are, in a checkout and installed."""

from __future__ import annotations

import re
from pathlib import Path

# A checkout, or the installed package `ortmill`; only the latter is a package.
_HOLDER = Path(__file__).resolve().parents[1]
_INSTALLED = (_HOLDER / "__init__.py").exists()
_SESSIONS = {"build": "build run", "fetch": "build fetch-model", "verify": "verify run"}


def as_called(text: str) -> str:
    """Return a text with the commands of a checkout in it as the reader has to type them."""
    if not _INSTALLED:
        return text
    for session, command in _SESSIONS.items():
        text = text.replace(f"nox -s {session}", f"ortmill {command}")
    return re.sub(r"python -m (build|verify)(?![\w.])", r"ortmill \1", text)


def recipes_folder() -> Path:
    """Return the recipes: those of a checkout, or those that are installed beside this package."""
    here = Path.cwd() / "recipes"
    if _INSTALLED and (here / "recipe.schema.json").exists():
        return here
    return _HOLDER / "recipes"
