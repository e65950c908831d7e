"""The service on standard input and output.

The main thread reads and answers what needs no model; the engine's thread writes vectors. Nothing
but the protocol reaches the parent: descriptor 1 is standard error for everybody else, native
libraries too, and descriptor 0 is empty.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from dataclasses import dataclass

from ..errors import VerifyError
from ..sentence import Say
from .engine import SHUTTING_DOWN, Engine
from .session import Session
from .wire import Wire

_PIECE = 2**16
_POLL_SECONDS = 0.1
_NOT_ALL = 3  # the exit code when something was not answered
_LOST = select.POLLERR | select.POLLHUP | select.POLLNVAL


@dataclass(frozen=True, kw_only=True)
class Pipes:
    """The two ends that the parent has given, as descriptors that are ours alone."""

    input: int
    output: int

    @classmethod
    def taken(cls) -> Pipes:
        """Take them out of descriptors 0 and 1, before any library is loaded.

        Raises
        ------
        VerifyError
            When the parent has closed one of them.
        """
        try:
            os.fstat(1)  # before a copy of 0 takes that number
            pipes = cls(input=os.dup(0), output=os.dup(1))
        except OSError:
            raise VerifyError(
                "Standard input or output is closed.",
                hint="The bridge speaks on both: start it with a pipe for each.",
            ) from None
        # A parent may have made them so for itself; a full pipe would look like a closed one.
        os.set_blocking(pipes.input, True)
        os.set_blocking(pipes.output, True)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        try:
            os.dup2(2, 1)
        except OSError:  # a parent that has closed standard error
            os.dup2(null, 1)
            os.dup2(null, 2)
        os.close(null)
        return pipes


class Parent:
    """The other end: what it sends, what it takes, and whether it is still there."""

    def __init__(self, pipes: Pipes) -> None:
        self._pipes = pipes
        self._lock = threading.Lock()
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._poll = select.poll()
        self._poll.register(pipes.input, select.POLLIN)
        self._poll.register(self._woken, select.POLLIN)
        self._poll.register(pipes.output, 0)  # that its reader is gone is always reported
        self._is_gone = False
        self.has_lost = False
        self.asked_to_end = False

    def catch_signals(self, grace: float) -> None:
        """End on SIGTERM and SIGINT: in order at first, at once when asked again."""

        def asked(number: int, frame: object) -> None:
            if self.asked_to_end:
                os._exit(_NOT_ALL)
            self.asked_to_end = True
            # A parent that reads nothing more must not keep us.
            timer = threading.Timer(grace + 1, os._exit, [_NOT_ALL])
            timer.daemon = True
            timer.start()

        signal.set_wakeup_fd(self._wake)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, asked)

    def send(self, data: bytes) -> None:
        """Write one message whole; blocks while the parent does not read."""
        view = memoryview(data)
        with self._lock:
            try:
                while view and not self._is_gone:
                    view = view[os.write(self._pipes.output, view) :]
            except OSError:
                self._is_gone = True
                with contextlib.suppress(BlockingIOError):  # a full pipe wakes as well
                    os.write(self._wake, b"\0")
            self.has_lost |= bool(view)

    def gone(self) -> bool:
        """Tell whether nobody reads any more."""
        if not self._is_gone:
            poll = select.poll()
            poll.register(self._pipes.output, 0)
            self._is_gone = any(events & _LOST for _, events in poll.poll(0))
        return self._is_gone

    def ending(self) -> bool:
        """Tell whether there is nobody to work for, or we were asked to end."""
        return self.asked_to_end or self.gone()

    def receive(self) -> bytes:
        """Wait for the next bytes; none at the end of the input, or when it is time to end."""
        while True:
            ready = dict(self._poll.poll())
            if self._woken in ready:
                os.read(self._woken, _PIECE)
            if ready.get(self._pipes.output, 0) & _LOST:
                self._is_gone = True
            if self._is_gone or self.asked_to_end:
                return b""
            if self._pipes.input in ready:
                return os.read(self._pipes.input, _PIECE)


def serve(pipes: Pipes, engine: Engine, wire: Wire, *, grace: float, say: Say) -> int:
    """Answer the parent until its input ends or a signal comes; return the exit code.

    Parameters
    ----------
    grace : float
        Seconds after a signal in which what is pending is still answered.
    say : callable
        Takes a line for standard error.

    Returns
    -------
    int
        0 when everything that was asked was answered, 3 otherwise.
    """
    parent = Parent(pipes)
    parent.catch_signals(grace)
    session = Session(engine, wire, parent.send)
    engine.start()

    def wait_for_room() -> bool:
        if parent.ending():
            return False
        engine.wait_for_room(_POLL_SECONDS)
        return True

    while piece := parent.receive():
        for message in wire.feed(piece):
            session.take(message, wait_for_room)
    if not parent.ending() and (cut := wire.finish()):
        session.take(cut, wait_for_room)
    code = _drain(parent, engine, grace, say)
    if not engine.close(_POLL_SECONDS):
        # The thread is inside a library; the interpreter must not be taken down around it.
        sys.stderr.flush()
        os._exit(code)
    return code


def _drain(parent: Parent, engine: Engine, grace: float, say: Say) -> int:
    """Let what is pending be answered; after a signal no longer than the grace."""
    signalled: float | None = None
    while not engine.drained(_POLL_SECONDS):
        if parent.gone():
            say(f"The parent is gone; {engine.pending} requests were not answered.")
            return _NOT_ALL
        if parent.asked_to_end:
            signalled = signalled or time.monotonic()
            if time.monotonic() - signalled > grace:
                say(f"The grace has passed; {engine.pending} requests were refused.")
                return _NOT_ALL
    if engine.failure is not None:
        say(f"{engine.failure.message} {engine.failure.hint}".strip())
        return _NOT_ALL
    if parent.has_lost:
        say("The output was closed, or its disk is full, before all replies were written.")
    return _NOT_ALL if parent.has_lost or engine.counters.errors[SHUTTING_DOWN.code] else 0
