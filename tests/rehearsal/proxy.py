"""A proxy as companies have them: the only way out, and it wants a name and a password."""

from __future__ import annotations

import base64
import select
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import requests


@dataclass(kw_only=True)
class Proxy:
    """What a proxy lets through.

    ``routes`` maps a host, as clients name it, to ``host:port``: clients need no name service.
    ``user`` is ``name:password``, where one is wanted; ``seen`` what was asked for. The first
    ``drops`` connections are closed as soon as they are there.
    """

    routes: Mapping[str, str]
    user: str = ""
    drops: int = 0
    seen: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _refused(self) -> bool:
        self.proxy.seen.append(self.path)
        wanted = "Basic " + base64.b64encode(self.proxy.user.encode()).decode()
        if self.proxy.user and self.headers.get("Proxy-Authorization") != wanted:
            self.send_response(407)
            self.send_header("Proxy-Authenticate", 'Basic realm="rehearsal"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return True
        return False

    def do_CONNECT(self) -> None:
        if self._refused():
            return
        there = self.proxy.routes.get(self.path.rpartition(":")[0], "")
        host, _, port = there.rpartition(":")
        try:
            outer = socket.create_connection((host, int(port or 0)), timeout=10)
        except (OSError, ValueError):
            self.send_error(502)
            return
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        if self.proxy.drops:
            self.proxy.drops -= 1
            outer.close()
            return
        with outer, suppress(OSError):
            pair = {self.connection: outer, outer: self.connection}
            while True:
                ready, _, _ = select.select(list(pair), [], [], 10)
                for one in ready:
                    data = one.recv(65536)
                    if not data:
                        return
                    pair[one].sendall(data)
                if not ready:
                    return

    def do_GET(self) -> None:
        if self._refused():
            return
        parts = urlsplit(self.path)
        there = self.proxy.routes.get(parts.hostname or "", "")
        answer = requests.get(
            parts._replace(netloc=there).geturl(),
            headers={"Host": parts.netloc},
            timeout=10,
            allow_redirects=False,
        )
        self.send_response(answer.status_code)
        for name in ("Content-Type", "Location"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)


@contextmanager
def proxying(proxy: Proxy) -> Iterator[str]:
    """Run a proxy on loopback; give its address without a user."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": proxy}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
