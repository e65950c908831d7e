"""The service over HTTP: OpenAI's own client, and clients that mean no good."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import openai
import psutil
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from tests.kit import tiny_model
from tests.kit.verify_examples import TINY
from verify import Embedder
from verify.bridge.http_app import _Asked, _faults
from verify.bridge.http_server import HttpOptions, _bound

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[3]
KEY = "a key that nobody guesses"
# Seconds against a hang: what takes longer is no slow machine.
PATIENCE = 100.0
TEXTS = ["a b", "c", "w1 w2 w3"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("model"))


def command(model: Path, *words: str) -> list[str]:
    place = ["--model", str(model / "tiny.toml"), "--models", str(model), "--http", "--port", "0"]
    return [sys.executable, "-m", "verify", "bridge", *place, "--json", *words]


@contextmanager
def serving(model: Path, *words: str, key: str = "") -> Iterator[str]:
    env = {**os.environ, "ORTMILL_API_KEY": key}
    with subprocess.Popen(
        command(model, *words), cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url: str = json.loads(process.stdout.readline())["url"]
            while requests.get(f"{url}/healthz", timeout=PATIENCE).status_code != 200:
                time.sleep(0.05)
            yield url
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


@pytest.fixture(scope="module")
def url(model: Path) -> Iterator[str]:
    with serving(model, "--client-timeout", str(PATIENCE), key=KEY) as found:
        yield found


@pytest.fixture(scope="module")
def hasty(model: Path) -> Iterator[str]:
    """For slow clients alone: on a busy machine a good one may be late by a second."""
    with serving(model, "--client-timeout", "1", key=KEY) as found:
        yield found


def post(url: str, data: Any, **headers: str) -> requests.Response:
    sent = {"authorization": f"Bearer {KEY}", "content-type": "application/json", **headers}
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return requests.post(f"{url}/v1/embeddings", data=body, headers=sent, timeout=PATIENCE)


def asked(**changes: Any) -> dict[str, Any]:
    return {"model": "tiny", "input": TEXTS, **changes}


def connected(url: str) -> socket.socket:
    place = urlsplit(url)
    return socket.create_connection((place.hostname, place.port), timeout=PATIENCE)


def test_openais_client(url: str, model: Path) -> None:
    with Embedder.from_recipe(model, TINY) as embedder:
        wanted = embedder.embed(TEXTS)
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        for more in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}):
            found = client.embeddings.create(model="tiny", input=TEXTS, **more)
            rows = [each.embedding for each in found.data]
            if more.get("encoding_format") == "base64":
                rows = [np.frombuffer(base64.b64decode(row), "<f4") for row in rows]
            assert np.abs(np.array(rows) - wanted).max() < 1e-6
            assert [each.index for each in found.data] == [0, 1, 2]
            assert (found.model, found.usage.prompt_tokens, found.usage.total_tokens) == (
                *("tiny", 12, 12),
            )
        one = client.embeddings.create(
            model="tiny", input="a b", dimensions=16, extra_body={"kind": "query"}
        )
        assert np.abs(np.array(one.data[0].embedding) - wanted[0]).max() < 1e-6
        assert [each.id for each in client.models.list()] == ["tiny"]
        with pytest.raises(openai.NotFoundError, match="use 'tiny'"):
            client.embeddings.create(model="text-embedding-3-small", input="a")
        with pytest.raises(openai.BadRequestError, match="another tokenizer"):
            client.embeddings.create(model="tiny", input=[1, 2, 3])
        with pytest.raises(openai.BadRequestError, match="another tokenizer"):
            client.embeddings.create(model="tiny", input=[[1, 2], [3]])
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.embeddings.create(model="tiny", input="a")


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"{", 400, "invalid_request"),
        (b"\xff", 400, "invalid_request"),
        (b'{"model":"tiny","input":"\\ud800"}', 400, "invalid_request"),
        (asked(input=[]), 400, "invalid_request"),
        (asked(input=5), 400, "invalid_request"),
        (asked(input=["a", None]), 400, "invalid_request"),
        (asked(input=[True]), 400, "invalid_request"),
        (asked(**{f"f{each}": 1 for each in range(10**5)}), 400, "invalid_request"),
        (asked(dimensions=8), 400, "invalid_request"),
        (asked(encoding_format="hex"), 400, "invalid_request"),
        (asked(inputs="a"), 400, "invalid_request"),
        (asked(model="other"), 404, "model_not_found"),
        (asked(model="other" * 10**6), 404, "model_not_found"),
        (asked(input=["a"] * 2049), 413, "too_large"),
        (asked(input="a" * 300_000), 413, "too_large"),
        (b" " * (9 * 2**20), 413, "too_large"),
    ],
)
def test_what_is_wrong_is_said_as_openai_does(url: str, data: Any, status: int, code: str) -> None:
    found = post(url, data)
    assert found.status_code == status
    error = found.json()["error"]
    assert error["code"] == code
    assert error["type"] == "invalid_request_error"
    assert 0 < len(error["message"]) < 600


def test_a_body_without_a_length_is_cut_off_too(url: str) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 2**18

    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    try:
        found = requests.post(
            f"{url}/v1/embeddings", data=pieces(), headers=headers, timeout=PATIENCE
        )
    except requests.ConnectionError:
        return  # it was closed while we were still writing
    assert found.status_code == 413


def test_other_errors(url: str) -> None:
    assert post(url, asked(), **{"content-type": "text/plain"}).status_code == 415
    packed = post(url, gzip.compress(json.dumps(asked()).encode()), **{"content-encoding": "gzip"})
    assert (packed.status_code, "compression" in packed.json()["error"]["message"]) == (415, True)
    wrong = requests.get(f"{url}/v1/embeddings", timeout=PATIENCE)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    slashed = requests.post(f"{url}/v1/embeddings/", timeout=PATIENCE, allow_redirects=False)
    assert slashed.status_code == 404
    missing = requests.get(f"{url}/v2", timeout=PATIENCE)
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x"])
def test_a_wrong_key_opens_nothing_but_health(url: str, given: str) -> None:
    headers = {"authorization": given} if given else {}
    for path in ("/v1/models", "/metrics"):
        found = requests.get(url + path, headers=headers, timeout=PATIENCE)
        assert (found.status_code, found.json()["error"]["code"]) == (401, "invalid_api_key")
        assert found.headers["www-authenticate"] == "Bearer"
    assert post(url, asked(), authorization=given).status_code == 401
    assert requests.get(f"{url}/healthz", timeout=PATIENCE).json() == {"status": "ready"}


def test_without_a_key_a_page_whose_name_leads_here_gets_nothing(model: Path, url: str) -> None:
    """DNS rebinding: a browser takes us for the page's own server, and says so in the host."""
    with serving(model) as keyless:
        for host, status in (
            *(("evil.example", 403), ("127.0.0.1.evil.example:80", 403), ("[", 403)),
            *(("LocalHost:1", 200), ("127.0.0.1", 200), ("[::1]:8000", 200)),
        ):
            found = post(keyless, asked(), host=host)
            assert (host, found.status_code) == (host, status)
            assert requests.get(f"{keyless}/healthz", headers={"host": host}, timeout=PATIENCE).ok
    assert post(url, asked(), host="behind.a.proxy").status_code == 200


def test_it_ends_when_it_is_asked_as_soon_as_it_listens(model: Path) -> None:
    for moment in (0, 0.003, 0.01, 0.03):
        with subprocess.Popen(command(model), cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(moment)
            process.send_signal(signal.SIGTERM)
            try:
                assert process.wait(PATIENCE) == 0
            finally:
                process.kill()


def ended_with_six_open(model: Path) -> tuple[list[requests.Response], int, str]:
    """End a service that has no grace in the middle of six long requests."""
    body = asked(input=["a " * 16] * 2048, encoding_format="base64")
    line = [*command(model, "--grace", "0"), "--max-pending", "9"]
    with (
        subprocess.Popen(
            line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
        ThreadPoolExecutor(9) as pool,
    ):
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            url = json.loads(process.stdout.readline())["url"]
            while requests.get(f"{url}/healthz", timeout=PATIENCE).status_code != 200:
                time.sleep(0.05)
            open_ones = [pool.submit(post, url, body) for _ in range(6)]
            # All at once, where none is answered before the last one has come.
            while not any(each.done() for each in open_ones):
                page = requests.get(f"{url}/metrics", timeout=PATIENCE).text
                if "ortmill_pending 6.0" in page:
                    break
                time.sleep(0.01)
            else:
                [each.result() for each in open_ones]
            process.send_signal(signal.SIGTERM)
            found = [each.result() for each in open_ones]
            return found, process.wait(PATIENCE), process.stderr.read()
        finally:
            process.kill()


def test_what_is_open_when_the_grace_is_over_is_refused(model: Path) -> None:
    for _ in range(9):  # on a busy machine the signal may come when all are answered
        found, code, said = ended_with_six_open(model)
        assert "Traceback" not in said
        refused = [each for each in found if each.status_code != 200]
        assert {(each.status_code, each.json()["error"]["code"]) for each in refused} <= {
            (503, "shutting_down")
        }
        assert code == (3 if refused else 0)
        if refused:
            return
    pytest.fail("six long requests were never cut off")


def test_prometheus_reads_it(url: str) -> None:
    def read() -> dict[str, float]:
        page = requests.get(
            f"{url}/metrics", headers={"authorization": f"Bearer {KEY}"}, timeout=PATIENCE
        )
        return {
            each.name + (each.labels.get("status") or ""): each.value
            for family in text_string_to_metric_families(page.text)
            for each in family.samples
        }

    before = read()
    assert post(url, asked()).status_code == 200
    after = read()
    for name, more in (
        ("ortmill_requests_total200", 1),
        ("ortmill_request_seconds_count", 1),
        ("ortmill_texts_total", 3),
        ("ortmill_tokens_total", 12),
    ):
        assert after[name] - before.get(name, 0) == more
    assert after["ortmill_ready"] == 1
    assert after["ortmill_runs_total"] > before["ortmill_runs_total"]
    assert after["process_resident_memory_bytes"] > 1e7


def test_who_says_nothing_is_dropped(hasty: str) -> None:
    """Neither silence nor a head that drips keeps a connection."""
    with connected(hasty) as silent, connected(hasty) as dripping:
        assert silent.recv(1) == b""
        with pytest.raises(ConnectionError):
            for letter in b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 100:
                dripping.sendall(bytes([letter]))
                time.sleep(0.05)


def test_a_body_that_drips_is_answered_408(hasty: str) -> None:
    with connected(hasty) as sock:
        sock.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"authorization: Bearer " + KEY.encode() + b"\r\ncontent-length: 100\r\n\r\n{"
        )
        assert sock.recv(100).startswith(b"HTTP/1.1 408 ")


def test_who_does_not_take_the_answer_is_dropped(hasty: str) -> None:
    """The server lets go of the connection; what the kernel has taken may still arrive."""
    body = json.dumps(asked(input=["a b"] * 2048, encoding_format="float")).encode()
    with connected(hasty) as sock:
        mine = sock.getsockname()[1]
        accepted = time.monotonic() + PATIENCE  # the kernel connects before the server takes it
        while mine not in held_by_others():
            assert time.monotonic() < accepted
            time.sleep(0.05)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with contextlib.suppress(ConnectionError):
            for _ in range(20):  # more than any buffer on the way holds
                sock.sendall(
                    b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json"
                    b"\r\nauthorization: Bearer " + KEY.encode() + b"\r\n"
                    b"content-length: %d\r\n\r\n" % len(body) + body
                )
        until = time.monotonic() + PATIENCE
        while mine in held_by_others():
            assert time.monotonic() < until
            time.sleep(0.1)
    assert post(hasty, asked()).status_code == 200


def held_by_others() -> set[int]:
    """The ports of the other ends of connections that some other process holds."""
    found = psutil.net_connections("tcp")
    return {each.raddr.port for each in found if each.raddr and each.pid not in (None, os.getpid())}


def test_a_body_of_unknown_fields_costs_little() -> None:
    """While the service reads a body it answers nobody else."""
    body = b'{"model":"tiny","input":"a",%s}' % b",".join(b'"%x":1' % n for n in range(10**5))
    tracemalloc.start()
    try:
        with pytest.raises(ValidationError) as caught:
            _Asked.model_validate_json(body)
        assert _faults(caught.value) == "100000 fields are wrong or unknown"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * len(body)


def test_a_full_queue_answers_429_and_loses_nothing(model: Path) -> None:
    with serving(model, "--max-pending", "2") as url, ThreadPoolExecutor(12) as pool:
        body = asked(input=["a " * 16] * 2000, encoding_format="base64")
        found = list(pool.map(lambda _: post(url, body), range(24)))
        codes = [each.status_code for each in found]
        assert {*codes} == {200, 429}
        for each in found:
            if each.status_code == 429:
                assert int(each.headers["retry-after"]) >= 1
                assert each.json()["error"]["type"] == "rate_limit_error"
            else:
                assert len(each.json()["data"]) == 2000
        assert post(url, asked()).status_code == 200


def test_a_client_that_goes_away_costs_nothing_more(model: Path) -> None:
    with serving(model) as url:

        def metric(name: str) -> float:
            page = requests.get(f"{url}/metrics", timeout=PATIENCE).text
            (value,) = re.findall(rf"^ortmill_{re.escape(name)} (\S+)$", page, re.MULTILINE)
            return float(value)

        body = json.dumps(asked(input=["a " * 16] * 2048)).encode()
        for _ in range(10):
            before = metric("texts_total")
            with connected(url) as sock:
                sock.sendall(
                    b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\n"
                    b"content-type: application/json\r\n"
                    b"content-length: %d\r\n\r\n" % len(body) + body
                )
                while metric("texts_total") == before:  # until it is being embedded
                    time.sleep(0.001)
        assert post(url, asked()).status_code == 200
        while metric("pending"):
            time.sleep(0.01)
        gone = metric('requests_total{status="499"}')
        assert 0 < metric("texts_total") < gone * 2048 / 2


def test_an_answer_does_not_wait_for_the_clients_ack() -> None:
    """asyncio turns Nagle's algorithm off only for a socket that says it is TCP."""
    options = HttpOptions(host="127.0.0.1", port=0, key_file=None, client_seconds=1, grace=1)

    async def accepted() -> int:
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            sock = writer.get_extra_info("socket")
            found.set_result(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        sock = _bound(options)
        async with await asyncio.start_server(connected, sock=sock):
            _, writer = await asyncio.open_connection(*sock.getsockname())
            writer.close()
            return await found

    assert asyncio.run(accepted()) != 0


def test_many_clients_at_once_get_their_own_answers(url: str, model: Path) -> None:
    texts = [" ".join(f"w{(number * step) % 30}" for step in range(1, 8)) for number in range(200)]
    with Embedder.from_recipe(model, TINY) as embedder:
        wanted = embedder.embed(texts)
    barrier = threading.Barrier(16)

    def ask(which: int) -> None:
        barrier.wait()
        with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY) as client:
            for number in range(which, 200, 16):
                found = client.embeddings.create(model="tiny", input=texts[number])
                assert np.abs(np.array(found.data[0].embedding) - wanted[number]).max() < 1e-6

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(16)))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--host", "0.0.0.0"), "no API key"),
        (("--host", "192.0.2.1", "--api-key-file", "KEY"), "Nobody can listen"),
        (("--api-key-file", "none"), "cannot be read"),
        (("--api-key-file", "EMPTY"), "holds no API key"),
        (("--api-key-file", "UMLAUT"), "no client can send"),
        (("--client-timeout", "0"), "no client is that fast"),
        (("--port", "65536"), "no port"),
    ],
)
def test_what_it_does_not_start_with(
    model: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "KEY").write_text(KEY)
    (tmp_path / "EMPTY").write_text(" \n")
    (tmp_path / "UMLAUT").write_text("Schlüssel", "utf-8")
    done = subprocess.run(
        command(model, *words),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ORTMILL_API_KEY": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_does_not_load_ends_it(model: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [*command(model), "--models", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 3
    assert "no tokenizer" in done.stderr
