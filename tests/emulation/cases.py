"""Run differential cases under the emulator, and go on after a case that ends the process.

The cases, the worker inside and the comparison are the verification's own. Its runner cannot be
used: it starts a child from inside, and an emulated process cannot start another one where the
kernel was not told about foreign programs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from tests.emulation.errors import EmulationError
from tests.emulation.kernels import kernel_cases
from tests.emulation.qemu import REPOSITORY, Profile, command, environment, run
from tests.emulation.root import Emulator
from verify.differential.drive import all_cases
from verify.differential.store import (
    Results,
    blob_file,
    read_cases,
    read_journal,
    read_results,
    record_crash,
    write_cases,
)

Say = Callable[[str], None]
#: One thread, every optimisation: an emulator makes threads slowly, and each case would make its
#: own. The embeddings run with as many threads as the machine has.
CONFIGURATION = "single"
_PATIENCE = 120.0
_MAX_CRASHES = 50
_SAY_EVERY = 1500


def make_cases(archive: Path, into: Path) -> int:
    """Write the whole case set: the verification's, and the exact products."""
    return write_cases(chain(all_cases(archive), kernel_cases()), into)


def make_kernel_cases(into: Path) -> int:
    """Write the exact products alone: what the instructions are traced over."""
    return write_cases(kernel_cases(), into)


def run_cases(
    emulator: Emulator,
    profile: Profile,
    *,
    site: tuple[Path, ...],
    cases: Path,
    journal: Path,
    label: str,
    say: Say,
    trace: Path | None = None,
    cancel: threading.Event | None = None,
) -> Results:
    """Run a case set with one wheel on one processor.

    Parameters
    ----------
    emulator, profile
    site : tuple of Path
        Folders that hold the wheel and what it needs.
    cases : Path
    journal : Path
        Written anew.
    label : str
        Names the wheel in progress lines.
    say : callable
    trace : Path, optional
        Where to write the translated code.
    cancel : threading.Event, optional
        Once set, the run is given up.

    Raises
    ------
    EmulationError
        The wheel does not even import, or ends the process over and over.
    """
    known = read_cases(cases)
    for stale in (journal, blob_file(journal)):
        stale.unlink(missing_ok=True)
    blob_file(journal).touch()
    log = journal.with_suffix(".log")
    reached = {"said": 0}

    def size() -> int:
        return journal.stat().st_size if journal.exists() else 0

    def still() -> int:
        # Cheap: a count of bytes; the line is read only when there is something to say.
        now = size()
        done = journal_position(journal) if now - reached.get("bytes", 0) > 1 << 16 else None
        if done is not None:
            reached["bytes"] = now
            if done - reached["said"] >= _SAY_EVERY:
                reached["said"] = done
                say(f"{label}: {done} of {len(known)} cases")
        return now

    position, crashes = 0, 0
    while position < len(known) or not _ended(journal):
        arguments = ["-m", "verify.differential.cases_inside", str(cases), str(position)]
        argv = command(emulator, profile, [*arguments, str(journal), CONFIGURATION], trace=trace)
        ended = run(
            argv,
            environment(*site, REPOSITORY),
            log=log,
            still=still,
            patience=_PATIENCE,
            cancel=cancel,
        )
        if not ended.how:
            break
        last = _last_begun(journal)
        if last is None or last < position:
            raise EmulationError(
                f"the {label} wheel ended with {ended.how} before its first case",
                hint="the log has its last words",
                context={"log": str(log), "it said": ended.tail},
            )
        crashes += 1
        say(f"{label}: {known[last].id} ended the process with {ended.how}")
        if crashes > _MAX_CRASHES:
            raise EmulationError(
                f"more than {_MAX_CRASHES} cases ended the process of the {label} wheel",
                context={"log": str(log), "journal": str(journal)},
            )
        record_crash(journal, known[last], ended.how, [CONFIGURATION])
        position = last + 1
    return read_results(journal)


def journal_position(journal: Path) -> int | None:
    """Return the position of the case that the end of a journal speaks of, or None."""
    with journal.open("rb") as stream:
        stream.seek(max(0, journal.stat().st_size - 4096))
        for line in reversed(stream.read().splitlines()):
            if line.startswith(b'{"begin": ') and line.endswith(b"}"):
                return int(line[10:-1])
    return None


def _ended(journal: Path) -> bool:
    return any("end" in row for row in read_journal(journal))


def _last_begun(journal: Path) -> int | None:
    begun = [int(row["begin"]) for row in read_journal(journal) if "begin" in row]
    return begun[-1] if begun else None
