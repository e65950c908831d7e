"""Talk to the person who waits: a live line on a terminal, plain lines elsewhere.

Everything goes to standard error; standard output is for ``--json`` alone.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as RichProgress,
)

from ..errors import BuildError
from .eta import share_of_time

_NINJA = re.compile(r"^\[(\d+)/(\d+)\]")
_PLAIN_SECONDS = 15.0


class _Output(Console):
    """A pipe that was closed is an error of the command line: rich would end in 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Reporter:
    """The build's one way to speak; safe to call from several threads.

    It writes to standard error where no stream is given. ``env`` is read for ``GITHUB_ACTIONS``
    and what rich itself knows (``NO_COLOR``, ``TERM``); ``quiet`` leaves the errors.
    """

    def __init__(
        self, *, env: Mapping[str, str], stream: TextIO | None = None, quiet: bool = False
    ) -> None:
        self._console = _Output(
            file=stream or sys.stderr, highlight=False, soft_wrap=True, emoji=False
        )
        # A terminal that moves no cursor (TERM=dumb) shows no live line, so it gets plain ones.
        self._live = self._console.is_interactive and not quiet
        self._github = env.get("GITHUB_ACTIONS") == "true" and not quiet
        self._quiet = quiet
        self._lock = threading.Lock()
        self._bar: RichProgress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._spoken: dict[str, float] = {}
        self._started = 0.0

    def say(self, text: str) -> None:
        """Print one line, above the live one."""
        if self._quiet:
            return
        with self._lock:
            self._print(f"  {escape(text)}")

    def bytes(self, label: str, done: int, total: int | None) -> None:
        """Show how far a download is; ``total`` is None where the server does not say."""
        self._show(label, done, total, f"{done / 1e6:.1f} MB")

    def ninja(self, line: str) -> None:
        """Show a line of ninja's output if it counts steps: ``[n/m] …``."""
        if match := _NINJA.match(line):
            done, total = int(match[1]), int(match[2])
            gone = round(1000 * share_of_time(done, total))
            self._show("compiling", gone, 1000, f"[{done}/{total}]")

    @contextmanager
    def stage(self, name: str, title: str) -> Iterator[None]:
        """Frame a stage: one line when it is done, a fold under GitHub Actions."""
        begun = time.monotonic()
        with self._lock:
            self._started = begun
            self._tasks, self._spoken = {}, {}
            if self._github:
                self._print(f"::group::{name}: {title}", plain=True)
            elif not self._live and not self._quiet:
                self._print(f"[bold]{name}[/bold] {escape(title)}")
            if self._live:
                self._bar = RichProgress(
                    SpinnerColumn(),
                    TextColumn("{task.description}"),
                    BarColumn(bar_width=20),
                    TextColumn("{task.fields[count]}"),
                    TimeRemainingColumn(),
                    console=self._console,
                    transient=True,
                )
                self._bar.start()
                self._tasks[""] = self._bar.add_task(f"{name} {title}", total=None, count="")
        try:
            yield
        finally:
            with self._lock:
                if self._bar:
                    self._bar.stop()
                    self._bar = None
                if self._github:
                    self._print("::endgroup::", plain=True)

    def done(self, name: str, text: str, seconds: float, *, skipped: bool = False) -> None:
        """Print that a stage is done, or that its result is unchanged."""
        if self._quiet:
            return
        mark = "[dim]=[/dim]" if skipped else "[green]✓[/green]"
        took = "unchanged" if skipped else duration(seconds)
        with self._lock:
            self._print(f"{mark} [bold]{name:<9}[/bold] {escape(text)} [dim]({took})[/dim]")

    def finish(self, text: str) -> None:
        """Print the last line of a command."""
        if not self._quiet:
            self._print(f"[bold green]{escape(text)}[/bold green]")

    def error(self, error: BuildError) -> None:
        """Print an error: the sentence, its context, and what to do next."""
        with self._lock:
            self._print(f"[bold red]{error.title}:[/bold red] {escape(error.problem)}")
            for name, value in error.context.items():
                self._print(f"  [dim]{escape(name)}:[/dim] {escape(value)}")
            if error.hint:
                self._print(f"[bold]next:[/bold] {escape(error.hint)}")
            if self._github:
                self._print(f"::error::{error.problem.splitlines()[0]}", plain=True)

    def _show(self, label: str, done: int, total: int | None, count: str) -> None:
        if self._quiet:
            return
        with self._lock:
            if self._bar:
                if label not in self._tasks:
                    if "" in self._tasks:
                        self._bar.remove_task(self._tasks.pop(""))
                    self._tasks[label] = self._bar.add_task(label, total=total, count=count)
                self._bar.update(self._tasks[label], completed=done, total=total, count=count)
                if total and done >= total and label != "compiling":
                    self._bar.update(self._tasks[label], visible=False)
                return
            now = time.monotonic()
            last = self._spoken.get(label, self._started)
            if now - last < _PLAIN_SECONDS:
                return
            self._spoken[label] = now
            self._print(f"  {escape(label)} {escape(count)}{self._remaining(done, total, now)}")

    def _remaining(self, done: int, total: int | None, now: float) -> str:
        if not total or not done:
            return ""
        left = (now - self._started) * (total - done) / done
        return f" of {total / 1e6:.1f} MB" if total > 1_000_000 else f", {duration(left)} left"

    def _print(self, text: str, *, plain: bool = False) -> None:
        self._console.print(text, markup=not plain)


def duration(seconds: float) -> str:
    """Return a duration for a reader: ``0.4 s``, ``12 s``, ``3 min 20 s``, ``1 h 05 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
