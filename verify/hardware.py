"""What decides times on this machine and does not change between two runs, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from .policy.limits import host_kind


def hardware() -> dict[str, Any]:
    """Return kind, CPU, cores that this process may use, memory (GiB) and OS."""
    return {
        "kind": host_kind(),
        "cpu": _cpu(),
        "cores": len(psutil.Process().cpu_affinity())
        if hasattr(psutil.Process, "cpu_affinity")
        else os.cpu_count(),
        "memory_gib": round(int(psutil.virtual_memory().total) / 2**30),
        "os": _os(),
    }


def fingerprint(facts: Mapping[str, Any]) -> str:
    """Return the sha256 over what :func:`hardware` says."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


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
