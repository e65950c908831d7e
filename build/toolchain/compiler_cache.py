"""The compiler cache: a server of our own for one build, started and stopped with it."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ..system.process import ask


@contextlib.contextmanager
def cache_socket() -> Iterator[str]:
    """Give a socket path for one build's server.

    In the system's temporary folder, because a socket's path may have no more than about a
    hundred characters; of its own, so that neither a server of the user's nor one of another
    build is asked or stopped.
    """
    folder = Path(tempfile.mkdtemp(prefix="ortmill-"))
    try:
        yield str(folder / "s")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def cache_server(
    launcher: Path | None, env: Mapping[str, str], say: Callable[[str], None]
) -> Iterator[None]:
    """Run sccache's server while a build compiles, and say what it saved."""
    if launcher is None:
        yield
        return

    def sccache(*arguments: str) -> str:
        return ask([str(launcher), *arguments], env=env, seconds=60).out

    sccache("--start-server")
    try:
        yield
    finally:
        if text := counts(sccache("--show-stats", "--stats-format=json")):
            say(text)
        sccache("--stop-server")


def counts(answer: str) -> str:
    """Return sccache's JSON statistics as a sentence, or nothing where it compiled nothing."""
    try:
        stats = json.loads(answer)["stats"]
        hits = sum(stats["cache_hits"]["counts"].values())
        misses = sum(stats["cache_misses"]["counts"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    if not hits + misses:
        return ""
    return f"compiler cache: {hits} of {hits + misses} compilations answered from it"
