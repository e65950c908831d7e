"""The ways of docs/deployment.md, carried out by the lines that are written there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.consumers.sample import CUT, TOLERANCE, Sample
from tests.consumers.toolchains import HERE, ROOT, not_shown, run, tool

pytestmark = pytest.mark.integration

PAGE = ROOT / "docs" / "deployment.md"
# What the lines change is in memory, and gone with the namespace.
PRIVATE = """
set -eu
for folder in /etc /usr/local/lib /usr/local/include /var/cache; do
  mkdir -p "$KEEP$folder"; cp -a "$folder/." "$KEEP$folder/" 2>/dev/null || true
  mount --bind "$KEEP$folder" "$folder"
done
"""


def lines(name: str) -> str:
    """Return the commands that the page marks with ``<!-- run: name -->``."""
    (found,) = re.findall(
        rf"<!-- run: {name} -->\n```console\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL
    )
    return str(found)


def place(folder: Path) -> Path:
    (folder / "app").mkdir(parents=True)
    shutil.copy(HERE / "c" / "embed.c", folder)
    tool("cc")
    tool("pkg-config")
    return folder


def test_beside_the_program_the_folder_may_be_moved(
    sdk: Path, sample: Sample, tmp_path: Path
) -> None:
    folder = place(tmp_path / "a place")
    plain = tmp_path / "sdk"
    plain.symlink_to(sdk)
    run(["bash", "-euc", lines("beside")], cwd=folder, env={"SDK": str(plain)})
    moved = tmp_path / "another place"
    folder.rename(moved)
    run(
        ["env", "-i", moved / "app/embed", sample.graph(CUT), sample.ids_file, tmp_path / "out"],
        cwd=tmp_path,
    )
    assert sample.difference(tmp_path / "out", cut=CUT) <= TOLERANCE
    loaded = run(["ldd", moved / "app/embed"])
    assert str(moved / "app/libonnxruntime.so") in loaded


def test_for_the_whole_system_nothing_needs_to_be_said(
    sdk: Path, sample: Sample, tmp_path: Path
) -> None:
    enter = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*enter, "true"], capture_output=True, check=False).returncode:
        not_shown("this machine gives an ordinary user no namespace (`unshare -rm true`)")
    folder = place(tmp_path / "program")
    embed = 'exec env -i ./app/embed "$GRAPH" "$IDS" "$OUT"'
    told = {
        "SDK": str(sdk),
        "KEEP": str(tmp_path / "keep"),
        "GRAPH": str(sample.graph(CUT)),
        "IDS": str(sample.ids_file),
        "OUT": str(tmp_path / "out"),
        "PKG_CONFIG_PATH": "",
        "LD_LIBRARY_PATH": "",
    }
    run([*enter, "bash", "-c", PRIVATE + lines("system") + embed], cwd=folder, env=told)
    assert sample.difference(tmp_path / "out", cut=CUT) <= TOLERANCE
    assert not Path("/usr/local/lib/libonnxruntime.so").exists()
