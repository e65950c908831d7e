"""The service as OpenAI's API has it: ``/v1/embeddings``, its errors, and what a server needs."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import ipaddress
import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..encoder.model_recipe import Kind
from .embedding import Model
from .engine import SHUTTING_DOWN, Engine, Job, Refusal, Vectors
from .http_metrics import Metrics
from .messages import ERRORS_LISTED, dumped, first_faults, shortened, too_large
from .wire import encoded

_STATUS = {"too_large": 413, "invalid_text": 400, "shutting_down": 503, "model": 503}
_TOKENS = (
    "input holds token ids. They are those of another tokenizer, and embedding them would give "
    "wrong vectors: send text. (LangChain: check_embedding_ctx_length=False.)"
)


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    input: str | Annotated[list[str], Field(min_length=1, fail_fast=True)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None
    kind: Kind | None = None


class Problem(Exception):
    """An answer that is an error, as OpenAI writes them."""

    def __init__(
        self, status: int, code: str, message: str, *, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers

    def response(self) -> Response:
        """Return it as JSON."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        if self.status == 429:
            kind = "rate_limit_error"
        told = shortened(self.message)
        error = {"message": told, "type": kind, "param": None, "code": self.code}
        return JSONResponse({"error": error}, self.status, self.headers)


@dataclass(kw_only=True)
class Service:
    """The routes.

    Parameters
    ----------
    engine : Engine
        What embeds.
    metrics : Metrics
        What is counted.
    key : str
        What a client must show; empty where anybody may ask.
    body_seconds : float
        How long a body may take to arrive.
    """

    engine: Engine
    metrics: Metrics
    key: str
    body_seconds: float
    _reading: int = field(default=0, init=False)  # bytes of bodies that have not all come

    def app(self) -> Starlette:
        """Return the ASGI application."""
        app = Starlette(
            routes=[
                Route("/v1/embeddings", self._embeddings, methods=["POST"]),
                Route("/v1/models", self._guarded(self._models)),
                Route("/metrics", self._guarded(self._metrics)),
                Route("/healthz", self._health),
            ],
            exception_handlers={HTTPException: _as_problem},
        )
        app.router.redirect_slashes = False
        return app

    def _guarded(
        self, route: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            try:
                self._check_key(request)
                return await route(request)
            except Problem as problem:
                return problem.response()

        return guarded

    def _check_key(self, request: Request) -> None:
        """Compare the key; how long that takes tells nothing about it, its length neither."""
        if not self.key:
            _check_host(request.headers.get("host", ""))
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        digests = (hashlib.sha256(text.encode()).digest() for text in (given.strip(), self.key))
        if not hmac.compare_digest(*digests) or scheme.lower() != "bearer":
            raise Problem(
                401,
                "invalid_api_key",
                "The API key is missing or wrong: send it as Authorization: Bearer KEY.",
                headers={"www-authenticate": "Bearer"},
            )

    async def _health(self, request: Request) -> Response:
        state = self.engine.state
        return JSONResponse({"status": state}, 200 if state == "ready" else 503)

    async def _metrics(self, request: Request) -> Response:
        return Response(self.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _models(self, request: Request) -> Response:
        model = self._model()
        one = {"id": model.name, "object": "model", "created": 0, "owned_by": "ortmill"}
        return JSONResponse({"object": "list", "data": [one]})

    def _model(self) -> Model:
        model = self.engine.model
        if model is None:
            raise Problem(
                503, "loading", "The model is being loaded.", headers={"retry-after": "1"}
            )
        return model

    async def _embeddings(self, request: Request) -> Response:
        began = time.monotonic()
        try:
            self._check_key(request)
            asked = await self._read(request)
            response = await self._embed(asked, request)
        except Problem as problem:
            response = problem.response()
        except asyncio.CancelledError:  # by uvicorn, when the grace is over
            self.engine.counters.refused(SHUTTING_DOWN.code)
            response = _problem_of(SHUTTING_DOWN).response()
        self.metrics.answered(response.status_code, time.monotonic() - began)
        return response

    async def _read(self, request: Request) -> _Asked:
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media != "application/json":
            # A page in a browser can send anything but this without being asked first.
            raise Problem(415, "unsupported_media_type", "Send Content-Type: application/json.")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Problem(415, "unsupported_media_type", "Send the body without compression.")
        limit = self.engine.limits.message_bytes
        # What is left of the body is not read, so the connection is of no more use.
        close = {"connection": "close"}
        too_much = Problem(413, "too_large", f"A body holds at most {limit} bytes.", headers=close)
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > limit:
            raise too_much
        body = bytearray()
        try:
            async with asyncio.timeout(self.body_seconds):
                async for piece in request.stream():
                    body += piece
                    self._reading += len(piece)
                    if len(body) > limit:
                        raise too_much
                    if self._reading > self.engine.limits.pending_bytes:
                        raise self._busy(close)
        except TimeoutError:
            raise Problem(
                408, "timeout", f"The body took over {self.body_seconds:g} s.", headers=close
            ) from None
        except ClientDisconnect:
            raise Problem(499, "disconnected", "The client has gone.") from None
        finally:
            self._reading -= len(body)
        try:
            return _Asked.model_validate_json(body)
        except ValidationError as error:
            raise Problem(400, "invalid_request", _faults(error)) from None

    async def _embed(self, asked: _Asked, request: Request) -> Response:
        model = self._model()
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        if asked.model != model.name:
            raise Problem(
                404, "model_not_found", f"There is no model {asked.model!r}; use {model.name!r}."
            )
        if asked.dimensions not in (None, model.dimensions):
            raise Problem(
                400, "invalid_request", f"dimensions: this model has {model.dimensions} alone."
            )
        if (refusal := too_large(texts, self.engine.limits)) is not None:
            raise _problem_of(refusal)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes | Refusal] = loop.create_future()

        def done(outcome: Vectors | Refusal) -> None:
            # In the engine's thread: a long answer takes its time to be written out.
            found = outcome if isinstance(outcome, Refusal) else _body(asked, outcome)
            with contextlib.suppress(RuntimeError):  # the loop has ended, and the client with it
                loop.call_soon_threadsafe(_settle, answer, found)

        job = Job(texts=texts, kind=asked.kind, done=done)
        if not self.engine.submit(job):
            raise self._busy()
        gone = asyncio.create_task(_gone(request))
        either: list[asyncio.Future[Any]] = [answer, gone]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if not answer.done():
                self.engine.cancel(job)
        if not answer.done():
            raise Problem(499, "disconnected", "The client has gone.")
        found = answer.result()
        if isinstance(found, Refusal):
            raise _problem_of(found)
        return Response(found, media_type="application/json")

    def _busy(self, headers: Mapping[str, str] | None = None) -> Problem:
        """Return the refusal of a full queue, with the seconds in which it will be worked off."""
        wait = max(1, math.ceil(self.engine.backlog_seconds()))
        return Problem(
            429,
            "queue_full",
            f"{self.engine.pending} requests are waiting: try again in {wait} s.",
            headers={"retry-after": str(wait), **(headers or {})},
        )


def _faults(error: ValidationError) -> str:
    """Return what is wrong with a request; token ids are told by their numbers."""
    few = error.error_count() <= ERRORS_LISTED
    listed = error.errors(include_url=False) if few else []
    given = [each for each in listed if each["loc"][:1] == ("input",)]
    if given and any(_is_tokens(each["input"]) for each in given):
        return _TOKENS
    return first_faults(error)


def _is_tokens(value: object) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return type(value[0]) is int or _is_tokens(value[0])


def _body(asked: _Asked, answer: Vectors) -> bytes:
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(encoded(answer.rows, asked.encoding_format))
    ]
    usage = {"prompt_tokens": answer.tokens, "total_tokens": answer.tokens}
    return dumped({"object": "list", "data": data, "model": asked.model, "usage": usage})


def _settle(answer: asyncio.Future[bytes | Refusal], found: bytes | Refusal) -> None:
    if not answer.done():
        answer.set_result(found)


async def _gone(request: Request) -> None:
    """Wait until the client is gone; after the body nothing else can come."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _problem_of(refusal: Refusal) -> Problem:
    message = f"{refusal.message} {refusal.hint}".strip()
    return Problem(_STATUS.get(refusal.code, 500), refusal.code, message)


async def _as_problem(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(getattr(error, "headers", None) or {})
    code = {404: "not_found", 405: "method_not_allowed"}.get(status, "internal")
    said = f"{request.method} {request.url.path} cannot be served."
    return Problem(status, code, said, headers=headers).response()


def is_loopback(host: str) -> bool:
    """Tell whether a name or an address is this machine's own; others are not looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_host(given: str) -> None:
    """Refuse a page in a browser whose name has been made to lead here (DNS rebinding)."""
    name = re.sub(r":\d*$", "", given).strip("[]").lower()
    # Programs before HTTP/1.1 name none; a browser always does.
    if given and not is_loopback(name):
        raise Problem(
            403,
            "wrong_host",
            f"Without an API key the host is localhost or a loopback address, not {given!r}.",
        )
