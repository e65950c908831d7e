"""ortmill: an ONNX Runtime wheel with CoreML from pinned sources, and its proof.

The job is `nox -s build verify`. Sessions, in the order of the list below:

  begin          doctor clean
  build          fetch build plan pins inspect
  prove          verify differential coverage conversion frontier tune beside
                 paths emulate
  use            index env model bridge sdk
  work on it     tests patches lint types docs gen lock references bench surface
                 rehearse rehearse-mac

Words after `--` are the command's own: `nox -s build -- --help`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nox
from filelock import FileLock, Timeout
from nox.command import CommandFailed

if sys.version_info < (3, 11):  # noqa: UP036 - nox itself runs with older ones
    raise SystemExit(
        f"ortmill needs Python 3.11 or newer, and nox runs with {sys.version.split()[0]}: make its "
        "environment with another one, `python3.12 -m venv --clear .venv`, and install nox again"
    )

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
_TO_END_SECONDS = 60.0


def start(session: nox.Session, *words: str, **more: Any) -> Any:
    """Run a program, and leave it the time that it needs to end when Ctrl-C arrives.

    nox alone kills it after half a second: what it had started would go on, compilers among it.
    """
    return session.run(
        *words, external=True, interrupt_timeout=_TO_END_SECONDS,
        terminate_timeout=_TO_END_SECONDS, **more,
    )  # fmt: skip


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

    def stands() -> bool:
        return python.exists() and stamp.exists() and stamp.read_text() == wanted

    if stands():
        return str(python)
    with alone(session, folder.with_suffix(".lock")):
        if not stands():  # whoever held the lock may have made it
            # Whatever the locale is: venv writes the folder's name as UTF-8.
            utf8 = {"PYTHONUTF8": "1"}
            start(
                session, sys.executable, "-m", "venv", "--clear", str(folder), silent=True,
                env=utf8,
            )  # fmt: skip
            try:
                start(
                    session, str(python), "-m", "pip", "install", "--quiet",
                    "--disable-pip-version-check", "--require-hashes", "--no-deps",
                    "--requirement", str(lock), env=utf8,
                )  # fmt: skip
            except CommandFailed:
                session.error(
                    f"pip could not install {LOCKS[name]}, its own lines say why; it asks the "
                    "index of `pip config list`, through HTTPS_PROXY (docs/troubleshooting.md)"
                )
            stamp.write_text(wanted)
    return str(python)


@contextmanager
def alone(session: nox.Session, path: Path) -> Iterator[None]:
    """Hold a lock; wait for another nox in this checkout, and say so."""
    lock = FileLock(path)
    try:
        path.parent.mkdir(exist_ok=True)
        lock.acquire(timeout=0)
    except PermissionError:
        session.error(f"{path.parent} cannot be written: nox runs in a checkout of your own")
    except Timeout:
        session.log(f"another nox is making .nox/{path.stem}; waiting until it ends")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def ortmill(session: nox.Session, package: str, *command: str) -> None:
    """Run ``python -m build …`` or ``python -m verify …`` in its environment."""
    start(session, environment(session, package), "-m", package, *command)


def tool(session: nox.Session, module: str, *command: str, own: str = "") -> None:
    """Run a module with what is installed for the tests, or with the Python ``own``."""
    python = own or environment(session, "tests")
    start(session, python, "-m", module, *command, env={"PYTHONPATH": str(HERE)})


def pythons(session: nox.Session) -> list[str]:
    """Return the words that tell a rehearsal which Pythons run the two packages."""
    names = ("build", "verify")
    return [word for name in names for word in (f"--{name}-python", environment(session, name))]


def help_asked(session: nox.Session) -> bool:
    """Whether nothing but help is wanted, for which no model is fetched."""
    return bool({"--help", "-h"} & set(session.posargs))


def fetch_asked(session: nox.Session) -> None:
    """Fetch the files of the model that the session's words are about, to where they look."""
    asked = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    asked.add_argument("--model", nargs="?")
    asked.add_argument("--models", nargs="?")
    asked.add_argument("--work", nargs="?")
    given, _ = asked.parse_known_args(list(session.posargs))
    # Files that the user brings are the user's: the verification checks them.
    theirs = given.models or str(given.model).lower().endswith(".onnx")
    if not theirs and not help_asked(session):
        place = ["--work", given.work] if given.work else []
        model = [given.model] if given.model else []
        ortmill(session, "build", "fetch-model", "--quiet", *place, *model)


def with_model(session: nox.Session, command: str) -> None:
    """Run a command of the verification once the files of the model that it is about are there."""
    fetch_asked(session)
    ortmill(session, "verify", command, *session.posargs)


# Begin.


@nox.session
def doctor(session: nox.Session) -> None:
    """Say what this machine can do, and which decisions are open."""
    ortmill(session, "build", "doctor", *session.posargs)
    python = environment(session, "verify")
    # Open points are no fault of this machine's: nothing may be built or verified yet.
    start(session, python, "-m", "verify", "decisions", success_codes=[0, 1, 2])


@nox.session
def clean(session: nox.Session) -> None:
    """Remove what can be made again; `-- --all`: downloads as well."""
    ortmill(session, "build", "clean", *session.posargs)


# Build.


@nox.session
def fetch(session: nox.Session) -> None:
    """Fetch every input and the model; then `build -- --offline` works."""
    ortmill(session, "build", "fetch", *session.posargs)
    ortmill(session, "build", "fetch-model", *(a for a in session.posargs if a == "--offline"))
    environment(session, "verify")


@nox.session
def build(session: nox.Session) -> None:
    """Build the wheel and the native SDK into wheels/."""
    ortmill(session, "build", "run", *session.posargs)


@nox.session
def plan(session: nox.Session) -> None:
    """Print what a build would run: `-- --platform macos-arm64`."""
    ortmill(session, "build", "plan", *session.posargs)


@nox.session
def pins(session: nox.Session) -> None:
    """Write another version's recipe (`-- 1.32.0`); `-- --check` the pins."""
    words = [word for word in session.posargs if word != "--check"]
    verb = "pins" if "--check" in session.posargs else "new"
    ortmill(session, "build", "recipe", verb, *words)


@nox.session
def inspect(session: nox.Session) -> None:
    """Compare the wheel's files and hardening with the official one's."""
    ortmill(session, "build", "inspect", *session.posargs)


# Prove.


@nox.session
def verify(session: nox.Session) -> None:
    """Install the wheel into a clean environment and prove what it can do."""
    with_model(session, "run")


@nox.session
def differential(session: nox.Session) -> None:
    """Compare answers with the official wheel's, case by case."""
    archive = start(
        session,
        environment(session, "build"), "-m", "build", "input", "--name", "onnx", "--quiet",
        silent=True,
    )  # fmt: skip
    ortmill(
        session, "verify", "differential", "--onnx-archive", str(archive).strip().splitlines()[-1],
        *session.posargs,
    )  # fmt: skip


@nox.session
def coverage(session: nox.Session) -> None:
    """Show into how many partitions CoreML cuts a model, and why."""
    with_model(session, "coverage")


@nox.session
def conversion(session: nox.Session) -> None:
    """Evaluate the CoreML programs operation by operation."""
    with_model(session, "conversion")


@nox.session
def frontier(session: nox.Session) -> None:
    """Measure what each form of the encoder keeps and costs on the CPU."""
    with_model(session, "frontier")


@nox.session
def tune(session: nox.Session) -> None:
    """Find this machine's fastest settings, for Embedder to read."""
    with_model(session, "tune")


@nox.session
def beside(session: nox.Session) -> None:
    """Measure ours beside official wheels, fastembed; curves; a profile."""
    with_model(session, "beside")


@nox.session
def paths(session: nox.Session) -> None:
    """Measure four ways to a vector: in-process, bridge, Candle, CPU."""
    if not help_asked(session):
        ortmill(session, "build", "fetch-model", "--quiet")
    tool(session, "tests.paths", *session.posargs)


@nox.session
def emulate(session: nox.Session) -> None:
    """Run a linux-aarch64 wheel in emulation."""
    ortmill(session, "build", "fetch-model", "--quiet")
    wheels = sorted((HERE / "wheels" / "linux-aarch64").glob("*.whl"))
    named = any(word.endswith(".whl") for word in session.posargs)
    newest = [] if named else [str(each) for each in wheels[-1:]]
    tool(session, "tests.emulation.run", *newest, *session.posargs)


# Use.


@nox.session
def index(session: nox.Session) -> None:
    """Write wheels/simple, a private package index for pip."""
    ortmill(session, "build", "index", *session.posargs)


@nox.session
def env(session: nox.Session) -> None:
    """Print what a program needs to find the SDK: `-- --shell fish`."""
    ortmill(session, "build", "env", *session.posargs)


@nox.session
def model(session: nox.Session) -> None:
    """Build the encoder's graphs, or fix the axes of your own model."""
    with_model(session, "model")


@nox.session
def bridge(session: nox.Session) -> None:
    """Try the bridge hard and measure it: `-- soak`, `latency`, `load`."""
    if not help_asked(session):
        ortmill(session, "build", "fetch-model", "--quiet")
    tool(session, "tests.bridge", *(session.posargs or ["soak"]))


@nox.session
def sdk(session: nox.Session) -> None:
    """Build and run the SDK's users in Rust, Go, C and C++."""
    ortmill(session, "build", "fetch-model", "--quiet")
    words = ("tests/consumers", "-m", "integration or network")
    tool(session, "pytest", *words, *session.posargs)


# Work on it.


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests; words after `--` are pytest's."""
    tool(session, "pytest", *session.posargs)


@nox.session
def patches(session: nox.Session) -> None:
    """Build without each patch and see its tests fail; `-- cost`."""
    start(
        session,
        environment(session, "tests"), "-m", "tests.bench.patches",
        "--build-python", environment(session, "build"), *session.posargs,
        env={"PYTHONPATH": str(HERE)},
    )  # fmt: skip


@nox.session
def lint(session: nox.Session) -> None:
    """Run every pre-commit hook on all files: style, spelling."""
    python = environment(session, "tests")
    start(session, python, "-m", "pre_commit", "run", "--all-files", *session.posargs)
    # What is not yet added to git: pre-commit passes it over.
    start(session, python, "-m", "ruff", "check", ".")
    start(session, python, "-m", "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy."""
    start(session, environment(session, "tests"), "-m", "mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Make the site in .work/site, strictly; `-- --external`: ask all links."""
    words = [word for word in session.posargs if word != "--external"]
    external = "--external" in session.posargs
    builder, folder = ("linkcheck", ".work/links") if external else ("html", ".work/site")
    start(
        session,
        environment(session, "docs"), "-m", "sphinx", "-W", "--keep-going", "-q", "-b", builder,
        "docs", folder, *words,
    )  # fmt: skip


@nox.session
def gen(session: nox.Session) -> None:
    """Write every generated file; `-- --check` names what is stale."""
    tool(session, "tests.gen", *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Compile every lock file again from its .in file."""
    folder = HERE / ".nox" / "lock"
    start(session, sys.executable, "-m", "venv", "--clear", str(folder), silent=True)
    start(session, str(folder / "bin" / "pip"), "install", "--quiet", "uv")
    inputs = [
        *(str(Path(path).with_suffix(".in")) for path in LOCKS.values()),
        "verify/requirements/target.in",
        "verify/requirements/target-numpy1.in",
        "verify/requirements/fastembed.in",
        "verify/requirements/sentence-transformers.in",
        "recipes/tools/requirements.in",
    ]
    for source in inputs:
        start(
            session, str(folder / "bin" / "uv"), "pip", "compile", "--quiet", "--universal",
            "--python-version", "3.11", "--generate-hashes", "--no-annotate", "--no-header",
            "--no-emit-index-url", "--no-emit-find-links", *session.posargs,
            source, "--output-file", str(Path(source).with_suffix(".txt")),
        )  # fmt: skip
    # For another platform alone, so not universal: what the emulated wheel needs beside it.
    start(
        session,
        str(folder / "bin" / "uv"), "pip", "compile", "--quiet",
        "--python-platform", "aarch64-manylinux_2_28", "--python-version", "3.11",
        "--only-binary", ":all:", "--generate-hashes", "--no-annotate", "--no-header",
        "--no-emit-index-url", "--no-emit-find-links", *session.posargs,
        "tests/emulation/requirements.in",
        "--output-file", "tests/emulation/requirements.txt",
    )  # fmt: skip


@nox.session
def references(session: nox.Session) -> None:
    """Compute a model's reference embeddings again, in float64."""
    python = ""
    if "torch" in session.posargs:
        folder = HERE / ".nox" / "references"
        python = str(folder / "bin" / "python")
        start(session, sys.executable, "-m", "venv", str(folder), silent=True)
        start(
            session, python, "-m", "pip", "install", "--quiet", "torch==2.13.0", "numpy==2.4.6",
            "scipy", "onnx", "tokenizers", "pydantic",
        )  # fmt: skip
    fetch_asked(session)
    tool(session, "tests.references", *session.posargs, own=python)


@nox.session
def bench(session: nox.Session) -> None:
    """Print the latency gate's error rates on synthetic times."""
    tool(session, "tests.bench.gate_error", *session.posargs)


@nox.session
def surface(session: nox.Session) -> None:
    """Check the cross build's declarations of Apple's frameworks."""
    tool(session, "tests.surface", *session.posargs)


@nox.session
def rehearse(session: nox.Session) -> None:
    """Walk the way through upstream against a GitHub of our own."""
    tool(session, "tests.rehearsal", *pythons(session), *session.posargs)


@nox.session(name="rehearse-mac")
def rehearse_mac(session: nox.Session) -> None:
    """Rehearse a Mac of stand-ins: its build and its verification."""
    tool(session, "tests.rehearsal_mac", *pythons(session), *session.posargs)
