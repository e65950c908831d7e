"""The engine: it runs a stage, or skips it where what the stage made is still right.

A stage with a key leaves a record in the tree's folder: the digest of its inputs, its outputs, its
duration. A build that was killed goes on after the last record.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from .system.console import Reporter
from .system.files import write_whole

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Stage(Generic[T]):
    """One stage of a build; ``title`` says what it does, for the reader who waits.

    ``key`` is :func:`inputs_digest` of everything that decides the outputs: with one, what ``work``
    returns is recorded, a mapping of JSON values; a stage without one always runs. ``summary``
    turns what it returned into the line that reports the stage. ``outputs_exist`` says whether what
    an earlier run made is still there.
    """

    name: str
    title: str
    work: Callable[[], T]
    summary: Callable[[T], str]
    key: str = ""
    outputs_exist: Callable[[], bool] = lambda: True


@dataclass(frozen=True, kw_only=True)
class Record:
    """A finished stage: its key, its JSON outputs, and its wall time in seconds."""

    stage: str
    inputs: str
    outputs: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long a stage took in this run; ``skipped`` where its outputs existed already."""

    name: str
    seconds: float
    skipped: bool


class Engine:
    """Runs stages one after the other, and keeps their times.

    ``order`` names the stages that have a key, in order: what one makes anew, the ones after it
    cannot keep. Their records are in the folder ``records``.
    """

    def __init__(self, records: Path, order: Sequence[str], reporter: Reporter) -> None:
        self._records, self._order, self._reporter = records, order, reporter
        self.timings: list[Timing] = []

    def run(self, stage: Stage[T]) -> T:
        """Run a stage, or skip it; return what its work returned, now or then."""
        if stage.key:
            record = self._read(stage.name)
            if record and record.inputs == stage.key and stage.outputs_exist():
                outputs = cast("T", record.outputs)
                self._report(stage, outputs, 0.0, skipped=True)
                return outputs
            # Before the outputs are touched.
            for name in self._order[self._order.index(stage.name) :]:
                self._file(name).unlink(missing_ok=True)
        with self._reporter.stage(stage.name, stage.title):
            begun = time.monotonic()
            outputs = stage.work()
            seconds = time.monotonic() - begun
        if stage.key:
            done = Record(
                stage=stage.name,
                inputs=stage.key,
                outputs=cast("Mapping[str, Any]", outputs),
                seconds=seconds,
            )
            write_whole(self._file(stage.name), json.dumps(asdict(done), indent=1) + "\n")
        self._report(stage, outputs, seconds, skipped=False)
        return outputs

    def _report(self, stage: Stage[T], outputs: T, seconds: float, *, skipped: bool) -> None:
        self.timings.append(Timing(name=stage.name, seconds=round(seconds, 3), skipped=skipped))
        self._reporter.done(stage.name, stage.summary(outputs), seconds, skipped=skipped)

    def _file(self, name: str) -> Path:
        return self._records / f"{name}.json"

    def _read(self, name: str) -> Record | None:
        """Return a stage's record, or None where there is none that can be read."""
        try:
            return Record(**json.loads(self._file(name).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


def inputs_digest(**values: Any) -> str:
    """Return the sha256 of JSON values, whatever the order of their keys."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
