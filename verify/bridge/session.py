"""The conversation with one client: each message gets one reply, in any order."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

from .. import __version__
from .embedding import Model
from .engine import SHUTTING_DOWN, Engine, Job, Refusal, Vectors
from .messages import (
    VERSIONS,
    Cancel,
    Embed,
    Health,
    Hello,
    Refused,
    Stats,
    error_reply,
    too_large,
)
from .wire import Wire

Key = tuple[type, int | str]


class Session:
    """Answers messages.

    Parameters
    ----------
    engine : Engine
        What embeds.
    wire : Wire
        How replies are written.
    send : callable
        Takes the bytes of one reply; called from several threads, it may block.
    """

    def __init__(self, engine: Engine, wire: Wire, send: Callable[[bytes], None]) -> None:
        self._engine = engine
        self._wire = wire
        self._send = send
        self._greeted = False
        self._jobs: dict[Key, Job] = {}
        self._lock = threading.Lock()

    def take(self, message: bytes | Refusal, wait_for_room: Callable[[], bool]) -> None:
        """Answer a message, or see to it that it will be.

        Parameters
        ----------
        message : bytes or Refusal
            What the wire gave.
        wait_for_room : callable
            Called while the queue is full; ``False`` refuses what cannot be taken.
        """
        try:
            if isinstance(message, Refusal):
                raise Refused(message)
            request = self._wire.read(message)
            if not (self._greeted or isinstance(request, Hello | Health)):
                raise Refused(
                    Refusal(
                        code="hello_first",
                        message="The first message must be hello.",
                        hint='Send {"op":"hello","versions":[1]}.',
                    ),
                    request.id,
                )
            match request:
                case Embed():
                    self._embed(request, wait_for_room)
                case Hello():
                    self._hello(request)
                case Cancel():
                    job = self._jobs.get(_key(request.target))
                    cancelled = job is not None and self._engine.cancel(job)
                    self._reply({"id": request.id, "ok": True, "cancelled": cancelled})
                case Health():
                    self._reply({"id": request.id, "ok": True, **self._health()})
                case Stats():
                    model = self._engine.model
                    named = {"precision": model.precision if model else None}
                    counted = self._engine.counters.snapshot()
                    self._reply(
                        {"id": request.id, "ok": True, **self._health(), **named, **counted}
                    )
        except Refused as error:
            self._engine.counters.refused(error.refusal.code)
            self._reply(error_reply(error.refusal, error.id))

    def _reply(self, data: dict[str, object]) -> None:
        self._send(self._wire.reply(data))

    def _health(self) -> dict[str, object]:
        engine = self._engine
        return {
            "status": engine.state,
            "pending": engine.pending,
            "pending_bytes": engine.pending_bytes,
        }

    def _hello(self, request: Hello) -> None:
        spoken = [version for version in VERSIONS if version in request.versions]
        if not spoken:
            raise Refused(
                Refusal(
                    code="unsupported_version",
                    message=f"This service speaks {', '.join(map(str, VERSIONS))}.",
                    hint="Update the client, or install another ortmill.",
                ),
                request.id,
            )
        self._greeted = True
        self._engine.when_loaded(partial(self._welcome, request.id, max(spoken)))

    def _welcome(self, id: int | str | None, version: int, found: Model | Refusal) -> None:
        if isinstance(found, Refusal):
            self._reply(error_reply(found, id))
            return
        self._reply(
            {
                "id": id,
                "ok": True,
                "version": version,
                "server": f"ortmill {__version__}",
                "pid": os.getpid(),
                "model": found.name,
                "dimensions": found.dimensions,
                "max_tokens": found.max_tokens,
                "provider": found.provider,
                "precision": found.precision,
                "precision_why": found.precision_why,
                "limits": asdict(self._engine.limits),
            }
        )

    def _embed(self, request: Embed, wait_for_room: Callable[[], bool]) -> None:
        refusal = too_large(request.texts, self._engine.limits)
        if refusal is not None:
            raise Refused(refusal, request.id)
        key = _key(request.id)
        job = Job(texts=request.texts, kind=request.kind, done=partial(self._answer, request))
        with self._lock:
            if key in self._jobs:
                # Without the id: that belongs to the answer of the first request.
                raise Refused(
                    Refusal(
                        code="duplicate_id",
                        message=f"The id {request.id!r} is that of a request not yet answered.",
                        hint="Give each request an id of its own.",
                    )
                )
            self._jobs[key] = job
        while not self._engine.submit(job):
            if not wait_for_room():
                self._engine.counters.refused(SHUTTING_DOWN.code)
                self._answer(request, SHUTTING_DOWN)
                return

    def _answer(self, request: Embed, outcome: Vectors | Refusal) -> None:
        with self._lock:
            del self._jobs[_key(request.id)]
        if isinstance(outcome, Refusal):
            self._reply(error_reply(outcome, request.id))
        else:
            self._send(self._wire.vectors(request, outcome))


def _key(id: int | str) -> Key:
    """Tell 1 from "1", which are equal to no client."""
    return type(id), id
