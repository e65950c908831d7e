"""Downloads from a server of our own that misbehaves in every way we know of."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from build.errors import IntegrityError, Interrupted
from build.fetch.cache import ContentCache, sha256_of
from build.fetch.download import Transfer, copy_local, download
from build.fetch.http import DeadHosts, HttpOptions, TransferError, make_session, redact
from build.fetch.integrity import Pin

DATA = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(DATA).hexdigest()
SHA1 = hashlib.sha1(DATA).hexdigest()
PIN = Pin(size=len(DATA), sha256=SHA256)


@dataclass
class Recorder:
    seen: list[tuple[int, int | None]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def bytes(self, label: str, done: int, total: int | None) -> None:
        self.seen.append((done, total))

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def progress() -> Recorder:
    return Recorder()


@pytest.fixture
def transfer(tmp_path: Path, progress: Recorder) -> Transfer:
    options = HttpOptions(attempts=3, backoff=0.01, connect_timeout=60, read_timeout=60)
    return Transfer(cache=ContentCache(tmp_path / "cache"), progress=progress, options=options)


def ranged(request: Request) -> Response:
    """Serve DATA, and honour Range as a plain file server does."""
    start = request.range.ranges[0][0] if request.range else 0
    headers = {"ETag": '"v1"'}
    if not start or request.headers.get("If-Range", '"v1"') != '"v1"':
        return Response(DATA, headers=headers)
    headers["Content-Range"] = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
    return Response(DATA[start:], status=206, headers=headers)


def broken_server(
    answers: list[Callable[[bytes], bytes]],
) -> tuple[str, list[bytes], threading.Thread]:
    """Serve raw answers, one connection each; a test server cannot break off by itself."""
    listener = socket.create_server(("127.0.0.1", 0))
    requests: list[bytes] = []

    def serve() -> None:
        with listener:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    request = b""
                    while b"\r\n\r\n" not in request:
                        request += connection.recv(65536)
                    requests.append(request)
                    connection.sendall(answer(request))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/file", requests, thread


def partial_of(transfer: Transfer, pin: Pin = PIN) -> Path:
    return transfer.cache.partial(pin.key)


def test_plain_download(httpserver: HTTPServer, transfer: Transfer, progress: Recorder) -> None:
    httpserver.expect_request("/file").respond_with_data(DATA)
    got = download(httpserver.url_for("/file"), pin=PIN, transfer=transfer, label="file")
    assert got.read_bytes() == DATA
    assert sha256_of(got) == SHA256
    assert transfer.cache.find(SHA256) == got
    assert len(httpserver.log) == 1
    assert progress.seen[-1] == (len(DATA), len(DATA))
    assert not partial_of(transfer).exists()


def test_second_download_asks_nobody(httpserver: HTTPServer, transfer: Transfer) -> None:
    httpserver.expect_ordered_request("/file").respond_with_data(DATA)
    url = httpserver.url_for("/file")
    first = download(url, pin=PIN, transfer=transfer, label="file")
    assert download(url, pin=PIN, transfer=transfer, label="file") == first
    assert len(httpserver.log) == 1


def test_two_threads_fetch_once(httpserver: HTTPServer, transfer: Transfer) -> None:
    def slow(_: Request) -> Response:
        time.sleep(0.3)
        return Response(DATA)

    httpserver.expect_request("/file").respond_with_handler(slow)
    url = httpserver.url_for("/file")
    threads = [
        threading.Thread(
            target=download, args=(url,), kwargs={"pin": PIN, "transfer": transfer, "label": "f"}
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert len(httpserver.log) == 1
    assert transfer.cache.find(SHA256)


def test_sha1_alone(httpserver: HTTPServer, transfer: Transfer) -> None:
    httpserver.expect_ordered_request("/file").respond_with_data(DATA)
    url = httpserver.url_for("/file")
    for _ in range(2):
        got = download(url, pin=Pin(sha1=SHA1), transfer=transfer, label="file")
        assert got == transfer.cache.path_for(SHA256)
        assert len(httpserver.log) == 1
    httpserver.expect_ordered_request("/other").respond_with_data(b"other")
    with pytest.raises(IntegrityError) as caught:
        download(httpserver.url_for("/other"), pin=Pin(sha1="0" * 40), transfer=transfer, label="o")
    assert caught.value.context["expected sha1"] == "0" * 40


def test_404_is_final_at_once(httpserver: HTTPServer, transfer: Transfer) -> None:
    httpserver.expect_request("/file").respond_with_data("gone", status=404)
    with pytest.raises(TransferError) as caught:
        download(httpserver.url_for("/file"), pin=PIN, transfer=transfer, label="file")
    assert len(httpserver.log) == 1
    assert caught.value.brief == "answered 404"
    assert caught.value.host is None
    assert caught.value.context["url"] == httpserver.url_for("/file")
    assert SHA256 in caught.value.context.values()
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_server_error_is_retried(httpserver: HTTPServer, transfer: Transfer, status: int) -> None:
    httpserver.expect_ordered_request("/file").respond_with_data("busy", status=status)
    httpserver.expect_ordered_request("/file").respond_with_data(DATA)
    got = download(httpserver.url_for("/file"), pin=PIN, transfer=transfer, label="file")
    assert got.stat().st_size == len(DATA)
    assert len(httpserver.log) == 2


def test_server_error_ends_after_the_attempts(httpserver: HTTPServer, transfer: Transfer) -> None:
    httpserver.expect_request("/file").respond_with_data("busy", status=503)
    with pytest.raises(TransferError, match="503") as caught:
        download(httpserver.url_for("/file"), pin=PIN, transfer=transfer, label="file")
    assert len(httpserver.log) == 3
    assert caught.value.brief == "answered 503"


def test_truncated_body_goes_on_by_range(transfer: Transfer) -> None:
    half = len(DATA) // 2
    url, requests, thread = broken_server(
        [
            lambda _: (
                b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: "a"\r\n\r\n%s'
                % (len(DATA), DATA[:half])
            ),
            lambda _: (
                b"HTTP/1.1 206 Partial\r\nContent-Length: %d\r\n"
                b"Content-Range: bytes %d-%d/%d\r\n\r\n%s"
                % (len(DATA) - half, half, len(DATA) - 1, len(DATA), DATA[half:])
            ),
        ]
    )
    got = download(url, pin=PIN, transfer=transfer, label="file")
    thread.join(10)
    assert got.read_bytes() == DATA
    assert b"range: bytes=%d-" % half in requests[1].lower()
    assert b'if-range: "a"' in requests[1].lower()


def test_truncated_body_every_time_is_an_error(transfer: Transfer) -> None:
    def cut(_: bytes) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(DATA), DATA[:1000])

    url, requests, thread = broken_server([cut] * 3)
    with pytest.raises(TransferError, match="broke off early, 3 times") as caught:
        download(url, pin=PIN, transfer=transfer, label="file")
    thread.join(10)
    assert len(requests) == 3
    assert caught.value.context["received"] == "1000 bytes"
    assert caught.value.context["expected size"] == f"{len(DATA)} bytes"
    # What has arrived is kept for the next run.
    assert partial_of(transfer).read_bytes() == DATA[:1000]


def test_truncated_body_without_a_length_is_noticed(transfer: Transfer) -> None:
    url, _, thread = broken_server(
        [
            lambda _: b"HTTP/1.0 200 OK\r\n\r\n" + DATA[:1000],
            lambda _: b"HTTP/1.0 200 OK\r\n\r\n" + DATA,
        ]
    )
    got = download(url, pin=PIN, transfer=transfer, label="file")
    thread.join(10)
    assert sha256_of(got) == SHA256


@pytest.mark.parametrize("honoured", [True, False])
def test_resume_from_an_earlier_run(
    httpserver: HTTPServer, transfer: Transfer, progress: Recorder, honoured: bool
) -> None:
    partial_of(transfer).write_bytes(DATA[:5000])
    if honoured:
        httpserver.expect_request("/file").respond_with_handler(ranged)
    else:
        httpserver.expect_request("/file").respond_with_data(DATA)
    got = download(httpserver.url_for("/file"), pin=PIN, transfer=transfer, label="file")
    assert got.read_bytes() == DATA
    request, response = httpserver.log[0]
    assert request.headers["Range"] == "bytes=5000-"
    assert response.status_code == (206 if honoured else 200)
    assert len(httpserver.log) == 1
    assert (progress.seen[0][0] > 5000) or not honoured


def test_server_that_answers_another_range(httpserver: HTTPServer, transfer: Transfer) -> None:
    def other(request: Request) -> Response:
        if not request.range:
            return Response(DATA)
        headers = {"Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}"}
        return Response(DATA, status=206, headers=headers)

    partial_of(transfer).write_bytes(DATA[:5000])
    httpserver.expect_request("/file").respond_with_handler(other)
    got = download(httpserver.url_for("/file"), pin=PIN, transfer=transfer, label="file")
    assert got.read_bytes() == DATA
    assert len(httpserver.log) == 2


def test_server_that_refuses_the_range(httpserver: HTTPServer, transfer: Transfer) -> None:
    partial_of(transfer).write_bytes(DATA[:5000])
    httpserver.expect_ordered_request("/file").respond_with_data("no", status=416)
    httpserver.expect_ordered_request("/file").respond_with_data(DATA)
    got = download(httpserver.url_for("/file"), pin=PIN, transfer=transfer, label="file")
    assert got.read_bytes() == DATA


def test_resumed_file_with_a_wrong_beginning_is_fetched_anew(
    httpserver: HTTPServer, transfer: Transfer
) -> None:
    partial_of(transfer).write_bytes(b"x" * 5000)
    httpserver.expect_request("/file").respond_with_handler(ranged)
    got = download(httpserver.url_for("/file"), pin=PIN, transfer=transfer, label="file")
    assert got.read_bytes() == DATA
    assert "Range" not in httpserver.log[-1][0].headers


def test_partial_that_is_too_long_is_dropped(httpserver: HTTPServer, transfer: Transfer) -> None:
    partial_of(transfer).write_bytes(DATA + b"more")
    httpserver.expect_ordered_request("/file").respond_with_data(DATA)
    got = download(httpserver.url_for("/file"), pin=PIN, transfer=transfer, label="file")
    assert got.read_bytes() == DATA


def test_wrong_hash_names_both_and_keeps_everything(
    httpserver: HTTPServer, transfer: Transfer
) -> None:
    bad = DATA[:-1] + b"!"
    damaged = transfer.cache.path_for(SHA256)
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"what the user had")
    httpserver.expect_ordered_request("/file").respond_with_data(bad)
    url = httpserver.url_for("/file")
    with pytest.raises(IntegrityError) as caught:
        download(url, pin=PIN, transfer=transfer, label="file")
    error = caught.value
    assert error.exit_code == 5
    assert error.context["expected sha256"] == SHA256
    assert error.context["actual sha256"] == hashlib.sha256(bad).hexdigest()
    assert SHA256 in error.problem
    assert hashlib.sha256(bad).hexdigest() in error.problem
    assert url in error.problem
    assert Path(error.context["kept at"]).read_bytes() == bad
    kept = {p.read_bytes() for p in (transfer.cache.root / "damaged").rglob("*") if p.is_file()}
    assert kept == {b"what the user had", bad}
    assert transfer.cache.find(SHA256) is None


def test_file_that_is_too_small_names_both_sizes(
    httpserver: HTTPServer, transfer: Transfer
) -> None:
    httpserver.expect_ordered_request("/file").respond_with_data(b"<html>log in first</html>")
    with pytest.raises(IntegrityError) as caught:
        download(httpserver.url_for("/file"), pin=PIN, transfer=transfer, label="file")
    assert caught.value.context["actual size"] == "25 bytes"
    assert caught.value.context["expected size"] == f"{len(DATA)} bytes"


@pytest.mark.parametrize("stated", [True, False])
def test_oversize_stops_early(transfer: Transfer, progress: Recorder, stated: bool) -> None:
    length = b"Content-Length: %d\r\n" % (len(DATA) * 3) if stated else b""
    url, _, thread = broken_server([lambda _: b"HTTP/1.0 200 OK\r\n" + length + b"\r\n" + DATA * 3])
    with pytest.raises(IntegrityError, match="at least"):
        download(url, pin=PIN, transfer=transfer, label="file")
    thread.join(10)
    # Where the size was stated, not a byte was taken.
    assert bool(progress.seen) is not stated
    assert all(done <= len(DATA) for done, _ in progress.seen)


def test_redirect_is_followed(httpserver: HTTPServer, transfer: Transfer) -> None:
    httpserver.expect_request("/old").respond_with_data(
        status=302, headers={"Location": httpserver.url_for("/new")}
    )
    httpserver.expect_request("/new").respond_with_data(DATA)
    got = download(httpserver.url_for("/old"), pin=PIN, transfer=transfer, label="file")
    assert sha256_of(got) == SHA256


@pytest.mark.parametrize(
    ("location", "refused"),
    [
        ("http://example.invalid/file", True),
        ("//example.invalid/file", False),
        ("/elsewhere", False),
        ("https://example.invalid/file", False),
    ],
)
def test_redirect_from_https_to_http_is_refused(location: str, refused: bool) -> None:
    response = requests.Response()
    response.status_code = 302
    response.url = "https://user:secret@example.invalid/start"
    response.headers["Location"] = location
    with make_session(DeadHosts(), HttpOptions()) as session:
        if not refused:
            assert session.get_redirect_target(response) == location
            return
        with pytest.raises(TransferError, match="unprotected") as caught:
            session.get_redirect_target(response)
    assert "secret" not in str(caught.value.context) + caught.value.problem


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_dead_host_is_remembered(transfer: Transfer) -> None:
    url = f"http://127.0.0.1:{free_port()}/file"
    with pytest.raises(TransferError) as caught:
        download(url, pin=PIN, transfer=transfer, label="one")
    assert caught.value.brief == "connection refused"
    assert caught.value.host == url.split("/")[2]
    with socket.create_server(("127.0.0.1", int(caught.value.host.rpartition(":")[2]))) as listener:
        listener.settimeout(0.1)
        with pytest.raises(TransferError, match="connection refused"):
            download(url + "2", pin=Pin(sha256="1" * 64), transfer=transfer, label="two")
        with pytest.raises(TimeoutError):  # nobody has knocked again
            listener.accept()


def test_host_without_a_name_record(transfer: Transfer) -> None:
    with pytest.raises(TransferError) as caught:
        download("http://nowhere.invalid/file", pin=PIN, transfer=transfer, label="one")
    assert caught.value.host == "nowhere.invalid"


def test_slow_server_is_not_a_dead_host(httpserver: HTTPServer, tmp_path: Path) -> None:
    options = HttpOptions(attempts=2, backoff=0.01, read_timeout=0.2)
    transfer = Transfer(cache=ContentCache(tmp_path), options=options)

    given_up = threading.Event()

    def slow(_: Request) -> Response:
        given_up.wait(60)
        return Response(DATA)

    httpserver.expect_request("/file").respond_with_handler(slow)
    try:
        with pytest.raises(TransferError) as caught:
            download(httpserver.url_for("/file"), pin=PIN, transfer=transfer, label="file")
    finally:
        given_up.set()
    assert caught.value.brief == "no answer in time"
    assert caught.value.host is None
    transfer.hosts.check(httpserver.url_for("/file"))


def test_cancel_keeps_what_has_arrived(httpserver: HTTPServer, transfer: Transfer) -> None:
    class Stopping(Recorder):
        def bytes(self, label: str, done: int, total: int | None) -> None:
            transfer.cancel.set()

    stopping = Transfer(cache=transfer.cache, progress=Stopping(), cancel=transfer.cancel)
    httpserver.expect_request("/file").respond_with_handler(ranged)
    url = httpserver.url_for("/file")
    with pytest.raises(Interrupted):
        download(url, pin=PIN, transfer=stopping, label="file")
    assert 0 < partial_of(transfer).stat().st_size < len(DATA)
    transfer.cancel.clear()
    assert sha256_of(download(url, pin=PIN, transfer=transfer, label="file")) == SHA256
    assert httpserver.log[-1][1].status_code == 206


def test_compressed_answer_is_kept_as_sent(httpserver: HTTPServer, transfer: Transfer) -> None:
    httpserver.expect_request("/file").respond_with_data(DATA, headers={"Content-Encoding": "gzip"})
    got = download(httpserver.url_for("/file"), pin=PIN, transfer=transfer, label="file")
    assert sha256_of(got) == SHA256
    assert httpserver.log[0][0].headers["Accept-Encoding"] == "identity"


def test_local_copy(tmp_path: Path, transfer: Transfer) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(DATA)
    got = copy_local(mine, pin=PIN, transfer=transfer, label="file")
    assert got == transfer.cache.find(SHA256)
    assert mine.read_bytes() == DATA
    with pytest.raises(IntegrityError):
        copy_local(mine, pin=Pin(sha256="1" * 64), transfer=transfer, label="file")
    with pytest.raises(TransferError, match="cannot read"):
        copy_local(tmp_path / "no", pin=Pin(sha256="1" * 64), transfer=transfer, label="file")


def test_redact() -> None:
    assert redact("https://me:pw@host:1/p?q=1") == "https://host:1/p?q=1"
    assert redact("https://host/p") == "https://host/p"
