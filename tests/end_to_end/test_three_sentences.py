"""The lines of docs/rust.md that embed three sentences in every language, typed as they are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from build.tree.workspace import host_platform
from tests.consumers.sample import unpacked_sdk
from tests.consumers.toolchains import ROOT, compiled, tool
from tests.end_to_end.test_distribution import Installed, cached, installed, model, wheel

__all__ = ["cached", "installed", "model", "wheel"]  # the fixtures with the project's own wheel
pytestmark = [pytest.mark.integration, pytest.mark.network]


@pytest.mark.timeout(1200)
def test_every_language_gives_the_same_vectors(installed: Installed, cached: Path) -> None:
    page = (ROOT / "docs" / "rust.md").read_text("utf-8")
    blocks = re.findall(r"<!-- run: three -->\n```console\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 6
    for name in ("cc", "pkg-config", "go", "cargo"):
        tool(name)
    unpacked_sdk(host_platform())
    places = (installed.home / "bin", Path(sys.executable).parent)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=ROOT,
        env={
            **os.environ,
            "PATH": os.pathsep.join([*map(str, places), os.environ["PATH"]]),
            "ORTMILL_CACHE": str(cached.parents[1]),
            "SHELL": "/bin/bash",
            # Minutes of work, the same in all checkouts.
            "CARGO_BUILD_BUILD_DIR": str(compiled() / "cargo"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=1100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(
        r"^(\w+) +cat and kitten (\S+), cat and train (\S+), off by (\S+)$", done.stdout, re.M
    )
    assert {name for name, *_ in rows} == {"python", "c", "go", "rust", "bridge"}
    for name, near, far, off in rows:
        assert float(off) <= 1e-6, name
        assert float(near) > float(far) + 0.3, name
