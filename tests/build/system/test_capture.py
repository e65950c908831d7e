"""Programs that are asked something: what they print comes back, and they never hang."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from build.errors import Interrupted
from build.system.environment import plain_environment
from build.system.process import capture

ENV = plain_environment(os.environ)


def test_both_streams_the_status_and_the_environment() -> None:
    code = "import os, sys; print(sorted(os.environ)); print('é\\r', file=sys.stderr); sys.exit(3)"
    outcome = capture([sys.executable, "-X", "utf8", "-c", code], env={"A": "1"}, seconds=60)
    assert outcome.code == 3
    assert "'A'" in outcome.out
    assert "'PATH'" not in outcome.out
    assert outcome.err.strip() == "é"


def test_a_daemon_that_stays_behind_is_not_waited_for() -> None:
    code = (
        "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', "
        "'import time; time.sleep(3600)'], start_new_session=True); print(child.pid)"
    )
    # Far beyond what a test may take: who waits for the daemon is ended by the test's own time.
    outcome = capture([sys.executable, "-c", code], env=ENV, seconds=3600)
    os.kill(int(outcome.out), 9)


def test_too_long_and_cancelled(tmp_path: Path) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(TimeoutError, match="took too long"):
        capture(sleep, env=ENV, seconds=0.3)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Interrupted, match="was stopped"):
        capture(sleep, env=ENV, seconds=60, cancel=cancel)
    with pytest.raises(FileNotFoundError):
        capture([str(tmp_path / "none")], env=ENV, seconds=60)
