"""docs/Containerfile: what it starts, its health check, and its build where one works."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.consumers.toolchains import ROOT
from verify.cli import parse

FILE = ROOT / "docs" / "Containerfile"


def instruction(name: str) -> list[str]:
    """Return the words of an instruction in its JSON form."""
    text = FILE.read_text("utf-8").replace("\\\n", " ")
    (words,) = re.findall(rf"^{name}[^\[\n]*(\[.*\])$", text, re.MULTILINE)
    return [str(word) for word in json.loads(words)]


class Health(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    with http.server.HTTPServer(("127.0.0.1", 0), Health) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def test_it_starts_the_service_as_nobody_in_particular() -> None:
    program, *words = instruction("ENTRYPOINT")
    options = parse(["bridge", *words[words.index("bridge") + 1 :]])
    assert program.endswith("/ortmill")
    assert (options.http, options.host, options.port) == (True, "0.0.0.0", 8000)
    last = FILE.read_text("utf-8").rsplit("FROM ", 1)[1]
    assert "\nUSER 10001\n" in last
    assert "EXPOSE 8000" in last


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_tells(
    server: http.server.HTTPServer, monkeypatch: pytest.MonkeyPatch, status: int, code: int
) -> None:
    monkeypatch.setattr(Health, "status", status)
    _, *words = instruction("HEALTHCHECK")
    port = str(server.server_port)
    said = [word.replace("8000", port) for word in words]
    done = subprocess.run([sys.executable, *said], capture_output=True, check=False)
    assert done.returncode == code


def test_what_it_copies_is_there() -> None:
    ignored = (ROOT / "docs" / "Containerfile.dockerignore").read_text("utf-8").split()
    for line in re.findall(r"^COPY (?!--)(.+) \S+$", FILE.read_text("utf-8"), re.MULTILINE):
        for source in line.split():
            assert f"!{source}" in ignored
            assert "*" in source or (ROOT / source).exists()


@pytest.mark.integration
def test_it_builds() -> None:
    builder = next((b for b in ("podman", "docker") if shutil.which(b)), None)
    if (
        builder is None
        or subprocess.run([builder, "info"], capture_output=True, check=False).returncode
    ):
        pytest.skip("LOUD: the image was not built: no container builder works here")
    if not list((ROOT / "wheels").glob("onnxruntime-*-manylinux*.whl")):
        pytest.skip("LOUD: the image was not built: no wheel in wheels/; run `nox -s build`")
    command = [str(builder), "build", "--file", str(FILE), "--tag", "ortmill-test", str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
