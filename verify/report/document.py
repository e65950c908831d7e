"""Read and write verify.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import VerifyError
from ..files import write_text


def write(document: Mapping[str, Any], path: Path) -> None:
    """Write the document as JSON."""
    write_text(path, dumps(document) + "\n")


def dumps(document: Mapping[str, Any]) -> str:
    """Return the document as JSON text; NaN is an error, for JSON has none."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)


def read(path: Path) -> dict[str, Any]:
    """Read a document.

    Raises
    ------
    VerifyError
        When the file is missing, is not JSON or not a verify.json of schema 1.
    """
    hint = "Give the file that `python -m verify run` wrote to .work/reports/."
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise VerifyError(f"There is no report at {path}.", hint=hint) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise VerifyError(f"{path} cannot be read: {error}.", hint=hint) from None
    whole = isinstance(document, dict) and {"checks", "verdict", "policy"} <= set(document)
    if not whole or document.get("schema") != 1:
        raise VerifyError(f"{path} is not a verify.json of schema 1.", hint=hint)
    return dict(document)
