"""What the machine did to this process while a sample was taken.

A wall clock cannot tell a slow wheel from a process that had to wait for a processor. Linux knows
how long each thread stood in a run queue (the second number of ``/proc/self/task/*/schedstat``,
nanoseconds, :doc:`kernel documentation, "scheduler/sched-stats"`); every Unix counts involuntary
context switches; and a process that was stopped notices when it is continued (SIGCONT). All of it
is read outside of the timed region.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

FIELDS = ("processor", "delay", "switches", "stops")
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Counters at one moment: nanoseconds, and run-queue nanoseconds by thread."""

    processor: int
    waited: dict[str, int]
    switches: int
    stops: int


class Meter:
    """Reads the counters before and after a sample; made in the main thread, for its signals.

    Parameters
    ----------
    tasks : Path
        Where the kernel lists the threads of this process; where it does not exist (on macOS),
        ``delay`` is always None.
    """

    def __init__(self, tasks: Path = Path("/proc/self/task")) -> None:
        self._tasks = tasks
        self._stops = 0
        self._kept: dict[str, list[Any]] = {name: [] for name in FIELDS}
        signal.signal(signal.SIGCONT, self._continued)

    def _continued(self, number: int, frame: FrameType | None) -> None:
        self._stops += 1

    def read(self) -> Reading:
        """Return the counters of this moment."""
        return Reading(
            processor=time.process_time_ns(),
            waited=self._waited(),
            switches=resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw,
            stops=self._stops,
        )

    def keep(self, before: Reading) -> None:
        """Keep what happened since ``before``, for :meth:`take`.

        ``processor`` is the processor time of all threads (ns), ``delay`` the longest time that
        one thread stood in a run queue (ns, None where the system does not say), ``switches`` the
        involuntary context switches, ``stops`` how often the process was stopped and continued.
        """
        after = self.read()
        self._kept["processor"].append(after.processor - before.processor)
        self._kept["delay"].append(_longest(before.waited, after.waited))
        self._kept["switches"].append(after.switches - before.switches)
        self._kept["stops"].append(after.stops - before.stops)

    def take(self) -> dict[str, list[Any]]:
        """Return what was kept since the last time, a list for each of ``FIELDS``."""
        kept, self._kept = self._kept, {name: [] for name in FIELDS}
        return kept

    def _waited(self) -> dict[str, int]:
        waited = {}
        try:
            for thread in os.listdir(self._tasks):
                text = (self._tasks / thread / "schedstat").read_bytes()
                waited[thread] = int(text.split()[1])
        except (OSError, IndexError, ValueError):
            return {}
        return waited


def _longest(before: dict[str, int], after: dict[str, int]) -> int | None:
    if not after:
        return None
    # A thread that is new has waited only since it exists.
    return max(value - before.get(thread, 0) for thread, value in after.items())


def peak_mib() -> float:
    """Return the largest resident set of this process so far, in MiB.

    Linux has it since the program was started; its ``ru_maxrss`` also counts the parent, whose
    memory a child shares until it starts its program.
    """
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", _STATUS.read_text("utf-8"), re.MULTILINE)
    except OSError:
        found = None
    if found is not None:
        return int(found[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS, else KiB
    return peak / (2**20 if sys.platform == "darwin" else 1024)
