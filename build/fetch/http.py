"""One way of speaking HTTP: retries, time-outs, dead hosts and errors in plain words."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import exceptions as urllib3_errors
from urllib3.util.retry import Retry

from ..errors import FetchError, UsageError
from ..system.environment import authorities
from .network import Mirrors, read_mirrors

RETRIED_STATUS = frozenset({429, 500, 502, 503, 504})
_CONNECT_RETRIES = 2
_RETRY_AFTER_LIMIT = 30
_PAUSE_LIMIT = 30.0


class TransferError(FetchError):
    """One origin did not deliver.

    ``brief`` says why in a few words, fit for the line that announces the next origin. ``host``
    is set where the host could not be reached at all.
    """

    def __init__(
        self,
        problem: str,
        *,
        brief: str,
        host: str | None = None,
        hint: str = "",
        context: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(problem, hint=hint, context=context)
        self.brief = brief
        self.host = host


def redact(url: str) -> str:
    """Return an address without the user name and password that it may carry."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def host_of(url: str) -> str:
    """Return an address's host, with the port where one is given."""
    return urlsplit(url).netloc.rpartition("@")[2].lower()


class DeadHosts:
    """The hosts that could not be reached so far; several threads read and write them."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._lock = threading.Lock()

    def note(self, host: str, reason: str) -> None:
        """Remember that a host could not be reached, and why."""
        with self._lock:
            self._reasons.setdefault(host, reason)

    def check(self, url: str) -> None:
        """Raise :class:`TransferError` at once where the host is known to be out of reach."""
        host = host_of(url)
        with self._lock:
            reason = self._reasons.get(host)
        if reason is not None:
            raise unreachable(url, reason)


def unreachable(url: str, reason: str) -> TransferError:
    """Return the error for a host that could not be reached."""
    return TransferError(
        f"{host_of(url)} could not be reached: {reason}",
        brief=reason,
        host=host_of(url),
        hint="check the network and the proxy settings (HTTPS_PROXY, REQUESTS_CA_BUNDLE), "
        "name a mirror (ORTMILL_MIRROR), or build with --origin registry",
        context={"url": redact(url)},
    )


@dataclass(frozen=True, kw_only=True)
class HttpOptions:
    """How to speak to a server.

    Time-outs and ``backoff`` (the first pause between two attempts; it doubles) are in seconds.
    ``verify`` is True, False, or the path of a file of certificates; ``proxies`` maps a scheme
    to a proxy and comes before the environment's. ``mirrors`` replaces the beginnings of addresses.
    """

    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    attempts: int = 5
    backoff: float = 0.5
    verify: bool | str = True
    proxies: Mapping[str, str] = field(default_factory=dict)
    mirrors: Mirrors = ()

    def pause(self, attempt: int) -> float:
        """Return the seconds to wait after an attempt, counted from 1."""
        return float(min(self.backoff * 2 ** (attempt - 1), _PAUSE_LIMIT))

    def of(self, env: Mapping[str, str]) -> HttpOptions:
        """Return these options with what the environment says of authorities and mirrors.

        Raises
        ------
        UsageError
            ``ORTMILL_MIRROR`` cannot be read, or a file of certificates is not there.
        """
        trusted = authorities(env)
        if trusted and not Path(trusted).exists():
            raise UsageError(
                f"there is no {trusted}, which is to hold the certificates to trust",
                hint="correct REQUESTS_CA_BUNDLE, SSL_CERT_FILE or CURL_CA_BUNDLE, or unset it",
            )
        verify = trusted or True if self.verify is True else self.verify
        return replace(self, verify=verify, mirrors=(*self.mirrors, *read_mirrors(env)))


def _refused_certificate(error: BaseException | None) -> bool:
    """Return whether a certificate was not accepted.

    A connection that breaks off while it is being secured is another TLS error, and passes.
    """
    is_tls = isinstance(error, requests.exceptions.SSLError | urllib3_errors.SSLError)
    return is_tls and "certificate" in str(error).lower()


class _Retry(Retry):
    """Retries that end at once where a certificate is not accepted: it will not be later."""

    # Whatever urllib3 gives is passed on, so its long signature is not repeated here.
    def increment(self, *args: Any, **kwargs: Any) -> Retry:  # type: ignore[override]
        spent = self.new(total=0) if _refused_certificate(kwargs.get("error")) else self
        return Retry.increment(spent, *args, **kwargs)


def _reason(error: requests.RequestException) -> tuple[str, bool]:
    """Return why a connection failed, and whether the host counts as out of reach."""
    inner = error.args[0] if error.args else error
    cause = getattr(inner, "reason", inner)
    refused = "connection refused" if "refused" in str(cause) else "connection failed"
    # The first that fits: a proxy's error is a kind of connection error, and so on.
    if _refused_certificate(error):
        return "its certificate was not accepted", True
    known: tuple[tuple[object, type[Exception], str, bool], ...] = (
        (error, requests.exceptions.ProxyError, "the proxy did not let it through", True),
        (cause, urllib3_errors.NameResolutionError, "name resolution failed", True),
        (error, requests.exceptions.ConnectTimeout, "no connection in time", True),
        (cause, urllib3_errors.NewConnectionError, refused, True),
        (error, requests.exceptions.Timeout, "no answer in time", False),
        (cause, urllib3_errors.ReadTimeoutError, "no answer in time", False),
    )
    return next(
        ((reason, dead) for what, kind, reason, dead in known if isinstance(what, kind)),
        ("the connection broke", False),
    )


class _Session(requests.Session):
    """A session that knows dead hosts and follows no redirect from https to http."""

    def __init__(self, hosts: DeadHosts) -> None:
        super().__init__()
        self._hosts = hosts

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        url = request.url or ""
        self._hosts.check(url)
        try:
            return super().send(request, **kwargs)
        except (requests.ConnectionError, requests.Timeout) as error:
            reason, dead = _reason(error)
            if dead:
                self._hosts.note(host_of(url), reason)
                raise unreachable(url, reason) from error
            raise TransferError(
                f"{host_of(url)} did not deliver {redact(url)}: {reason}",
                brief=reason,
                hint="try again; what has arrived is kept and the download goes on from there",
                context={"url": redact(url)},
            ) from error

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target and resp.url.lower().startswith("https:"):
            location = urljoin(resp.url, target)
            if not location.lower().startswith("https:"):
                raise TransferError(
                    f"{redact(resp.url)} redirects to the unprotected {redact(location)}",
                    brief="redirect from https to http refused",
                    hint="take the input from another origin, or correct the address",
                    context={"url": redact(resp.url), "redirect": redact(location)},
                )
        return target


def make_session(hosts: DeadHosts, options: HttpOptions) -> requests.Session:
    """Return a session that retries 429, 5xx, time-outs and broken connections with backoff.

    Other 4xx answers are returned as they are, at once. Proxies and certificates come from the
    environment, as usual for requests, unless ``options`` says otherwise.
    """
    retry = _Retry(
        total=options.attempts - 1,
        connect=min(_CONNECT_RETRIES, options.attempts - 1),
        read=options.attempts - 1,
        status=options.attempts - 1,
        other=options.attempts - 1,
        backoff_factor=options.backoff,
        status_forcelist=RETRIED_STATUS,
        allowed_methods={"GET", "HEAD"},
        respect_retry_after_header=True,
        retry_after_max=_RETRY_AFTER_LIMIT,
        raise_on_status=False,
    )
    session = _Session(hosts)
    session.headers["User-Agent"] = "ortmill"
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def request_arguments(options: HttpOptions) -> dict[str, Any]:
    """Return what every single request of a session is given.

    Proxies and certificates go with the request: for a session, requests lets the
    environment's settings win.
    """
    arguments: dict[str, Any] = {"timeout": (options.connect_timeout, options.read_timeout)}
    if options.verify is not True:
        arguments["verify"] = options.verify
    if options.proxies:
        arguments["proxies"] = dict(options.proxies)
    return arguments
