"""Whether a wheel is what its name says: machine, glibc, libraries, read from the files."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from build.binary.elf import ELF_MAGIC, inspect_elf
from build.binary.rules import elf_weaknesses
from build.errors import WheelError
from tests.emulation.wheels import ArmWheel
from verify.elf.library import read_library
from verify.elf.promises import newest
from verify.policy.result import CheckResult

#: manylinux names of the time before PEP 600, with the glibc that each stands for.
_LEGACY = {"manylinux2014": (2, 17), "manylinux2010": (2, 12), "manylinux1": (2, 5)}
_PERENNIAL = re.compile(r"manylinux_(\d+)_(\d+)_\w+")
_CONSISTENT = re.compile(r'following\s+platform\s+tag:\s+"([^"]+)"')
_SYSTEM = re.compile(
    r"(libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s|ld-linux-aarch64)\.so(\.\d+)?"
)
CHECK = "wheel.honest"


@dataclass(frozen=True, kw_only=True)
class Binary:
    """One ELF file of a wheel: ``glibc`` and ``libraries`` are what it asks of the system."""

    name: str
    machine: str
    bits: int
    glibc: str
    libraries: tuple[str, ...]
    weaknesses: tuple[str, ...]


def glibc_of(platform: str) -> tuple[int, int] | None:
    """Return the glibc that a platform tag promises to do with; None where it promises none."""
    if match := _PERENNIAL.fullmatch(platform):
        return int(match[1]), int(match[2])
    return _LEGACY.get(platform.split("_", maxsplit=1)[0])


def read_binaries(wheel: ArmWheel) -> list[Binary]:
    """Return every ELF file of a wheel.

    Raises
    ------
    WheelError
        One is damaged.
    """
    found = []
    with zipfile.ZipFile(wheel.path) as archive:
        own = {name.rsplit("/", 1)[-1] for name in archive.namelist()}
        for name in archive.namelist():
            data = archive.read(name)
            if not data.startswith(ELF_MAGIC):
                continue
            facts, library = inspect_elf(data), read_library(data, name)
            try:
                elf = ELFFile(BytesIO(data))
            except ELFError as error:
                raise WheelError(f"{name} is no whole ELF file: {error}") from error
            found.append(
                Binary(
                    name=name,
                    machine=elf.header["e_machine"],
                    bits=elf.elfclass,
                    glibc=".".join(map(str, newest([library], "GLIBC"))),
                    libraries=tuple(item for item in facts.needed if item not in own),
                    weaknesses=tuple(elf_weaknesses(facts)),
                )
            )
    return found


def judge_binaries(
    wheel: ArmWheel, binaries: Sequence[Binary], auditwheel: str | None
) -> CheckResult:
    """Turn a wheel's binaries into a check's result.

    Parameters
    ----------
    wheel : ArmWheel
    binaries : sequence of Binary
    auditwheel : str or None
        The tag that auditwheel finds it consistent with; None where it could not say.
    """
    promised = [pair for tag in wheel.platforms if (pair := glibc_of(tag))]
    wrong = [] if binaries else ["it holds no ELF file"]
    for item in binaries:
        if item.machine != "EM_AARCH64" or item.bits != 64:
            wrong.append(f"{item.name} is for {item.machine}, {item.bits} bits")
        if promised and item.glibc and _version(item.glibc) > min(promised):
            lowest = ".".join(map(str, min(promised)))
            wrong.append(f"{item.name} asks for glibc {item.glibc}, its tag promises {lowest}")
        foreign = [name for name in item.libraries if not _SYSTEM.fullmatch(name)]
        if foreign:
            wrong.append(f"{item.name} needs {', '.join(foreign)}, which no system must have")
    audited = glibc_of(auditwheel) if auditwheel else None
    if promised and audited and audited > min(promised):
        wrong.append(f"auditwheel finds it consistent with {auditwheel} only")
    newest = max((item.glibc for item in binaries if item.glibc), key=_version, default="none")
    weak = [f"{item.name}: {text}" for item in binaries for text in item.weaknesses]
    tag = " and ".join(wheel.platforms)
    told = f"{len(binaries)} ELF files for AArch64, glibc {newest} at most, tag {tag}"
    if not promised:
        told += "; the tag promises nothing about glibc"
    told += f"; auditwheel: {auditwheel or 'could not say'}"
    return CheckResult(
        id=CHECK,
        status="failed" if wrong else "passed",
        summary="; ".join(wrong[:3]) if wrong else told,
        evidence={
            "binaries": [{**vars(item)} for item in binaries],
            "auditwheel": auditwheel,
            "weaknesses": weak,
            "wrong": wrong,
        },
        hint="Repair the wheel with auditwheel, or give it the tag that it can keep."
        if wrong
        else "",
    )


def ask_auditwheel(wheel: ArmWheel) -> str | None:
    """Return the platform tag that auditwheel finds a wheel consistent with, or None."""
    done = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", str(wheel.path)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    match = _CONSISTENT.search(done.stdout)
    return match[1] if done.returncode == 0 and match else None


def check_honesty(wheel: ArmWheel) -> CheckResult:
    """Read a wheel's binaries and judge them."""
    try:
        binaries = read_binaries(wheel)
    except WheelError as error:
        return CheckResult(id=CHECK, status="failed", summary=error.problem, hint=error.hint)
    return judge_binaries(wheel, binaries, ask_auditwheel(wheel))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
