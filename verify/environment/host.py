"""What this machine is: facts for the report, and a fingerprint for comparing runs."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from ..hardware import fingerprint, hardware

_PACKAGES = ("numpy", "scipy", "onnx", "tokenizers", "coremltools", "psutil")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def describe() -> dict[str, Any]:
    """Return the ``host`` part of verify.json; the fingerprint is that of the hardware."""
    stable = hardware()
    return {
        "fingerprint": fingerprint(stable),
        "kind": stable["kind"],
        "cpu": stable["cpu"],
        "cores": stable["cores"],
        "memory_bytes": int(psutil.virtual_memory().total),
        "governor": _governor(),
        "load": [round(value, 2) for value in psutil.getloadavg()],
        "os": stable["os"],
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _governor() -> str | None:
    try:
        return _GOVERNOR.read_text(encoding="ascii").strip()
    except OSError:
        return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
