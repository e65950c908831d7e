"""Read a safetensors file: a JSON header, then the tensors' bytes, little-endian.

Format: https://github.com/huggingface/safetensors#format. Only the types that encoders use.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import VerifyError

Array = np.ndarray[Any, np.dtype[Any]]

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "|u1"}
_BRAIN = "BF16"
"""The upper half of a float32, for which numpy has no type; it is read as float32, exactly."""
_HEADER_MAX = 100_000_000


class WeightsError(VerifyError):
    """A weights file that is damaged or does not fit the encoder's shape."""

    title = "weights"


def read_safetensors(path: Path) -> dict[str, Array]:
    """Map the file and return its tensors by name, read-only where they are not bfloat16.

    Raises
    ------
    WeightsError
        When the file is missing, cut short or not in this format.
    """
    hint = "Fetch the model again with `python -m build fetch-model NAME`."
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(_HEADER_MAX, size - 8):
                raise WeightsError(f"{path} is cut short or not a safetensors file.", hint=hint)
            header = json.loads(stream.read(length))
    except FileNotFoundError:
        raise WeightsError(f"There is no weights file at {path}.", hint=hint) from None
    except (struct.error, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path} is not a safetensors file: {error}.", hint=hint) from None
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + length)
    tensors: dict[str, Array] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        brain = entry["dtype"] == _BRAIN
        kind = "<u2" if brain else _TYPES.get(entry["dtype"])
        if kind is None:
            raise WeightsError(
                f"The tensor {name} in {path} has the unknown type {entry['dtype']}."
            )
        count = int(np.prod(entry["shape"], dtype=np.int64))
        if end > data.size or end - begin != count * np.dtype(kind).itemsize:
            raise WeightsError(f"The tensor {name} in {path} is cut short.", hint=hint)
        found = np.frombuffer(data[begin:end], dtype=kind).reshape(entry["shape"])
        tensors[name] = (found.astype("<u4") << 16).view("<f4") if brain else found
    return tensors


def write_safetensors(path: Path, tensors: dict[str, Array]) -> None:
    """Write tensors in the order given; used to make models for tests."""
    names = {np.dtype(code): name for name, code in _TYPES.items()}
    header: dict[str, Any] = {}
    offset = 0
    for name, array in tensors.items():
        header[name] = {
            "dtype": names[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            stream.write(np.ascontiguousarray(array).tobytes())
