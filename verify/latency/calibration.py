"""A loop of fixed work in a process of its own: ``python -m verify.latency.calibration``.

Its own time changes only with the machine: a lower clock, a sibling thread on the same core, a
hypervisor that lends the processor to somebody else, a neighbour that fills the memory bus. Each
line on standard input asks for one loop; the answer is ``{"wall": ns, "processor": ns}``. One loop
hashes 4 MiB (arithmetic in the core) and copies 16 MiB (memory), some 15 ms in all.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from types import TracebackType

HASHED = bytes(4 << 20)
COPIED = bytearray(16 << 20)


def loop() -> dict[str, int]:
    """Do the fixed work once; wall and processor time in nanoseconds."""
    wall, processor = time.perf_counter_ns(), time.process_time_ns()
    hashlib.sha256(HASHED).digest()
    bytes(COPIED)
    return {
        "wall": time.perf_counter_ns() - wall,
        "processor": time.process_time_ns() - processor,
    }


class CalibrationProcess:
    """The loop in a child process; a context manager that ends it."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name if __spec__ else "verify.latency.calibration"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(env),
            text=True,
        )

    def __enter__(self) -> CalibrationProcess:
        self.time()  # the first loop pays for the pages
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def time(self) -> dict[str, int]:
        """Run the loop once; ``{}`` when the process is gone, which judges nobody."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:  # pragma: no cover - Popen was given pipes
            return {}
        try:
            stdin.write("\n")
            stdin.flush()
            answer: dict[str, int] = json.loads(stdout.readline())
        except (OSError, ValueError):
            return {}
        return answer


def main() -> int:
    """Answer each line with one loop."""
    for _ in sys.stdin:
        print(json.dumps(loop()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
