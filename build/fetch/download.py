"""One file over HTTP, or from a local folder, into the cache: whole, verified, or not at all."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from urllib3 import exceptions as urllib3_errors

from ..errors import IntegrityError, Interrupted
from ..system.digest import FileHashes, hash_file
from ..system.files import write_whole, writing_to
from ..system.progress import Progress, Silent
from .cache import ContentCache
from .http import DeadHosts, HttpOptions, TransferError, make_session, redact, request_arguments
from .integrity import Pin, adopt, find_pinned, mismatch
from .network import SIGN_IN_HINT, mirrored

_CHUNK = 1 << 18
_OK, _PARTIAL, _BAD_RANGE = 200, 206, 416
_SIGN_IN = (401, 403)


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What every download of one run shares.

    ``cancel``, once set, ends a download at its next block with :class:`Interrupted`; what has
    arrived is kept.
    """

    cache: ContentCache
    hosts: DeadHosts = field(default_factory=DeadHosts)
    progress: Progress = field(default_factory=Silent)
    options: HttpOptions = field(default_factory=HttpOptions)
    cancel: threading.Event = field(default_factory=threading.Event)


class _Broken(Exception):
    """A body that ended early, or a range that was not honoured: worth another attempt."""


def download(url: str, *, pin: Pin, transfer: Transfer, label: str) -> Path:
    """Fetch one file into the cache, unless it is there already; return its path.

    The file grows in the cache's ``partial`` folder. A download that breaks off goes on from
    there by Range (RFC 9110, section 14), in this run or a later one; a server that ignores the
    range starts again from the first byte. Broken bodies, 429, 5xx and time-outs are retried
    with backoff, any other 4xx is final. The whole file is hashed before it is used.

    Raises
    ------
    IntegrityError
        The file has another size or hash than the pin says. It is kept in ``damaged``.
    TransferError
        The file could not be had.
    ResourceError
        The cache cannot be written.
    """

    def waiting() -> None:
        transfer.progress.say(f"{label}: waiting for another fetch of the same file")

    url = mirrored(url, transfer.options.mirrors)
    if url.startswith("file:"):
        path = Path(unquote(urlsplit(url).path))
        return copy_local(path, pin=pin, transfer=transfer, label=label)
    with transfer.cache.lock(pin.key, waiting):
        if found := find_pinned(transfer.cache, pin):
            return found
        job = _Job(
            url=url, pin=pin, transfer=transfer, label=label, part=transfer.cache.partial(pin.key)
        )
        resumed = job.run()
        hashes = hash_file(job.part)
        if resumed and pin.differences(hashes):
            # The first half may stem from other bytes than the second.
            transfer.progress.say(f"{label}: the resumed file is not the pinned one, once more")
            job.restart()
            job.run()
            hashes = hash_file(job.part)
        return _accept(job.part, hashes, pin=pin, origin=redact(url), label=label, job=transfer)


def copy_local(path: Path, *, pin: Pin, transfer: Transfer, label: str) -> Path:
    """Copy a file of this machine into the cache, verified like a download.

    Raises
    ------
    IntegrityError
        The file is not the pinned one; it is left alone.
    TransferError
        The file cannot be read.
    """
    with transfer.cache.lock(pin.key):
        if found := find_pinned(transfer.cache, pin):
            return found
        try:
            hashes = hash_file(path)
        except OSError as error:
            raise TransferError(
                f"{label}: cannot read {path}: {error.strerror}",
                brief="no such file" if isinstance(error, FileNotFoundError) else "not readable",
                context={"file": str(path)},
            ) from error
        if wrong := pin.differences(hashes):
            raise mismatch(label, str(path), wrong)
        copy = transfer.cache.scratch_file()
        try:
            with writing_to(transfer.cache.root):
                shutil.copyfile(path, copy)
            return adopt(transfer.cache, copy, hash_file(copy), pin)
        finally:
            copy.unlink(missing_ok=True)


def _accept(
    part: Path, hashes: FileHashes, *, pin: Pin, origin: str, label: str, job: Transfer
) -> Path:
    if wrong := pin.differences(hashes):
        raise mismatch(label, origin, wrong, kept=job.cache.set_aside(part, label))
    kept = adopt(job.cache, part, hashes, pin)
    _tag_file(part).unlink(missing_ok=True)
    return kept


def _tag_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")


@dataclass(frozen=True, kw_only=True)
class _Job:
    url: str
    pin: Pin
    transfer: Transfer
    label: str
    part: Path

    def restart(self) -> None:
        with writing_to(self.part):
            self.part.write_bytes(b"")

    def have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def run(self) -> bool:
        """Fill the partial file; return whether it began with bytes of an earlier request."""
        if self.pin.size is not None and self.have() > self.pin.size:
            self.restart()
        options = self.transfer.options
        resumed = False
        with make_session(self.transfer.hosts, options) as session:
            for attempt in range(1, options.attempts + 1):
                try:
                    return self._attempt(session) or resumed
                except _Broken as error:
                    resumed = resumed or self.have() > 0
                    if attempt == options.attempts:
                        raise self._failed(f"{error}, {attempt} times", str(error)) from error
                self.transfer.cancel.wait(options.pause(attempt))
                self._stop_if_cancelled()
        raise self._failed("no attempt was allowed", "no attempt was allowed")

    def _failed(self, problem: str, brief: str, hint: str = "", **context: str) -> TransferError:
        size = "unknown" if self.pin.size is None else f"{self.pin.size} bytes"
        return TransferError(
            f"{self.label}: {redact(self.url)}: {problem}",
            brief=brief,
            hint=hint or "try again later, or take the input from another origin (--origin)",
            context={
                "url": redact(self.url),
                "expected size": size,
                "expected hash": self.pin.key,
                "received": f"{self.have()} bytes",
                **context,
            },
        )

    def _stop_if_cancelled(self) -> None:
        if self.transfer.cancel.is_set():
            raise Interrupted(f"{self.label}: the download was stopped; it can go on from here")

    def _range_headers(self, have: int) -> dict[str, str]:
        headers = {"Range": f"bytes={have}-"}
        tag = self.transfer.cache.read_record(_tag_file(self.part)) or {}
        etag = tag.get("etag")
        # A weak tag must not be used with If-Range (RFC 9110, section 13.1.5).
        if tag.get("url") == redact(self.url) and isinstance(etag, str) and etag[:2] != "W/":
            headers["If-Range"] = etag
        return headers

    def _attempt(self, session: requests.Session) -> bool:
        have = self.have()
        if have and have == self.pin.size:
            return True
        # Transparent compression would make the bytes differ from the pinned ones.
        headers = {"Accept-Encoding": "identity"} | (self._range_headers(have) if have else {})
        arguments: dict[str, Any] = request_arguments(self.transfer.options)
        self._stop_if_cancelled()
        try:
            response = session.get(self.url, headers=headers, stream=True, **arguments)
        except requests.RequestException as error:
            raise self._failed(str(error), type(error).__name__) from error
        with response:
            start = self._start(response, have)
            self._remember_tag(response)
            self._receive(response, start, _total(response, start))
        return start > 0

    def _start(self, response: requests.Response, have: int) -> int:
        """Return the offset of the answer's first byte, after checking that it can be used."""
        status = response.status_code
        if status == _OK:
            return 0
        if status == _PARTIAL and have:
            if response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                return have
            self.restart()
            raise _Broken("the server answered with another range than the one asked for")
        if status == _BAD_RANGE and have:
            self.restart()
            raise _Broken("the server refused to go on from where the download stood")
        again = f" after {self.transfer.options.attempts} attempts" if status >= 500 else ""
        raise self._failed(
            f"the server answered {status} {response.reason or ''}".rstrip() + again,
            f"answered {status}",
            SIGN_IN_HINT if status in _SIGN_IN else "",
            status=str(status),
        )

    def _remember_tag(self, response: requests.Response) -> None:
        record = {"url": redact(self.url), "etag": response.headers.get("ETag")}
        write_whole(_tag_file(self.part), json.dumps(record))

    def _receive(self, response: requests.Response, start: int, total: int | None) -> None:
        self._refuse_oversize(total)
        progress, done = self.transfer.progress, start
        expected = total if total is not None else self.pin.size
        blocks = response.raw.stream(_CHUNK, decode_content=False)
        with writing_to(self.part), self.part.open("r+b" if start else "wb") as out:
            out.seek(start)
            out.truncate()
            while (block := _next(blocks.__next__)) is not None:
                self._stop_if_cancelled()
                done += len(block)
                self._refuse_oversize(done)
                out.write(block)
                progress.bytes(self.label, done, expected)
        if expected is not None and done < expected:
            raise _Broken("the download broke off early")

    def _refuse_oversize(self, size: int | None) -> None:
        if size is None or self.pin.size is None or size <= self.pin.size:
            return
        raise IntegrityError(
            f"{self.label}: what {redact(self.url)} holds is not the pinned file: it has at least "
            f"{size} bytes, the recipe pins {self.pin.size}",
            hint="find out which of the two is right before the recipe is changed; "
            "nothing was used and nothing was deleted",
            context={
                "url": redact(self.url),
                "expected size": f"{self.pin.size} bytes",
                "actual size": f"at least {size} bytes",
                "expected hash": self.pin.key,
            },
        )


def _next(step: Callable[[], bytes]) -> bytes | None:
    """Return the next block of a body, or None at its end."""
    try:
        return step()
    except StopIteration:
        return None
    except urllib3_errors.ReadTimeoutError as error:
        raise _Broken("the server stopped sending") from error
    except (urllib3_errors.HTTPError, OSError) as error:
        raise _Broken("the download broke off early") from error


def _total(response: requests.Response, start: int) -> int | None:
    """Return the whole file's size as the server states it, in bytes, or None."""
    stated = response.headers.get("Content-Range", "").rpartition("/")[2]
    if response.status_code == _PARTIAL and stated.isdigit():
        return int(stated)
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isdigit() else None
