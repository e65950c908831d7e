"""The JSON schemas of the recipe formats, generated from their classes."""

from __future__ import annotations

import json

from pydantic import TypeAdapter

from .format import ModelRecipe, Recipe

SCHEMAS = {
    "recipe.schema.json": (Recipe, "ortmill recipe"),
    "models/model.schema.json": (ModelRecipe, "ortmill model recipe"),
}


# A file that they stand in may be included, so that only the loader knows what is missing.
_PARTS = ("Recipe", "Source", "Tools", "Platform", "Cross", "CrossTools", "CompilerFlags")


def schema_text(name: str) -> str:
    """Return what the schema file ``name`` below ``recipes/`` must hold.

    Raises
    ------
    KeyError
        ``name`` is none of :data:`SCHEMAS`.
    """
    kind, title = SCHEMAS[name]
    schema = TypeAdapter(kind).json_schema()
    for part in (schema, *(schema["$defs"].get(each, {}) for each in _PARTS)):
        if kind is Recipe:
            part.pop("required", None)
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}
    return json.dumps(document, indent=1, sort_keys=True) + "\n"
