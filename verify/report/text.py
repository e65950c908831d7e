"""Numbers and values as a person reads them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

MISSING = "\N{EN DASH}"
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_BYTE_STEP = 1024.0
_GROUPED_FROM = 10_000
_PLAIN_FROM = 1e-3
_NEAR_ONE = 0.99
_MINUS = "\N{MINUS SIGN}"
_TIMES = "\N{MULTIPLICATION SIGN}"
_BLOCK = 3000


def is_number(value: object) -> TypeGuard[float]:
    """Whether a JSON value is a finite number (a boolean is not one)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def objects(value: object) -> tuple[Mapping[str, Any], ...]:
    """Return the objects of a list in the evidence; anything else gives an empty tuple."""
    if not isinstance(value, list):
        return ()
    return tuple(entry for entry in value if isinstance(entry, Mapping))


def mapping(value: object) -> Mapping[str, Any]:
    """Return an object in the evidence; anything else gives an empty one."""
    return value if isinstance(value, Mapping) else {}


def number(value: float) -> str:
    """Write a number with as many digits as matter, NaN and infinities as words.

    A cosine close to one keeps nine decimals: ``0.9999998`` must never read as ``1``. Other ones
    are ``12.4``, ``12 400``, or ``1.2`` times a power of ten.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "not a number" if math.isnan(value) else ("∞" if value > 0 else f"{_MINUS}∞")
    if float(value).is_integer() and abs(value) < 1e15:
        whole = int(value)
        text = f"{whole:,}".replace(",", "\u202f") if abs(whole) >= _GROUPED_FROM else str(whole)
        return text.replace("-", _MINUS)
    size = abs(value)
    if _NEAR_ONE <= value < 1:
        text = f"{value:.9f}".rstrip("0").rstrip(".")
        # Nine decimals may still round up to one; then the distance is what matters.
        return text if float(text) < 1 else f"1 {_MINUS} {number(1 - size)}"
    if size < _PLAIN_FROM:
        mantissa, exponent = f"{value:.2e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".").replace("-", _MINUS)
        return f"{mantissa} {_TIMES} 10{str(int(exponent)).translate(SUPERSCRIPT)}"
    if size >= _GROUPED_FROM:
        return f"{value:,.0f}".replace(",", "\u202f").replace("-", _MINUS)
    return f"{value:.4g}".replace("-", _MINUS)


def value_text(value: Any, unit: str = "", *, room: int = 400) -> str:
    """Write any JSON value on one line, cut to ``room`` characters."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, int | float):
        text = number(value)
    elif isinstance(value, str):
        text = value
    elif isinstance(value, Mapping):
        text = ", ".join(f"{key} {value_text(item)}" for key, item in value.items()) or "nothing"
    elif isinstance(value, Sequence):
        text = ", ".join(value_text(item) for item in value) or "none"
    else:
        text = str(value)
    if len(text) > room:
        text = text[: room - 1].rstrip() + "…"
    if value == 1 and len(unit) > len("ms") and unit.endswith("s"):
        unit = unit[:-1]  # "1 partition", but "1 ms"
    return f"{text} {unit}" if unit else text


def milliseconds(value: float | None) -> str:
    """Write a latency in milliseconds with three significant digits, without the unit."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def seconds_text(value: Any) -> str:
    """Write a duration: ``0.4 s``, ``12 s``, ``1 min 33 s``."""
    if not is_number(value):
        return MISSING
    if value < 10:
        return f"{value:.1f} s"
    whole = round(float(value))
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def bytes_text(value: Any) -> str:
    """Write a size in binary units: ``20.4 MiB``."""
    if not is_number(value):
        return MISSING
    size, units = float(value), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while size >= _BYTE_STEP and len(units) > 1:
        size, units = size / _BYTE_STEP, units[1:]
    return f"{size:.0f} bytes" if units[0] == "bytes" else f"{size:.1f} {units[0]}"


def moment(value: Any) -> str:
    """Write an ISO 8601 time to the minute (``2025-03-04 09:30 UTC``); other text stays as is."""
    text = str(value) if value else ""
    if len(text) >= 16 and text[10:11] == "T" and text[4] == "-":
        zone = " UTC" if text.endswith(("Z", "+00:00")) else text[19:]
        return f"{text[:10]} {text[11:16]}{zone}"
    return text or MISSING


def pretty(value: Any) -> str:
    """Write a text, or a nested JSON value over several lines, as a block that fits a page."""
    block = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    text: str = value if isinstance(value, str) else block
    return text if len(text) <= _BLOCK else text[:_BLOCK].rstrip() + "\n… (whole in verify.json)"
