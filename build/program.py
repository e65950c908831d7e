"""How the build is called and where its recipes are, in a checkout and installed."""

from __future__ import annotations

import re
from pathlib import Path

# A checkout, or the installed package `ortmill`; only the latter is a package.
_HOLDER = Path(__file__).resolve().parents[1]
INSTALLED = (_HOLDER / "__init__.py").exists()


def as_called(text: str) -> str:
    """Return a text with the commands of a checkout in it as the reader has to type them."""
    if not INSTALLED:
        return text
    text = text.replace("nox -s fetch", "ortmill build fetch")
    return re.sub(r"python -m (build|verify)(?![\w.])", r"ortmill \1", text)


def working_folder() -> Path:
    """Return the folder below which ``wheels/`` and ``.work/`` are: the checkout, or this one."""
    return Path.cwd() if INSTALLED else _HOLDER


def recipes_folder(root: Path) -> Path:
    """Return the recipes of the checkout ``root``; installed and elsewhere, those beside this."""
    own = root / "recipes"
    if INSTALLED and not (own / "recipe.schema.json").exists():
        return _HOLDER / "recipes"
    return own
