"""uvicorn around the application: its own socket, and no patience with slow clients."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import VerifyError
from ..sentence import Say
from .embedding import Model
from .engine import SHUTTING_DOWN, Engine, Refusal
from .http_app import Service, is_loopback
from .http_metrics import Metrics

KEY_VARIABLE = "ORTMILL_API_KEY"
_CONNECTIONS = 512


@dataclass(frozen=True, kw_only=True)
class HttpOptions:
    """Where to listen, and for whom.

    Parameters
    ----------
    host, port
        An address, loopback unless there is a key; port 0 takes any that is free.
    key_file : Path, optional
        Holds the API key; without it the variable ``ORTMILL_API_KEY`` does, or nobody needs one.
    client_seconds : float
        How long a client may take for a request's head, for its body, and to take an answer.
    grace : float
        Seconds after a signal in which open requests are still answered.
    """

    host: str
    port: int
    key_file: Path | None
    client_seconds: float
    grace: float

    def key(self) -> str:
        """Return the key, or nothing.

        Raises
        ------
        VerifyError
            When it cannot be read, or is none although others than this machine may ask.
        """
        key = os.environ.get(KEY_VARIABLE, "").strip()
        if self.key_file is not None:
            try:
                key = self.key_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise VerifyError(f"The API key cannot be read: {error}.") from None
            if not key:
                raise VerifyError(f"{self.key_file} holds no API key.")
        if not (key.isascii() and key.isprintable()):
            raise VerifyError(
                "The API key holds a character that no client can send in a header.",
                hint="Take one of ASCII's letters, digits and signs.",
            )
        if not key and not is_loopback(self.host):
            raise VerifyError(
                f"{self.host} may be reached by others, and there is no API key.",
                hint=f"Set {KEY_VARIABLE} or --api-key-file, or listen on 127.0.0.1.",
            )
        return key


def serve(
    options: HttpOptions,
    engine: Engine,
    *,
    say: Say,
    listening: Say,
) -> int:
    """Serve until a signal comes; return 0, or 3 where the grace or the model failed somebody.

    Parameters
    ----------
    say : callable
        Takes a line for standard error.
    listening : callable
        Takes the address once clients can connect.

    Raises
    ------
    VerifyError
        When nobody can listen there.
    """
    key = options.key()
    sock = _bound(options)

    class Impatient(_Impatient):
        seconds = options.client_seconds

    service = Service(
        engine=engine, metrics=Metrics(engine), key=key, body_seconds=options.client_seconds
    )
    server = uvicorn.Server(
        uvicorn.Config(
            service.app(),
            http=Impatient,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=math.ceil(options.client_seconds),
            timeout_graceful_shutdown=math.ceil(options.grace),
        )
    )

    def loaded(found: Model | Refusal) -> None:
        if isinstance(found, Refusal):
            say(f"{found.message} {found.hint}".strip())
            server.should_exit = True

    engine.when_loaded(loaded)
    engine.start()

    def asked(number: int, frame: object) -> None:
        # Before uvicorn listens to signals itself; and it raises the one that ended it once more.
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, asked)
    host, port = sock.getsockname()[:2]
    listening(f"http://{f'[{host}]' if ':' in host else host}:{port}")
    asyncio.run(server.serve(sockets=[sock]))
    ended = engine.close(options.grace)
    code = 3 if engine.failure or engine.counters.errors[SHUTTING_DOWN.code] else 0
    if not ended:
        # As for pipes: the thread is inside a library, which aborts when it is taken down.
        sys.stderr.flush()
        os._exit(code)
    return code


class _Impatient(H11Protocol):
    """A connection that is dropped when its client is too slow.

    uvicorn times the pause between two requests alone. Here the same timer runs from the first
    moment, and no byte stops it but the last one of a request's head; and a client that does not
    take its answer is dropped as well.
    """

    seconds = 0.0
    _stalled: asyncio.TimerHandle | None = None

    # uvicorn narrows its base's parameter in the same way.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.seconds, self.timeout_keep_alive_handler
        )

    def data_received(self, data: bytes) -> None:
        self.conn.receive_data(data)
        self.handle_events()

    def timeout_keep_alive_handler(self) -> None:
        self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._going_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unset_keepalive_if_required()
        self._going_on()
        super().connection_lost(exc)

    def _going_on(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


def _bound(options: HttpOptions) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )[0]
        # With its protocol: for one that says 0, as socket.create_server's does, asyncio leaves
        # Nagle's algorithm on, and an answer waits for the client's delayed ACK, 40 ms.
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(_CONNECTIONS)
        return sock
    except (OSError, OverflowError) as error:
        raise VerifyError(
            f"Nobody can listen on {options.host}, port {options.port}: {error}.",
            hint="Name another --host or --port; port 0 takes any that is free.",
        ) from None
