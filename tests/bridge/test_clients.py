"""Parents in other languages: nothing is lost, nothing is answered wrongly, memory stays flat."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.bridge.clients import WIRES, client, faults, plan, report, running
from tests.kit import tiny_model
from tests.kit.verify_examples import TINY
from verify import Embedder

# Crates are fetched and compiled the first time.
pytestmark = [pytest.mark.integration, pytest.mark.network, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [" ".join(f"w{(first * step) % 33}" for step in range(1, 6)) for first in range(300)]
FLAT = 10_000_000  # bytes between two moments of a life in which memory may differ


@pytest.fixture(scope="module", params=sorted(WIRES))
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> object:
    """Return a client's command, and a function that writes its plan."""
    command = client(request.param)
    model = tiny_model.write(tmp_path_factory.mktemp("model"))
    with Embedder.from_recipe(model, TINY) as embedder:
        vectors = embedder.embed(TEXTS)
    bridge = [sys.executable, "-m", "verify", "bridge", "--wire", WIRES[request.param]]
    bridge += ["--model", str(model / "tiny.toml"), "--models", str(model)]

    def write(**numbers: int) -> Path:
        return plan(tmp_path_factory.mktemp("plan"), bridge, TEXTS, vectors, **numbers)

    return command, write


def test_every_mistake_and_a_bridge_that_is_killed(told: tuple) -> None:
    command, write = told
    with running(command, write(requests=6000, kills=2), ROOT) as process:
        found = report(process)
    assert faults(found) == []
    assert found["refused"] > 100
    assert found["cancelled"] > 0
    assert found["resent"] > 0


def test_memory_stays_flat(told: tuple) -> None:
    command, write = told
    with running(command, write(requests=8000), ROOT) as process:
        found = report(process)
    assert faults(found) == []
    rss = found["rss"]
    assert max(rss[len(rss) // 2 :]) < max(rss[: len(rss) // 2]) + FLAT


def test_the_bridge_dies_with_its_parent(told: tuple) -> None:
    """The parent gets SIGKILL in the middle of everything."""
    command, write = told
    with running(command, write(requests=10**6), ROOT) as process:
        assert process.stdout is not None
        bridge = psutil.Process(json.loads(process.stdout.readline())["pid"])
        time.sleep(1)
        assert bridge.is_running()
        process.kill()
        assert psutil.wait_procs([bridge], timeout=100)[1] == []


def test_a_client_sees_a_wrong_answer(told: tuple, tmp_path: Path) -> None:
    """The clients would notice: their expectations are those of another model here."""
    command, write = told
    path = write(requests=50)
    asked = json.loads(path.read_text())
    expected = Path(asked["expected"])
    expected.write_bytes(expected.read_bytes()[4:] + b"\0\0\0\0")
    with running(command, path, ROOT) as process:
        found = report(process)
    assert any("answered wrongly" in each for each in faults(found))
