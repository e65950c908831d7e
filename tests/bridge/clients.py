"""The parents in Rust and Node: how they are built, what they are told, what they report."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tests.consumers.toolchains import compiled, run, tool

HERE = Path(__file__).resolve().parent
WIRES = {"rust": "frames", "node": "lines"}


def client(language: str) -> list[str]:
    """Return the command of a client, compiled where that is needed."""
    if language == "node":
        return [tool("node"), str(HERE / "node" / "client.mjs")]
    target = compiled() / "bridge"
    cargo = [tool("cargo"), "build", "--release", "--locked", "--quiet"]
    run(cargo, cwd=HERE / "rust", env={"CARGO_TARGET_DIR": str(target)}, timeout=600)
    return [str(target / "release" / "bridge-client")]


def plan(
    folder: Path, argv: Sequence[str], texts: Sequence[str], vectors: Any, **numbers: int
) -> Path:
    """Write what a client is to do: how to start the bridge, texts, and the vectors to expect."""
    expected = folder / "expected.f32"
    expected.write_bytes(np.asarray(vectors, dtype="<f4").tobytes())
    told = {
        "argv": list(argv),
        "texts": list(texts),
        "expected": str(expected),
        "dimensions": len(vectors[0]),
        "window": 64,
        "kills": 0,
        "seed": 1,
        **numbers,
    }
    path = folder / "plan.json"
    path.write_text(json.dumps(told), encoding="utf-8")
    return path


@contextmanager
def running(command: Sequence[str], plan: Path, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a client; it is ended with the block."""
    with subprocess.Popen(
        [*command, str(plan)], cwd=cwd, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def report(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a client and return what it saw.

    Raises
    ------
    AssertionError
        When it ended otherwise than by itself.
    """
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    code = process.wait()
    assert code == 0, f"the client ended with {code}"
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def faults(found: dict[str, Any]) -> list[str]:
    """Return what a run shows that must not be."""
    told = []
    if found["lost"]:
        told.append(f"{found['lost']} were not answered")
    if found["wrong"]:
        told.append(f"{found['wrong']} were answered wrongly, first {found['first_wrong']}")
    if found["answered"] + found["cancelled"] != found["requests"]:
        told.append(f"{found['answered']} + {found['cancelled']} are not {found['requests']}")
    if found["exit"] != 0:
        told.append(f"the bridge ended with {found['exit']}")
    return told
