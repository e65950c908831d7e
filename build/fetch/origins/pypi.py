"""One exact file of a Python package index, found where pip would look for it."""

from __future__ import annotations

import json
import logging
import mimetypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit, urlunsplit

import requests
from unearth import Link, PackageFinder
from unearth.fetchers import DEFAULT_SECURE_ORIGINS, Fetcher

from ...errors import IntegrityError
from ...recipe.format import IndexFile, PypiOrigin
from ...system.digest import file_sha256, hash_file
from ..download import Transfer, copy_local, download
from ..http import HttpOptions, TransferError, host_of, make_session, redact, request_arguments
from ..integrity import Pin, mismatch
from ..network import mirrored
from .pip_settings import PipSettings

# The finder warns about every index that does not know a project; that is no news here.
logging.getLogger("unearth").addHandler(logging.NullHandler())


@dataclass(frozen=True, kw_only=True)
class _Page:
    """An answer in the form in which the finder reads it."""

    status_code: int
    headers: Mapping[str, str]
    encoding: str | None
    url: str
    content: bytes
    reason_phrase: str

    def json(self) -> Any:
        return json.loads(self.content)


def _local_page(url: str) -> _Page:
    path = Path(unquote(urlsplit(url).path))
    kind = mimetypes.guess_type(path.name)[0] or "text/plain"
    try:
        status, content, reason = 200, path.read_bytes(), "OK"
    except OSError as error:
        status, content, reason = 404, b"", error.strerror or "not readable"
    return _Page(
        status_code=status,
        headers={"Content-Type": kind},
        encoding="utf-8",
        url=url,
        content=content,
        reason_phrase=reason,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pages:
    """The finder's way to the network: our session, so retries and dead hosts are shared."""

    session: requests.Session
    settings: PipSettings
    options: HttpOptions
    # What each address answered, for the message where nothing was found.
    answers: dict[str, int] = field(default_factory=dict)

    def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> _Page:
        return self._page("GET", url, headers)

    def head(self, url: str, *, headers: Mapping[str, str] | None = None) -> _Page:
        return self._page("HEAD", url, headers)

    def iter_secure_origins(self) -> Iterator[tuple[str, str, str]]:
        yield from DEFAULT_SECURE_ORIGINS
        for host in self.settings.trusted_hosts:
            name, _, port = host.partition(":")
            yield "*", name, port or "*"

    def _page(self, method: str, url: str, headers: Mapping[str, str] | None) -> _Page:
        if urlsplit(url).scheme == "file":
            return _local_page(url)
        url = mirrored(url, self.options.mirrors)
        arguments = request_arguments(self.options)
        if is_trusted(url, self.settings):
            arguments["verify"] = False
        try:
            answer = self.session.request(method, url, headers=dict(headers or {}), **arguments)
        except requests.RequestException as error:
            raise TransferError(
                f"{redact(url)} cannot be asked: {error}",
                brief=type(error).__name__,
                context={"url": redact(url)},
            ) from error
        self.answers[redact(url)] = answer.status_code
        return _Page(
            status_code=answer.status_code,
            headers=answer.headers,
            encoding=answer.encoding,
            url=answer.url,
            content=answer.content,
            reason_phrase=answer.reason or "",
        )


def is_trusted(url: str, settings: PipSettings) -> bool:
    """Return whether pip does not check the certificate of an address's host."""
    parts = urlsplit(url)
    return any(host in (parts.hostname, host_of(url)) for host in settings.trusted_hosts)


def http_options(settings: PipSettings, options: HttpOptions) -> HttpOptions:
    """Return ``options`` with pip's certificates and proxy, where pip has its own."""
    if settings.cert:
        options = replace(options, verify=settings.cert)
    if settings.proxy:
        options = replace(options, proxies={"http": settings.proxy, "https": settings.proxy})
    return options


def fetch_pypi(origin: IndexFile, *, settings: PipSettings, transfer: Transfer, label: str) -> Path:
    """Fetch one file of a package index, by its exact name, into the cache.

    Find-links folders come first, then the indexes in pip's order. Nothing is installed and no
    metadata is built. A place that does not know the project, or holds another file under the
    same name, is passed over as long as another place has the pinned one.

    Raises
    ------
    IntegrityError
        Files of this name were found, and none is the pinned one.
    TransferError
        No place has the file, or none could be reached.
    """
    pin = Pin(size=origin.size, sha256=origin.sha256)
    transfer = replace(transfer, options=http_options(settings, transfer.options))
    failures: dict[str, TransferError] = {}
    wrong: list[IntegrityError] = []
    with make_session(transfer.hosts, transfer.options) as session:
        pages = _Pages(session=session, settings=settings, options=transfer.options)
        for place, finder in _finders(settings, pages):
            try:
                for link in _links(finder, origin):
                    try:
                        return _take(
                            link,
                            place=place,
                            pin=pin,
                            settings=settings,
                            transfer=transfer,
                            label=label,
                        )
                    except _OtherFile as other:
                        wrong.append(other.error)
            except TransferError as error:
                failures[redact(place)] = error
    if wrong:
        raise wrong[0]
    raise _not_found(origin, settings, failures, pages.answers, label)


def fetch_release(
    project: str,
    release: str,
    choose: Callable[[Sequence[str]], Sequence[str]],
    *,
    settings: PipSettings,
    transfer: Transfer,
) -> list[tuple[PypiOrigin, Path]]:
    """Fetch some files of a release that nobody has pinned yet, and pin them.

    ``choose`` gets the names of the release's files and returns those that are wanted. They come
    from the first place that has the release; there are none where none has.

    Raises
    ------
    IntegrityError
        A file is not the one that the place states.
    TransferError
        A file could not be had.
    """
    transfer = replace(transfer, options=http_options(settings, transfer.options))
    with make_session(transfer.hosts, transfer.options) as session:
        pages = _Pages(session=session, settings=settings, options=transfer.options)
        for place, finder in _finders(settings, pages):
            packages = finder.find_all_packages(project, allow_yanked=True)
            links = {p.link.filename: p.link for p in packages if p.version == release}
            found = []
            for file in choose(list(links)):
                link = links[file]
                stated = (link.hash_option or {}).get("sha256", [])
                sha256 = file_sha256(link.file_path) if link.is_file else next(iter(stated), "")
                path = _take(
                    link,
                    place=place,
                    pin=Pin(sha256=sha256),
                    settings=settings,
                    transfer=transfer,
                    label=file,
                )
                origin = PypiOrigin(
                    kind="pypi",
                    project=project,
                    release=release,
                    file=file,
                    size=path.stat().st_size,
                    sha256=sha256,
                )
                found.append((origin, path))
            if found:
                return found
    return []


class _OtherFile(Exception):
    """A place has a file of this name that is not the pinned one."""

    def __init__(self, error: IntegrityError) -> None:
        super().__init__(str(error))
        self.error = error


def _finders(settings: PipSettings, pages: _Pages) -> Iterator[tuple[str, PackageFinder]]:
    """Yield one finder for each place, so that one that fails does not hide the others."""
    session = cast("Fetcher", pages)
    places = [("find_links", link) for link in settings.find_links]
    places += [("index_urls", url) for url in settings.index_urls]
    for kind, place in places:
        plain = place if "://" in place or Path(place).exists() else ""
        if plain:
            arguments: dict[str, Any] = {kind: [plain]}
            yield place, PackageFinder(session, ignore_compatibility=True, **arguments)


def _links(finder: PackageFinder, origin: IndexFile) -> list[Link]:
    packages = finder.find_all_packages(origin.project, allow_yanked=True)
    return [package.link for package in packages if package.link.filename == origin.file]


def _take(
    link: Link, *, place: str, pin: Pin, settings: PipSettings, transfer: Transfer, label: str
) -> Path:
    # A wheel that the machine rebuilt under the same name must not hide the pinned one.
    stated = (link.hash_option or {}).get("sha256", [])
    if stated and pin.sha256 not in stated:
        facts = {"expected sha256": str(pin.sha256), "actual sha256": stated[0]}
        raise _OtherFile(mismatch(label, redact(link.url_without_fragment), facts))
    if link.is_file:
        if link.file_path.is_file() and (wrong := pin.differences(hash_file(link.file_path))):
            raise _OtherFile(mismatch(label, str(link.file_path), wrong))
        return copy_local(link.file_path, pin=pin, transfer=transfer, label=label)
    url = _with_credentials(link.url_without_fragment, place)
    if is_trusted(url, settings):
        transfer = replace(transfer, options=replace(transfer.options, verify=False))
    return download(url, pin=pin, transfer=transfer, label=label)


def _with_credentials(url: str, place: str) -> str:
    """Give a file on the index's own host the index's user name and password."""
    user, at, _ = urlsplit(place).netloc.rpartition("@")
    parts = urlsplit(url)
    if not at or "@" in parts.netloc or parts.netloc.lower() != host_of(place):
        return url
    return urlunsplit(parts._replace(netloc=f"{user}@{parts.netloc}"))


def _not_found(
    origin: IndexFile,
    settings: PipSettings,
    failures: Mapping[str, TransferError],
    answers: Mapping[str, int],
    label: str,
) -> TransferError:
    context = {"file": origin.file} | {url: f"answered {code}" for url, code in answers.items()}
    context |= {
        redact(url): "passed over: plain http, and no trusted-host of pip's"
        for url in settings.index_urls
        if url.startswith("http:") and host_of(url) not in {host_of(asked) for asked in answers}
    }
    context |= {place: error.brief for place, error in failures.items()}
    if failures:
        first = next(iter(failures.values()))
        return TransferError(
            f"{label}: {origin.file} was not found, and not every index could be asked",
            brief=first.brief,
            host=first.host,
            hint=first.hint,
            context=context,
        )
    count = len(settings.index_urls) + len(settings.find_links)
    return TransferError(
        f"{label}: none of the {count} places where pip looks holds {origin.file} "
        f"of {origin.project}",
        brief=f"{origin.file} is in no index that pip knows",
        hint="see `python -m pip config list`; set PIP_INDEX_URL to an index that holds the file",
        context=context,
    )
