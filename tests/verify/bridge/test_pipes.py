"""The service as a process: the protocol on its pipes, its ends, and nothing else on its output."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shlex
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.kit import tiny_model
from tests.kit.verify_examples import TINY
from verify import Embedder

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[3]
# Seconds against a hang: what takes longer is no slow machine.
PATIENCE = 100.0
HELLO = {"op": "hello", "versions": [1], "id": "hello"}
LIBRARY_THAT_PRINTS = """
import os, sys
os.write(1, b"printed by a library\\n")
print("printed by Python", flush=True)
os.system("echo printed by a child; cat")
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("model"))


def command(model: Path, *words: str) -> list[str]:
    options = ["--model", str(model / "tiny.toml"), "--models", str(model), *words]
    return [sys.executable, "-m", "verify", "bridge", *options]


class Client:
    """A parent that speaks lines."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self.input, self.output = process.stdin, process.stdout

    def send(self, *messages: object) -> None:
        for each in messages:
            raw = each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n"
            self.input.write(raw)
        self.input.flush()

    def reply(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.output.readline())
        return found

    def ask(self, *messages: object) -> dict[str, Any]:
        self.send(*messages)
        return self.reply()

    def end(self) -> tuple[int, str]:
        self.input.close()
        assert self.output.read() == b""
        assert self.process.stderr is not None
        return self.process.wait(PATIENCE), self.process.stderr.read().decode()


@contextmanager
def serving(model: Path, *words: str, hello: bool = True, **more: Any) -> Iterator[Client]:
    process = subprocess.Popen(
        command(model, *words),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **more,
    )
    with process:
        try:
            client = Client(process)
            if hello:
                assert client.ask(HELLO)["ok"]
            yield client
        finally:
            process.kill()
            with contextlib.suppress(BrokenPipeError):  # what it will not read any more
                process.stdin.close()


def test_a_conversation(model: Path) -> None:
    texts = ["a b", "c", "a " * 30]
    with Embedder.from_recipe(model, TINY) as embedder:
        wanted = embedder.embed(texts)
    with serving(model, hello=False) as client:
        hello = client.ask(HELLO)
        assert (hello["id"], hello["version"], hello["model"]) == ("hello", 1, "tiny")
        assert (hello["dimensions"], hello["provider"]) == (16, "cpu")
        found = client.ask({"op": "embed", "id": 1, "texts": texts})
        assert (found["id"], found["ok"], found["dimensions"]) == (1, True, 16)
        assert found["tokens"] == 4 + 3 + 16
        assert np.abs(np.array(found["vectors"]) - wanted).max() < 1e-6
        found = client.ask({"op": "embed", "id": "1", "texts": texts, "encoding": "base64"})
        rows = [np.frombuffer(base64.b64decode(row), "<f4") for row in found["vectors"]]
        assert np.abs(np.array(rows) - wanted).max() < 1e-6
        # A request is pending until its answer is written, which is a moment after it can be read.
        while (health := client.ask({"op": "health", "id": 2}))["pending"]:
            time.sleep(0.01)
        assert health == {"id": 2, "ok": True, "status": "ready", "pending": 0, "pending_bytes": 0}
        stats = client.ask({"op": "stats", "id": 3})
        assert (stats["requests"], stats["texts"], stats["tokens"]) == (2, 6, 46)
        assert stats["rss_bytes"] > 10_000_000
        assert stats["latency_ms"]["p95"] > 0
        assert client.end() == (0, "")


def test_the_precision_is_served_and_named(model: Path) -> None:
    with Embedder.from_recipe(model, TINY, precision="int8") as embedder:
        wanted = embedder.embed(["a b c"])
    with serving(model, "--precision", "int8", hello=False) as client:
        hello = client.ask(HELLO)
        assert (hello["precision"], hello["precision_why"]) == ("int8", "asked for")
        found = client.ask({"op": "embed", "id": 1, "texts": ["a b c"]})
        assert np.abs(np.array(found["vectors"]) - wanted).max() < 1e-6
        assert client.ask({"op": "stats", "id": 2})["precision"] == "int8"
        assert client.end() == (0, "")
    with serving(model, "--precision", "auto", hello=False) as client:
        hello = client.ask(HELLO)
        assert hello["precision"] == "fp32"
        assert "no form is proven" in hello["precision_why"] or "no fast" in hello["precision_why"]
        assert client.end() == (0, "")


def test_mistakes_are_answered_and_the_process_lives_on(model: Path) -> None:
    with serving(model, hello=False) as client:
        early = client.ask({"op": "embed", "id": 7, "texts": ["a"]})
        assert (early["id"], early["error"]["code"]) == (7, "hello_first")
        assert client.ask({"op": "health", "id": 8})["ok"]
        other = client.ask({"op": "hello", "versions": [2, 3]})
        assert other["error"]["code"] == "unsupported_version"
        assert client.ask(HELLO)["ok"]
        for line, code in (
            (b"{\n", "invalid_json"),
            (b"\xff\xfe\n", "invalid_json"),
            (b"x" * (9 * 2**20) + b"\n", "too_large"),
        ):
            assert client.ask(line)["error"]["code"] == code
        many = client.ask({"op": "embed", "id": 9, "texts": ["a"] * 2049})
        assert (many["id"], many["error"]["code"]) == (9, "too_large")
        long = client.ask({"op": "embed", "id": 9, "texts": ["é" * 150_000]})
        assert (long["id"], long["error"]["code"]) == (9, "too_large")
        assert client.ask({"op": "embed", "id": 9, "texts": ["a"]})["ok"]
        assert client.end() == (0, "")


def test_queries_and_passages(model: Path, tmp_path: Path) -> None:
    """A model with prefixes gets them; a request that does not say which is refused."""
    recipe = tmp_path / "prefixed.toml"
    text = (model / "tiny.toml").read_text()
    recipe.write_text(text.replace('query_prefix = ""', 'query_prefix = "w1 w2 "'))
    place = ["--model", str(recipe)]
    with serving(model, *place) as client:
        silent = client.ask({"op": "embed", "id": 1, "texts": ["a"]})
        assert silent["error"]["code"] == "invalid_text"
        query = client.ask({"op": "embed", "id": 2, "texts": ["a"], "kind": "query"})
        plain = client.ask({"op": "embed", "id": 3, "texts": ["w1 w2 a"], "kind": "plain"})
        assert (query["tokens"], query["vectors"]) == (plain["tokens"], plain["vectors"])
    with serving(model, *place, "--kind", "query") as client:
        assert client.ask({"op": "embed", "id": 1, "texts": ["a"]})["vectors"] == query["vectors"]


def test_frames(model: Path) -> None:
    def frame(body: bytes) -> bytes:
        return struct.pack("<I", len(body)) + body

    def text(data: object) -> bytes:
        return b"\0" + json.dumps(data).encode()

    with serving(model, "--wire", "frames", hello=False) as client:

        def body() -> bytes:
            (length,) = struct.unpack("<I", client.output.read(4))
            return client.output.read(length)

        client.send(frame(text(HELLO)))
        assert json.loads(body()[1:])["dimensions"] == 16
        words = [b"a b", "é".encode()]
        packed = b"".join(struct.pack("<I", len(word)) + word for word in words)
        client.send(frame(struct.pack("<BQI", 1, 77, 2) + packed))
        answer = body()
        assert struct.unpack_from("<BQIII", answer) == (2, 77, 2, 16, 7)
        rows = np.frombuffer(answer[21:], "<f4").reshape(2, 16)
        assert np.abs(np.linalg.norm(rows, axis=1) - 1).max() < 1e-5
        client.send(frame(b"\x09"), frame(text({"op": "embed", "id": "t", "texts": ["a b"]})))
        assert json.loads(body()[1:])["error"]["code"] == "unknown_op"
        found = json.loads(body()[1:])
        assert np.abs(np.array(found["vectors"][0]) - rows[0]).max() < 1e-6
        client.send(frame(struct.pack("<BQI", 1, 78, 1)))
        assert json.loads(body()[1:])["id"] == 78
        client.send(b"\x05\0\0")
        client.input.close()
        assert json.loads(body()[1:])["error"]["code"] == "invalid_json"
        assert client.process.wait(PATIENCE) == 0


def test_only_the_protocol_reaches_the_parent(model: Path, tmp_path: Path) -> None:
    """A native library that prints, a print() and a child process go to standard error."""
    package = tmp_path / "onnxruntime"
    package.mkdir()
    real = __import__("onnxruntime").__path__[0]
    load = f"__path__[:] = [{real!r}]\n__file__ = {real + '/__init__.py'!r}\n"
    load += "exec(compile(open(__file__).read(), __file__, 'exec'))\n"
    (package / "__init__.py").write_text(LIBRARY_THAT_PRINTS + load)
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with serving(model, env=env) as client:
        assert client.ask({"op": "embed", "id": 1, "texts": ["a"]})["ok"]
        code, said = client.end()
        assert code == 0
        assert said.splitlines() == [
            f"printed by {who}" for who in ("a library", "Python", "a child")
        ]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_a_parent_that_gives_no_pipe_is_told(model: Path, closed: str) -> None:
    line = f"{shlex.join(command(model))} {closed}"
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "Standard input or output is closed." in done.stderr or "2>&-" in closed


def test_a_pipe_that_does_not_block_is_no_closed_one(model: Path) -> None:
    """Who shares it with an event loop, as Node does, hands it on so."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    asked = [HELLO, *({"op": "embed", "id": each, "texts": ["a"] * 500} for each in range(20))]
    with (
        subprocess.Popen(
            command(model), cwd=ROOT, stdin=subprocess.PIPE, stdout=writing
        ) as process,
        open(reading, "rb") as output,
    ):
        os.close(writing)
        assert process.stdin is not None
        process.stdin.write(b"".join(json.dumps(each).encode() + b"\n" for each in asked))
        process.stdin.close()
        time.sleep(2)  # the pipe is full by then
        assert len(output.read().splitlines()) == len(asked)
        assert process.wait(PATIENCE) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="NOT SHOWN: there is no /dev/full")
def test_a_reply_that_cannot_be_written_is_told(model: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command(model),
            cwd=ROOT,
            input=b"{\n",
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, b"disk is full" in done.stderr) == (3, True)


def test_what_is_pending_at_the_end_of_the_input_is_answered(model: Path) -> None:
    asked = [{"op": "embed", "id": number, "texts": ["a b c"]} for number in range(200)]
    lines = b"".join(json.dumps(each).encode() + b"\n" for each in [HELLO, *asked])
    done = subprocess.run(
        command(model), cwd=ROOT, input=lines + b'{"op":"he', capture_output=True, check=True
    )
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(each["id"] for each in replies if each["ok"] and each["id"] != "hello") == [
        *range(200)
    ]
    assert [each["error"]["code"] for each in replies if not each["ok"]] == ["invalid_json"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(model: Path, number: int) -> None:
    with serving(model) as client:
        client.send(*({"op": "embed", "id": each, "texts": ["a"] * 50} for each in range(100)))
        assert client.reply()["ok"]
        client.process.send_signal(number)
        replies = [json.loads(line) for line in client.output.readlines()]
        assert client.process.wait(PATIENCE) == 0
        assert all(each["ok"] for each in replies)


def test_a_signal_with_a_full_queue_leaves_nothing_unanswered(model: Path) -> None:
    """All that was read is answered, taken or not."""
    with serving(model, "--max-pending", "2") as client:
        writer = threading.Thread(target=flood, args=(client, 500), daemon=True)
        writer.start()
        assert client.reply()["ok"]
        client.process.send_signal(signal.SIGTERM)
        replies = [json.loads(line) for line in client.output.readlines()]
        refused = [each for each in replies if not each["ok"]]
        assert {each["error"]["code"] for each in refused} <= {"shutting_down"}
        assert client.process.wait(PATIENCE) == (3 if refused else 0)
        ids = sorted(each["id"] for each in replies)
        assert ids == list(range(1, len(ids) + 1))  # the first was read before


def test_a_parent_that_reads_nothing_cannot_keep_it(model: Path) -> None:
    with serving(model, "--grace", "0.5") as client:
        write = threading.Thread(target=flood, args=(client, 20), daemon=True)
        write.start()
        time.sleep(1)
        began = time.monotonic()
        client.process.send_signal(signal.SIGTERM)
        assert client.process.wait(PATIENCE) == 3
        assert time.monotonic() - began < 9  # by itself it would wait for ten seconds
        write.join(PATIENCE)


def flood(client: Client, texts: int) -> None:
    try:
        for number in range(100_000):
            client.send({"op": "embed", "id": number, "texts": ["a b c"] * texts})
    except BrokenPipeError:
        return


def test_a_slow_reader_holds_the_writer_back_and_loses_nothing(model: Path) -> None:
    with serving(model, "--max-pending", "8") as client:
        rss = client.ask({"op": "stats", "id": "s"})["rss_bytes"]
        count = 2000
        sent = 0

        def write() -> None:
            nonlocal sent
            for sent in range(count):
                client.send({"op": "embed", "id": sent, "texts": ["a b c"] * 20})

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        time.sleep(1.5)
        assert sent < count - 1  # it is held back
        found = [client.reply() for _ in range(count)]
        writer.join(PATIENCE)
        assert sorted(each["id"] for each in found) == list(range(count))
        assert all(each["ok"] for each in found)
        assert client.ask({"op": "stats", "id": "s"})["rss_bytes"] < rss + 30_000_000
        assert client.end()[0] == 0


def test_a_cancelled_request_is_answered_so(model: Path) -> None:
    with serving(model) as client:
        client.send({"op": "embed", "id": 1, "texts": ["a " * 16] * 2000})
        client.send({"op": "embed", "id": 1, "texts": ["a"]})
        client.send({"op": "cancel", "id": 2, "target": 1})
        client.send({"op": "cancel", "id": 3, "target": 1})
        replies = [client.reply() for _ in range(4)]
        assert replies[0]["id"] is None
        assert replies[0]["error"]["code"] == "duplicate_id"
        assert replies[1]["id"] == 1
        assert replies[1]["error"]["code"] == "cancelled"
        assert replies[2] == {"id": 2, "ok": True, "cancelled": True}
        assert replies[3] == {"id": 3, "ok": True, "cancelled": False}
        assert client.end() == (0, "")


def test_the_death_of_the_parent_ends_it(model: Path) -> None:
    """The parent is killed by SIGKILL, with requests under way."""
    parent = f"""
import json, subprocess, sys, time
child = subprocess.Popen({command(model)!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdin.write(b'{json.dumps(HELLO)}\\n')
child.stdin.flush()
child.stdout.readline()
for number in range(5):
    line = json.dumps({{"op": "embed", "id": number, "texts": ["a b c"] * 2000}})
    child.stdin.write(line.encode() + b"\\n")
child.stdin.flush()
print(child.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", parent], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
    until = time.monotonic() + PATIENCE
    while alive(pid):
        assert time.monotonic() < until
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """A process that nobody has waited for yet is dead all the same."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def test_a_model_that_is_not_there(model: Path, tmp_path: Path) -> None:
    with serving(tmp_path, "--model", str(model / "tiny.toml"), hello=False) as client:
        replies = [client.ask(HELLO), client.ask({"op": "embed", "id": 1, "texts": ["a"]})]
        assert [each["error"]["code"] for each in replies] == ["model", "model"]
        assert "no tokenizer" in replies[0]["error"]["message"]
        assert replies[0]["error"]["hint"]
        code, said = client.end()
        assert code == 3
        assert "no tokenizer" in said
