"""What the whole machine did meanwhile: who else computed, what was stolen, how fast it ran.

Linux says it in ``/proc/stat`` (psutil), ``/proc/pressure/cpu`` (PSI, kernel 4.20 or newer) and
``/sys``; macOS through ``host_processor_info`` (psutil), ``pmset -g therm`` and ``pmset -g``.
What a host does not show is None and decides nothing.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

PRESSURE = Path("/proc/pressure/cpu")
CGROUPS = Path("/sys/fs/cgroup")
BUSIEST = 3
# Below these a machine has done nothing else: its own housekeeping takes a few per cent of a core.
IDLE_CORES = 0.05
IDLE_SHARE = 0.005


@dataclass(frozen=True, kw_only=True)
class Counters:
    """Counters at one moment, in seconds; ``others`` holds processor seconds by process."""

    clock: float
    busy: float
    stolen: float | None
    pressure: float | None
    throttled: float | None
    others: dict[tuple[int, str], float]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine during a measurement.

    Parameters
    ----------
    seconds : float
        How long it was watched.
    others : float
        Cores that other programs kept busy on average, without this process and its children.
    stolen : float or None
        Share of the cores' time that a hypervisor took, between 0 and 1.
    pressure : float or None
        Share of the time in which some task waited for a processor (PSI ``some``), 0 to 1.
    throttled : float or None
        Seconds in which a quota of the control group (a container's limit) kept us waiting.
    load : float
        One-minute load average at the end.
    frequency_mhz : float or None
        Clock of the first core at the end.
    busiest : tuple of str
        The other programs that took most, with their cores.
    limits : str
        What the system says of thermal limits and power saving; empty where it says nothing.
    """

    seconds: float
    others: float
    stolen: float | None
    pressure: float | None
    throttled: float | None
    load: float
    frequency_mhz: float | None
    busiest: tuple[str, ...]
    limits: str

    @property
    def alone(self) -> bool:
        """Whether nobody else used the processors, as far as the host shows it."""
        return (
            self.others < IDLE_CORES
            and (self.stolen or 0.0) < IDLE_SHARE
            and (self.throttled or 0.0) < IDLE_SHARE * self.seconds
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def read_counters() -> Counters:
    """Read every counter that this host shows."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # Linux counts a guest's time in user and nice already.
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    stolen = getattr(times, "steal", None)
    return Counters(
        clock=time.monotonic(),
        busy=total - idle - (stolen or 0.0),
        stolen=stolen,
        pressure=_pressure(),
        throttled=_throttled(),
        others=_processes(),
    )


def between(before: Counters, after: Counters) -> Machine:
    """Return what happened between two readings."""
    seconds = max(after.clock - before.clock, 1e-9)
    cores = psutil.cpu_count() or 1
    ours = _family()
    used = {
        key: value - before.others.get(key, 0.0 if key in after.others else value)
        for key, value in after.others.items()
    }
    own = sum(value for (pid, _), value in used.items() if pid in ours)
    strangers = [(value / seconds, name) for (pid, name), value in used.items() if pid not in ours]
    others = max(0.0, (after.busy - before.busy - own) / seconds)
    # Whoever ended meanwhile is in no list of processes, as the compilers that a build starts.
    strangers.append((others - sum(value for value, _ in strangers), "programs that came and went"))
    strangers.sort(reverse=True)
    return Machine(
        seconds=round(seconds, 3),
        others=round(others, 3),
        stolen=_share(before.stolen, after.stolen, seconds * cores),
        pressure=_share(before.pressure, after.pressure, seconds),
        throttled=_difference(before.throttled, after.throttled),
        load=round(psutil.getloadavg()[0], 2),
        frequency_mhz=_frequency(),
        busiest=tuple(f"{name} ({n:.2f} cores)" for n, name in strangers[:BUSIEST] if n >= 0.05),
        limits=_limits(),
    )


def stolen_share() -> Callable[[], float | None]:
    """Return a function that says what share of the cores a hypervisor took since now."""
    began, before = time.monotonic(), getattr(psutil.cpu_times(), "steal", None)

    def since() -> float | None:
        whole = max(time.monotonic() - began, 1e-9) * (psutil.cpu_count() or 1)
        return _share(before, getattr(psutil.cpu_times(), "steal", None), whole)

    return since


def others_share() -> Callable[[], float]:
    """Return a function that says what share of the cores other programs used since now."""
    before = _others()

    def since() -> float:
        cores = psutil.cpu_count() or 1
        clock, idle, ours = (b - a for a, b in zip(before, _others(), strict=True))
        # The kernel counts in ticks of 10 ms, so a short while may seem to hold less than nothing.
        return round(min(1.0, max(0.0, 1.0 - (idle + ours) / (max(clock, 1e-9) * cores))), 4)

    return since


def _others() -> tuple[float, float, float]:
    """Return the clock, the cores' idle and stolen seconds, and our processes' seconds."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "steal", 0.0)
    ours = 0.0
    for pid in _family():
        with contextlib.suppress(psutil.Error):
            used = psutil.Process(pid).cpu_times()
            ours += used.user + used.system
    return time.monotonic(), idle, ours


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else round(max(0.0, after - before), 3)


def _share(before: float | None, after: float | None, whole: float) -> float | None:
    if before is None or after is None:
        return None
    return round(min(1.0, max(0.0, (after - before) / whole)), 4)


def _pressure() -> float | None:
    """Seconds in which some task waited for a processor, since the machine started."""
    try:
        found = re.search(r"^some .*total=(\d+)", PRESSURE.read_text(encoding="ascii"), re.M)
    except OSError:
        return None
    return int(found[1]) / 1e6 if found else None


def _throttled() -> float | None:
    """Seconds of throttling of our own control group: cgroup v2 in microseconds, v1 in nano."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for folder in (CGROUPS, CGROUPS / "cpu", CGROUPS / "cpu,cpuacct"):
            try:
                text = (folder / path.lstrip("/") / "cpu.stat").read_text(encoding="ascii")
            except OSError:
                continue
            if found := re.search(r"^throttled_(usec|time) (\d+)$", text, re.M):
                return int(found[2]) / (1e6 if found[1] == "usec" else 1e9)
    return None


def _processes() -> dict[tuple[int, str], float]:
    found = {}
    for process in psutil.process_iter(["pid", "name", "cpu_times"]):
        times = process.info["cpu_times"]
        if times is not None:
            found[(process.info["pid"], process.info["name"])] = times.user + times.system
    return found


def _family() -> set[int]:
    me = psutil.Process()
    return {me.pid, *(child.pid for child in me.children(recursive=True))}


def _frequency() -> float | None:
    try:
        frequency = psutil.cpu_freq()
    except (OSError, NotImplementedError, RuntimeError):
        return None
    return round(frequency.current, 1) if frequency else None


def _limits() -> str:
    if sys.platform != "darwin":
        return ""
    said = []
    for argument in ("therm", "live"):
        try:
            done = subprocess.run(
                ["/usr/bin/pmset", "-g", argument], capture_output=True, text=True, check=False
            )
        except OSError:
            return ""  # what cannot be asked is not known, and no reason to end a measurement
        said += re.findall(r"CPU_Speed_Limit\s*=\s*\d+|lowpowermode\s+\d", done.stdout)
    return ", ".join(" ".join(each.split()) for each in said)
