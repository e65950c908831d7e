"""Sessions are thin: each makes an environment and calls `python -m build` or `python -m verify`.

Arguments after `--` go to that command, `--help` included.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "none"
nox.options.error_on_missing_interpreters = True

HERE = Path(__file__).parent
LOCKS = {
    "build": "build/requirements.txt",
    "verify": "verify/requirements/host.txt",
    "tests": "tests/requirements.txt",
    "docs": "docs/requirements.txt",
}


def environment(session: nox.Session, name: str) -> str:
    """Return the Python of the environment ``name``, made anew when its lock has changed.

    Several sessions share one environment, and one that stands costs no time: a second
    `nox -s build` is to end at once. pip installs, so that pip's configuration counts.
    """
    lock = HERE / LOCKS[name]
    folder = HERE / ".nox" / name
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    wanted = f"{hashlib.sha256(lock.read_bytes()).hexdigest()} {sys.version}"
    stamp = folder / "ortmill.stamp"
    if not (python.exists() and stamp.exists() and stamp.read_text() == wanted):
        session.run(
            sys.executable, "-m", "venv", "--clear", str(folder), external=True, silent=True
        )
        session.run(
            str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            "--require-hashes", "--no-deps", "--requirement", str(lock), external=True,
        )  # fmt: skip
        stamp.write_text(wanted)
    return str(python)


def ortmill(session: nox.Session, package: str, *command: str) -> None:
    """Run ``python -m build …`` or ``python -m verify …`` in its environment."""
    python = environment(session, package.partition(".")[0])
    session.run(python, "-m", package, *command, external=True)


def fetch_asked(session: nox.Session) -> None:
    """Fetch the files of the model that the session's words are about, to where they look."""
    asked = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    asked.add_argument("--model", nargs="?")
    asked.add_argument("--models", nargs="?")
    asked.add_argument("--work", nargs="?")
    words = list(session.posargs)
    given, _ = asked.parse_known_args(words)
    # Files that the user brings are the user's: the verification checks them.
    theirs = given.models or str(given.model).lower().endswith(".onnx")
    if not theirs and not {"--help", "-h"} & set(words):
        place = ["--work", given.work] if given.work else []
        model = [given.model] if given.model else []
        ortmill(session, "build", "fetch-model", "--quiet", *place, *model)


def with_model(session: nox.Session, command: str) -> None:
    """Run a command of the verification once the files of the model that it is about are there."""
    fetch_asked(session)
    ortmill(session, "verify", command, *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Build the wheel and the native SDK into wheels/."""
    ortmill(session, "build", "run", *session.posargs)


@nox.session
def fetch(session: nox.Session) -> None:
    """Fetch and check every input and the model; after it, `nox -s build -- --offline` works."""
    ortmill(session, "build", "fetch", *session.posargs)
    ortmill(session, "build", "fetch-model", *(a for a in session.posargs if a == "--offline"))
    environment(session, "verify")


@nox.session
def plan(session: nox.Session) -> None:
    """Print what a build would run: `nox -s plan -- --platform macos-arm64`."""
    ortmill(session, "build", "plan", *session.posargs)


@nox.session
def doctor(session: nox.Session) -> None:
    """Say what this machine can do, each lack with its mend, and the plan's decision points."""
    ortmill(session, "build", "doctor", *session.posargs)
    python = environment(session, "verify")
    # Open points are no fault of this machine's: nothing may be built or verified yet.
    session.run(python, "-m", "verify", "decisions", external=True, success_codes=[0, 1, 2])


@nox.session
def index(session: nox.Session) -> None:
    """Write wheels/simple, a private package index that pip installs from."""
    ortmill(session, "build", "index", *session.posargs)


@nox.session
def verify(session: nox.Session) -> None:
    """Install the built wheel into a clean environment and prove what it can do."""
    with_model(session, "run")


@nox.session
def inspect(session: nox.Session) -> None:
    """Compare the built wheel with the official one: the same files, and binaries no weaker."""
    ortmill(session, "build", "inspect", *session.posargs)


@nox.session
def pins(session: nox.Session) -> None:
    """Write another version's recipe: `-- 1.32.0`; say which pins no longer hold: `-- --check`."""
    words = [word for word in session.posargs if word != "--check"]
    verb = "pins" if "--check" in session.posargs else "new"
    ortmill(session, "build", "recipe", verb, *words)


@nox.session
def surface(session: nox.Session) -> None:
    """Check the Apple declarations of the cross build against the sources, the docs and pyobjc."""
    session.run(
        environment(session, "tests"), "-m", "tests.surface", *session.posargs,
        external=True, env={"PYTHONPATH": str(HERE)},
    )  # fmt: skip


@nox.session
def differential(session: nox.Session) -> None:
    """Compare the built wheel's answers with the official wheel's, case by case."""
    archive = session.run(
        environment(session, "build"), "-m", "build", "input", "--name", "onnx", "--quiet",
        external=True, silent=True,
    )  # fmt: skip
    ortmill(
        session, "verify", "differential", "--onnx-archive", str(archive).strip().splitlines()[-1],
        *session.posargs,
    )  # fmt: skip


@nox.session
def model(session: nox.Session) -> None:
    """Build the encoder's family of graphs, or fix a model of your own: `-- --help`."""
    with_model(session, "model")


@nox.session
def coverage(session: nox.Session) -> None:
    """Show into how many partitions CoreML cuts a model, and what it leaves behind."""
    with_model(session, "coverage")


@nox.session
def frontier(session: nox.Session) -> None:
    """Measure what each form of the encoder for the CPU keeps and costs."""
    with_model(session, "frontier")


@nox.session
def conversion(session: nox.Session) -> None:
    """Evaluate the programs that the CoreML provider emits, operation by operation."""
    with_model(session, "conversion")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests; no network is needed once their environment exists."""
    session.run(
        environment(session, "tests"), "-m", "pytest", *session.posargs,
        external=True, env={"PYTHONPATH": str(HERE)},
    )  # fmt: skip


@nox.session
def sdk(session: nox.Session) -> None:
    """Build and run the SDK's users in Rust, Go, C and C++ (needs crates and Go modules)."""
    ortmill(session, "build", "fetch-model", "--quiet")
    session.run(
        environment(session, "tests"), "-m", "pytest", "tests/consumers",
        "-m", "integration or network", *session.posargs,
        external=True, env={"PYTHONPATH": str(HERE)},
    )  # fmt: skip


@nox.session
def paths(session: nox.Session) -> None:
    """Measure the four ways to a vector side by side: in the process, bridge, Candle, CPU."""
    if not {"--help", "-h"} & set(session.posargs):
        ortmill(session, "build", "fetch-model", "--quiet")
    session.run(
        environment(session, "tests"), "-m", "tests.paths", *session.posargs,
        external=True, env={"PYTHONPATH": str(HERE)},
    )  # fmt: skip


@nox.session
def bridge(session: nox.Session) -> None:
    """Use the bridge hard and measure it: `-- soak`, `-- latency`, `-- load`."""
    if not {"--help", "-h"} & set(session.posargs):
        ortmill(session, "build", "fetch-model", "--quiet")
    session.run(
        environment(session, "tests"), "-m", "tests.bridge", *(session.posargs or ["soak"]),
        external=True, env={"PYTHONPATH": str(HERE)},
    )  # fmt: skip


@nox.session
def env(session: nox.Session) -> None:
    """Print what a program needs to find the SDK: `-- --shell fish`, `-- --cargo-config`."""
    ortmill(session, "build", "env", *session.posargs)


@nox.session
def emulate(session: nox.Session) -> None:
    """Run a linux-aarch64 wheel in emulation: its kernels, its answers, its embeddings."""
    ortmill(session, "build", "fetch-model", "--quiet")
    wheels = sorted((HERE / "wheels" / "linux-aarch64").glob("*.whl"))
    named = any(word.endswith(".whl") for word in session.posargs)
    session.run(
        environment(session, "tests"), "-m", "tests.emulation.run",
        *([] if named else [str(each) for each in wheels[-1:]]), *session.posargs,
        external=True, env={"PYTHONPATH": str(HERE)},
    )  # fmt: skip


@nox.session
def rehearse(session: nox.Session) -> None:
    """Walk the way through upstream against a GitHub of our own: fetch, build, verify."""
    session.run(
        environment(session, "tests"), "-m", "tests.rehearsal",
        "--build-python", environment(session, "build"),
        "--verify-python", environment(session, "verify"), *session.posargs,
        external=True, env={"PYTHONPATH": str(HERE)},
    )  # fmt: skip


@nox.session(name="rehearse-mac")
def rehearse_mac(session: nox.Session) -> None:
    """Rehearse a Mac of stand-ins: its native build, and the verification, whole."""
    session.run(
        environment(session, "tests"), "-m", "tests.rehearsal_mac",
        "--build-python", environment(session, "build"),
        "--verify-python", environment(session, "verify"), *session.posargs,
        external=True, env={"PYTHONPATH": str(HERE)},
    )  # fmt: skip


@nox.session
def lint(session: nox.Session) -> None:
    """Run every hook of .pre-commit-config.yaml on all files: style, spelling, workflows."""
    python = environment(session, "tests")
    session.run(python, "-m", "pre_commit", "run", "--all-files", *session.posargs, external=True)
    # What is not yet added to git: pre-commit passes it over.
    session.run(python, "-m", "ruff", "check", ".", external=True)
    session.run(python, "-m", "ruff", "format", "--check", ".", external=True)


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy."""
    session.run(environment(session, "tests"), "-m", "mypy", external=True)


@nox.session
def bench(session: nox.Session) -> None:
    """Print the error rates of the latency gate on synthetic latencies."""
    session.run(
        environment(session, "tests"), "-m", "tests.bench.gate_error", *session.posargs,
        external=True, env={"PYTHONPATH": str(HERE)},
    )  # fmt: skip


@nox.session
def docs(session: nox.Session) -> None:
    """Make the documentation's site into .work/site; a warning or a dead link is an error."""
    session.run(
        environment(session, "docs"), "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html",
        "docs", ".work/site", *session.posargs, external=True,
    )  # fmt: skip


@nox.session
def gen(session: nox.Session) -> None:
    """Write every generated file; `-- --check` fails when one is stale and names it."""
    session.run(
        environment(session, "tests"), "-m", "tests.gen", *session.posargs,
        external=True, env={"PYTHONPATH": str(HERE)},
    )  # fmt: skip


@nox.session
def lock(session: nox.Session) -> None:
    """Compile every lock file again from its .in file (needs a network)."""
    folder = HERE / ".nox" / "lock"
    session.run(sys.executable, "-m", "venv", "--clear", str(folder), external=True, silent=True)
    session.run(str(folder / "bin" / "pip"), "install", "--quiet", "uv", external=True)
    inputs = [
        *(str(Path(path).with_suffix(".in")) for path in LOCKS.values()),
        "verify/requirements/target.in",
        "verify/requirements/target-numpy1.in",
        "recipes/tools/requirements.in",
    ]
    for source in inputs:
        session.run(
            str(folder / "bin" / "uv"), "pip", "compile", "--quiet", "--universal",
            "--python-version", "3.11", "--generate-hashes", "--no-annotate", "--no-header",
            "--no-emit-index-url", "--no-emit-find-links", *session.posargs,
            source, "--output-file", str(Path(source).with_suffix(".txt")), external=True,
        )  # fmt: skip
    # For another platform alone, so not universal: what the emulated wheel needs beside it.
    session.run(
        str(folder / "bin" / "uv"), "pip", "compile", "--quiet",
        "--python-platform", "aarch64-manylinux_2_28", "--python-version", "3.11",
        "--only-binary", ":all:", "--generate-hashes", "--no-annotate", "--no-header",
        "--no-emit-index-url", "--no-emit-find-links", *session.posargs,
        "tests/emulation/requirements.in",
        "--output-file", "tests/emulation/requirements.txt", external=True,
    )  # fmt: skip


@nox.session
def references(session: nox.Session) -> None:
    """Compute a model's reference embeddings again, in float64: `-- --model NAME`."""
    python = environment(session, "tests")
    if "torch" in session.posargs:
        folder = HERE / ".nox" / "references"
        python = str(folder / "bin" / "python")
        session.run(sys.executable, "-m", "venv", str(folder), external=True, silent=True)
        session.run(
            python, "-m", "pip", "install", "--quiet", "torch==2.13.0", "numpy==2.4.6", "scipy",
            "onnx", "tokenizers", "pydantic", external=True,
        )  # fmt: skip
    fetch_asked(session)
    session.run(
        python, "-m", "tests.references", *session.posargs, external=True,
        env={"PYTHONPATH": str(HERE)},
    )  # fmt: skip
