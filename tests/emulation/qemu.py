"""How an emulated process is started: the processor it sees, its argv and its environment.

Options as QEMU's "User mode emulation" page documents them (7.2): ``-L`` names the root that
absolute paths are looked up in first, ``-cpu`` the processor, ``-d in_asm`` writes every piece of
code that is translated, once, to the file of ``-D``.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.emulation.errors import EmulationError
from tests.emulation.root import Emulator

REPOSITORY = Path(__file__).resolve().parents[2]
_POLL_SECONDS = 0.05
_ASLEEP = 20


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A processor to emulate.

    Parameters
    ----------
    name : str
    cpu : str
        For QEMU's ``-cpu``.
    meaning : str
        Which instructions it has, in words.
    instructions : tuple of str
        Families of :mod:`tests.emulation.instructions` that integer products must reach on it:
        the proof that the kernels for this processor are in the wheel and are the ones that ran.
    """

    name: str
    cpu: str
    meaning: str
    instructions: tuple[str, ...]


#: ONNX Runtime picks its kernels by these features: core/common/cpuid_info.cc and
#: core/mlas/lib/platform.cpp.
PROFILES = (
    Profile(
        name="dotprod",
        cpu="cortex-a76",
        meaning="Armv8.2: dot products and fp16 arithmetic, no i8mm, no bf16, as on Apple's M1",
        instructions=("sdot", "udot"),
    ),
    Profile(
        name="i8mm",
        # SVE and SME off: no Apple processor before the M4 has either, and 1.21.0 uses neither.
        cpu="max,sve=off,sme=off,pauth-impdef=on",
        meaning="Armv8.6 and later: integer matrix products and bf16 too, as on Apple's M2",
        instructions=("smmla", "ummla"),
    ),
)
#: Reported and never judged: the official 1.21.0 wheel ends with an illegal instruction here.
BASELINE = Profile(
    name="armv8.0",
    cpu="cortex-a57",
    meaning="Armv8.0: no dot products, no fp16 arithmetic",
    instructions=(),
)


def command(
    emulator: Emulator, profile: Profile, arguments: Sequence[str], *, trace: Path | None = None
) -> list[str]:
    """Return the argv that runs the emulated Python.

    Parameters
    ----------
    emulator : Emulator
    profile : Profile
    arguments : sequence of str
        For Python.
    trace : Path, optional
        Where to write the translated code.
    """
    tracing = ["-d", "in_asm", "-D", str(trace)] if trace else []
    return [
        str(emulator.qemu),
        *("-L", str(emulator.root)),
        *("-cpu", profile.cpu),
        *tracing,
        str(emulator.python),
        *arguments,
    ]


def environment(*paths: Path) -> dict[str, str]:
    """Return the variables of an emulated process; nothing of this machine's leaks in.

    Parameters
    ----------
    *paths : Path
        Where its Python looks for modules.
    """
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": "/nonexistent",
        "LANG": "C.UTF-8",
        "PYTHONPATH": ":".join(map(str, paths)),
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONHASHSEED": "0",
    }


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process ended: ``how`` is empty for a good end, else a signal, a code or a time-out."""

    how: str
    output: str
    seconds: float

    @property
    def tail(self) -> str:
        """The last lines that it printed."""
        return " | ".join(line.strip() for line in self.output.strip().splitlines()[-6:])


def how_it_ended(code: int) -> str:
    """Return an exit code in words; the emulator ends itself with its guest's signal."""
    if code == 0:
        return ""
    names = {-4: "an illegal instruction", -6: "abort", -7: "a bus error", -11: "a bad access"}
    if code < 0:
        return names.get(code, f"signal {-code}")
    return f"exit code {code}"


def run(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    log: Path,
    still: Callable[[], object],
    patience: float,
    line: Callable[[str], None] | None = None,
    cancel: threading.Event | None = None,
) -> Ended:
    """Run a process to its end, its output in a log.

    Parameters
    ----------
    argv, env
    log : Path
        Gets standard output and error.
    still : callable
        Anything that changes while the process makes progress.
    patience : float
        Seconds without progress after which it is ended: seconds of the process's own time on a
        processor, since the machine may be busy with others; by the clock, twenty times as many.
    line : callable, optional
        Called with each whole line of the log as it comes.
    cancel : threading.Event, optional
        Once set, the process is ended.

    Raises
    ------
    EmulationError
        It was cancelled.
    """
    began = time.monotonic()
    told = 0
    how = ""
    with log.open("wb") as stream:
        child = subprocess.Popen(
            list(argv), env=dict(env), stdout=stream, stderr=subprocess.STDOUT, cwd=log.parent
        )
    try:
        mark, since, used = still(), time.monotonic(), 0.0
        ended = False
        while not ended and not how:
            ended = child.poll() is not None
            if cancel is not None and cancel.is_set():
                raise EmulationError("the emulation was interrupted")
            if line:
                lines = log.read_bytes().decode("utf-8", "replace").split("\n")[:-1]
                for text in lines[told:]:
                    line(text)
                told = len(lines)
            if (now := still()) != mark:
                mark, since, used = now, time.monotonic(), processor_time(child.pid)
            elif processor_time(child.pid) - used > patience:
                how = f"no progress in {patience:.0f} s of its own time"
            elif time.monotonic() - since > _ASLEEP * patience:
                how = f"no progress in {_ASLEEP * patience:.0f} s"
            if not ended:
                time.sleep(_POLL_SECONDS)
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
    text = log.read_text(encoding="utf-8", errors="replace")
    if ended:
        how = how_it_ended(child.returncode)
    return Ended(how=how, output=text, seconds=time.monotonic() - began)


def processor_time(process: int) -> float:
    """Return the seconds that a process has been on a processor; 0 when it is gone."""
    try:
        times = psutil.Process(process).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
