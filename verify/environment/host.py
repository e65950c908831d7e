"""What this machine is: facts for the report, and a fingerprint for comparing runs."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from ..policy.limits import host_kind

_PACKAGES = ("numpy", "scipy", "onnx", "tokenizers", "coremltools", "psutil")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def describe() -> dict[str, Any]:
    """Return the ``host`` part of verify.json.

    The fingerprint is a sha256 over kind, CPU, cores, memory (in GiB) and OS: what decides times
    and does not change between two runs on one machine.
    """
    memory = int(psutil.virtual_memory().total)
    stable = {
        "kind": host_kind(),
        "cpu": _cpu(),
        "cores": len(psutil.Process().cpu_affinity())
        if hasattr(psutil.Process, "cpu_affinity")
        else os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "os": _os(),
    }
    return {
        "fingerprint": hashlib.sha256(json.dumps(stable, sort_keys=True).encode()).hexdigest(),
        "kind": stable["kind"],
        "cpu": stable["cpu"],
        "cores": stable["cores"],
        "memory_bytes": memory,
        "governor": _governor(),
        "load": [round(value, 2) for value in psutil.getloadavg()],
        "os": stable["os"],
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _cpu() -> str:
    if sys.platform == "darwin":
        words = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False)
        except OSError:
            return platform.machine()
        return done.stdout.strip() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _os() -> str:
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return f"{platform.system()} {platform.release()}"


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
