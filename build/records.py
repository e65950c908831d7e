"""What a finished stage leaves behind: the digest of its inputs, its outputs, its duration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .system.files import write_whole


@dataclass(frozen=True, kw_only=True)
class Record:
    """A finished stage.

    ``inputs`` is :func:`inputs_digest` of everything that decides the stage's outputs;
    ``outputs`` are JSON values that later stages need; ``seconds`` is wall time.
    """

    stage: str
    inputs: str
    outputs: Mapping[str, Any]
    seconds: float


def inputs_digest(**values: Any) -> str:
    """Return the sha256 of JSON values, whatever the order of their keys."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def read_record(folder: Path, stage: str) -> Record | None:
    """Return a stage's record, or None where there is none that can be read."""
    try:
        return Record(**json.loads((folder / f"{stage}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_record(folder: Path, record: Record) -> None:
    """Write a record whole or not at all."""
    text = json.dumps(asdict(record), indent=1, default=str) + "\n"
    write_whole(folder / f"{record.stage}.json", text)


def drop_record(folder: Path, stage: str) -> None:
    """Forget a stage, before its outputs are touched."""
    (folder / f"{stage}.json").unlink(missing_ok=True)
