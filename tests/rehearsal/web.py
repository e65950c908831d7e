"""GitHub and a model hub on loopback, with their manners.

An archive's address redirects to another host, which sends it in chunks, states no length and
knows no ranges. Now and then an answer is 429 or 502, and a transfer breaks off in the middle. A
repository is served by git's own program. The model hub redirects to another host as well.
"""

from __future__ import annotations

import base64
import os
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

_BLOCK = 1 << 16
_MANNERS = ("well", "busy", "down", "breaks")
LOGIN_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>Example Corp &#8211; sign in to go on</title></head>"
    b"<body><form>...</form></body></html>\n"
)
POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:0000000000000000000000000000000000000000000000000000000000000000\nsize 1\n"
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request and its answer."""

    host: str
    path: str
    status: int
    user: str = ""


@dataclass(kw_only=True)
class Site:
    """What the servers hand out and how; read and written by several threads.

    ``archives``, ``files`` and ``repositories`` map addresses (without their query) to files and
    bare repositories. ``files`` is a model hub's. ``storage`` maps a host to the one that it
    redirects to; with ``direct`` it answers itself, as a mirror does. ``user`` is ``name:password``
    where the redirecting hosts want one. ``mood`` is how the sites feel: ``""``, ``"login"``,
    ``"pointer"``, ``"gated"`` or ``"moody"``, in which many an address fails once.
    """

    archives: Mapping[str, Path] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    repositories: Mapping[str, Path] = field(default_factory=dict)
    storage: Mapping[str, str] = field(default_factory=dict)
    mood: str = ""
    user: str = ""
    direct: bool = False
    asked: list[Asked] = field(default_factory=list)
    _seen: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, asked: Asked) -> None:
        """Remember an answer."""
        with self._lock:
            self.asked.append(asked)

    def times(self, address: str) -> int:
        """Return how often an address was asked for before."""
        with self._lock:
            self._seen[address] += 1
            return self._seen[address] - 1

    def counts(self) -> dict[str, int]:
        """Return how many answers there were by host and status."""
        with self._lock:
            return dict(sorted(Counter(f"{a.host} {a.status}" for a in self.asked).items()))


class _Handler(BaseHTTPRequestHandler):
    """One request; the host is the one that the client named."""

    protocol_version = "HTTP/1.1"
    site: Site
    scheme: str

    def log_message(self, *_: object) -> None:
        """Say nothing: the site notes every answer."""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    @property
    def _host(self) -> str:
        return self.headers.get("Host", "")

    @property
    def _address(self) -> str:
        return f"{self.scheme}://{self._host}{urlsplit(self.path).path}"

    def _answer(self) -> None:
        address = self._address
        if self._wants_a_name():
            return None
        for url, repository in self.site.repositories.items():
            if address.startswith(f"{url}/"):
                if self.site.mood == "login":
                    return self._plain(200, LOGIN_PAGE, "text/html; charset=utf-8")
                return self._git(repository, address.removeprefix(url))
        stored = {
            f"{self.scheme}://{there}{urlsplit(url).path}": path
            for url, path in {**self.site.archives, **self.site.files}.items()
            for here, there in self.site.storage.items()
            if urlsplit(url).netloc == here
        }
        if address in stored and (self.site.direct or self._host not in self.site.storage):
            return self._content(stored[address], address)
        if address in self.site.archives or address in self.site.files:
            return self._landing(address)
        return self._plain(404, b"Not Found\n", "text/plain")

    def _note(self, status: int) -> None:
        who = self._user()
        self.site.note(Asked(host=self._host, path=self.path, status=status, user=who))

    def _user(self) -> str:
        words = self.headers.get("Authorization", "").partition(" ")
        return base64.b64decode(words[2]).decode() if words[0] == "Basic" else ""

    def _wants_a_name(self) -> bool:
        """Answer 401 on the hosts that redirect, where a user is wanted and is not named."""
        if not self.site.user or self._host not in self.site.storage:
            return False
        if self._user() == self.site.user:
            return False
        realm = {"WWW-Authenticate": 'Basic realm="forge"'}
        self._plain(401, b"Who are you?\n", "text/plain", **realm)
        return True

    def _landing(self, address: str) -> None:
        mood, hub = self.site.mood, address in self.site.files
        if mood == "login":
            return self._plain(200, LOGIN_PAGE, "text/html; charset=utf-8")
        if mood == "pointer" and hub:
            return self._plain(200, POINTER, "text/plain; charset=utf-8")
        if mood == "gated" and hub:
            return self._plain(401, b"Access to this model is restricted.\n", "text/plain")
        there = self.site.storage[self._host]
        location = f"{self.scheme}://{there}{urlsplit(self.path).path}"
        return self._plain(302, b"", "text/plain", Location=location)

    def _moody(self, address: str, manner: str) -> bool:
        """Fail the first time that an address is asked for, in its own manner."""
        if self.site.mood != "moody" or self.site.times(address):
            return False
        if manner == "busy":
            self._plain(429, b"Too Many Requests\n", "text/plain", **{"Retry-After": "1"})
        elif manner == "down":
            self._plain(502, b"<title>Unicorn!</title>\n", "text/html")
        return manner in ("busy", "down")

    def _plain(self, status: int, body: bytes, kind: str, **headers: str) -> None:
        self._note(status)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _content(self, path: Path, address: str) -> None:
        """Send a file as codeload does: in chunks, whole, whatever range was asked for."""
        manner = _MANNERS[sum(map(ord, address)) % len(_MANNERS)]
        if self._moody(address, manner):
            return
        size = path.stat().st_size
        breaks = manner == "breaks" and self.site.mood == "moody"
        breaks = breaks and not self.site.times(f"{address}#")
        self._note(200)
        self.send_response(200)
        self.send_header("Content-Type", "application/zip")
        self.send_header("ETag", f'W/"{size:x}"')
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        sent = 0
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                if breaks and sent + len(block) > size // 2:
                    self.close_connection = True
                    self.wfile.write(f"{len(block):x}\r\n".encode() + block[: len(block) // 2])
                    return
                self.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
                sent += len(block)
        self.wfile.write(b"0\r\n\r\n")

    def _git(self, repository: Path, path: str) -> None:
        """Answer as a git server, by git's own program (gitprotocol-http)."""
        if self._moody(self._address, "down"):
            return
        body = self._body()
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(repository),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "PATH_INFO": path,
            "REQUEST_METHOD": self.command,
            "QUERY_STRING": urlsplit(self.path).query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(
            ["git", "http-backend"], input=body, env=env, capture_output=True, check=False
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.decode().split(": ", 1) for line in head.split(b"\r\n") if b": " in line)
        status = int(fields.pop("Status", "200").split()[0])
        self._plain(status, content, fields.pop("Content-Type", "text/plain"), **fields)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        blocks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            blocks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(blocks)


@contextmanager
def serving(
    site: Site, *, port: int = 0, certificate: Path | None = None, host: str = "127.0.0.1"
) -> Iterator[int]:
    """Serve a site in a thread; give the port. With a certificate (and its key), over TLS."""
    scheme = "https" if certificate else "http"
    handler = type("Handler", (_Handler,), {"site": site, "scheme": scheme})
    server = ThreadingHTTPServer((host, port), handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    # A client that hangs up, or does not trust the certificate, is no fault of the server's.
    server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def make_certificate(folder: Path, hosts: list[str], name: str = "site.pem") -> Path:
    """Make a certificate for some hosts that is its own authority; key and certificate in one."""
    key, certificate = folder / f"{name}.key", folder / name
    names = ",".join(f"DNS:{host}" for host in hosts) + ",IP:127.0.0.1"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
         "-subj", "/CN=ortmill rehearsal", "-addext", f"subjectAltName={names}",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    certificate.write_bytes(certificate.read_bytes() + key.read_bytes())
    key.unlink()
    return certificate
