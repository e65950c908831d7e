"""The schema of ``wheels/manifest.json``, from its classes."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from build.package.manifest import Manifest


def schema() -> dict[str, Any]:
    """Return the JSON schema (2020-12) of the manifest."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **TypeAdapter(Manifest).json_schema(),
        "title": "ortmill build manifest",
    }


def schema_text() -> str:
    """Return what ``wheels/manifest.schema.json`` must hold."""
    return json.dumps(schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
