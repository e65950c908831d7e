"""Made files that are kept with a record beside them: what they were made of, and their hash."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import replacing, write_text
from .model_recipe import file_sha256

if TYPE_CHECKING:
    import onnx

HASH = "graph_sha256"


def keep_graph(model: onnx.ModelProto, path: Path, record: Mapping[str, Any]) -> None:
    """Write a graph, and beside it its record with the graph's hash and number of nodes."""
    data = model.SerializeToString(deterministic=True)
    keep_file(path, {**record, "nodes": len(model.graph.node)}, lambda part: part.write_bytes(data))


def keep_file(
    path: Path, record: Mapping[str, Any], write: Callable[[Path], object], *, hash: str = HASH
) -> None:
    """Write a file, and beside it (``<stem>.json``) its record, which names the file's hash."""
    with replacing(path) as partial:
        write(partial)
        digest = file_sha256(partial)
    text = json.dumps({**record, hash: digest}, indent=2, sort_keys=True) + "\n"
    write_text(path.with_suffix(".json"), text)


def record_of(path: Path) -> dict[str, Any]:
    """Return the record beside a file; empty where there is none that can be read."""
    try:
        found = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def is_built(path: Path, record: Mapping[str, Any], *, hash: str = HASH) -> bool:
    """Return whether the file is there as it was written, and its record says this."""
    found = record_of(path)
    same = all(found.get(key) == value for key, value in record.items())
    return bool(found) and same and path.is_file() and found.get(hash) == file_sha256(path)
