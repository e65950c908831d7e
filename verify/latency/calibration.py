"""A loop of fixed work in a process of its own.

Its own time changes only with the machine: a lower clock, a sibling thread on the same core, a
hypervisor that lends the processor to somebody else, a neighbour that fills the memory bus. One
loop hashes 4 MiB (arithmetic in the core) and copies 16 MiB (memory), some 15 ms in all.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from ..environment.channel import Worker

_HASHED = 4 << 20
_COPIED = 16 << 20
_SECONDS = 30.0


def loops(payload: Any) -> Generator[dict[str, int], Any, None]:
    """Yield wall and processor time of one loop after another, in nanoseconds."""
    hashed, copied = bytes(_HASHED), bytearray(_COPIED)
    while True:
        wall, processor = time.perf_counter_ns(), time.process_time_ns()
        hashlib.sha256(hashed).digest()
        bytes(copied)
        yield {
            "wall": time.perf_counter_ns() - wall,
            "processor": time.process_time_ns() - processor,
        }


class CalibrationProcess(Worker):
    """The loop in a child process; a context manager that ends it."""

    def __init__(self, work: Path) -> None:
        super().__init__(Path(sys.executable), ".latency.calibration:loops", {}, work=work)

    def __enter__(self) -> CalibrationProcess:
        self.answer(_SECONDS)  # the first loop pays for the pages
        return self

    def time(self) -> dict[str, int]:
        """Run the loop once; ``{}`` when the process is gone, which judges nobody."""
        return self.ask(None, _SECONDS).value or {}
