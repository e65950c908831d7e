"""The tools' wheels and their environment, with the real pip and wheels of our own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from build.errors import IntegrityError
from build.fetch.cache import ContentCache
from build.fetch.context import FetchContext
from build.fetch.http import TransferError
from build.fetch.origins.wheelhouse import (
    fill_wheelhouse,
    find_wheelhouse,
)
from build.toolchain.install import install_tools


def make_wheel(folder: Path, name: str, version: str = "1.0") -> Path:
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        "Requires-Dist: a-project-that-is-nowhere\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, text in (files | {f"{info}/RECORD": record}).items():
            wheel.writestr(member, text)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Bench:
    cache: ContentCache
    links: Path
    lock: Path
    env: dict[str, str]

    def fill(self) -> Path:
        return fill_wheelhouse(self.lock, sha256(self.lock), self.context())

    def context(self) -> FetchContext:
        return FetchContext(cache=self.cache, recipes_dir=self.lock.parent, env=self.env)

    def install(self, folder: Path, python: str = sys.executable) -> Path:
        return install_tools(
            folder,
            wheels=self.fill(),
            lock=self.lock,
            lock_sha256=sha256(self.lock),
            env=self.env,
            python=python,
        )

    def python(self, inside: Path, code: str) -> str:
        done = subprocess.run(
            [inside, "-I", "-c", code], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()


def test_two_checkouts_with_one_interpreter_share_the_tools(bench: Bench, tmp_path: Path) -> None:
    """Each has an environment of its own; the second must not empty what the first runs."""
    tools = tmp_path / "tools"
    bench.install(tools)
    mark = tools / "mark"
    mark.touch()
    other = tmp_path / "other" / "python"
    other.parent.mkdir()
    other.symlink_to(Path(sys.executable).resolve())
    bench.install(tools, python=str(other))
    assert mark.exists()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    links = tmp_path / "links"
    one, two = make_wheel(links, "toolone"), make_wheel(links, "tooltwo")
    lock = tmp_path / "tools.txt"
    lock.write_text(
        f"toolone==1.0 \\\n    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{sha256(one)}\n"
        f"tooltwo==1.0 --hash=sha256:{sha256(two)}\n"
        f'toothree==1.0 ; sys_platform == "none" --hash=sha256:{"1" * 64}\n'
    )
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(links),
        "PYTHONPATH": "/none",
        "PIP_NO_CACHE_DIR": "1",
    }
    return Bench(cache=ContentCache(tmp_path / "a cache"), links=links, lock=lock, env=env)


def test_fill_then_install_without_any_place_to_look(bench: Bench, tmp_path: Path) -> None:
    house = bench.fill()
    assert sorted(path.name for path in house.glob("*.whl")) == [
        "toolone-1.0-py3-none-any.whl",
        "tooltwo-1.0-py3-none-any.whl",
    ]
    assert find_wheelhouse(bench.cache, sha256(bench.lock)) == house
    for wheel in bench.links.iterdir():
        wheel.unlink()
    assert bench.fill() == house
    inside = bench.install(tmp_path / "tools env")
    assert bench.python(inside, "import toolone, tooltwo; print(toolone.VERSION)") == "1.0"
    # Complete already: nothing is done again.
    marker = tmp_path / "tools env" / "mine"
    marker.write_text("kept")
    bench.install(tmp_path / "tools env")
    assert marker.exists()


def test_environment_of_another_lock_is_made_anew(bench: Bench, tmp_path: Path) -> None:
    inside = bench.install(tmp_path / "env")
    wheel = make_wheel(bench.links, "toolone", "2.0")
    bench.lock.write_text(f"toolone==2.0 --hash=sha256:{sha256(wheel)}\n")
    bench.install(tmp_path / "env")
    code = "import toolone, importlib.util as u; print(toolone.VERSION, u.find_spec('tooltwo'))"
    assert bench.python(inside, code) == "2.0 None"


def test_interrupted_install_is_made_anew(bench: Bench, tmp_path: Path) -> None:
    inside = bench.install(tmp_path / "env")
    (tmp_path / "env" / "ortmill-tools.json").unlink()
    next((tmp_path / "env").rglob("toolone.py")).unlink()
    bench.install(tmp_path / "env")
    assert bench.python(inside, "import toolone; print(toolone.VERSION)") == "1.0"


def test_wheel_with_another_hash(bench: Bench) -> None:
    bench.lock.write_text(f"toolone==1.0 --hash=sha256:{'1' * 64}\n")
    with pytest.raises(IntegrityError, match="not the pinned one") as caught:
        bench.fill()
    assert "1" * 64 in caught.value.context["pip said"]
    assert find_wheelhouse(bench.cache, sha256(bench.lock)) is None


def test_wheel_that_no_place_has(bench: Bench) -> None:
    bench.lock.write_text(f"toolnine==1.0 --hash=sha256:{'1' * 64}\n")
    with pytest.raises(TransferError, match="toolnine"):
        bench.fill()
    assert not list((bench.cache.root / "partial").iterdir())


def test_lock_that_is_not_the_pinned_one(bench: Bench) -> None:
    with pytest.raises(IntegrityError, match="lock file") as caught:
        fill_wheelhouse(bench.lock, "1" * 64, bench.context())
    assert caught.value.context["actual sha256"] == sha256(bench.lock)


@pytest.mark.parametrize("how", ["changed", "missing", "record"])
def test_damaged_wheelhouse_is_moved_aside_and_filled_again(bench: Bench, how: str) -> None:
    house = bench.fill()
    wheel = house / "toolone-1.0-py3-none-any.whl"
    if how == "changed":
        wheel.write_bytes(b"x")
    elif how == "missing":
        wheel.unlink()
    else:
        (house / "wheelhouse.json").write_text("{")
    assert find_wheelhouse(bench.cache, sha256(bench.lock)) is None
    assert not house.exists()
    assert list((bench.cache.root / "damaged").rglob("tooltwo*.whl"))
    assert bench.fill() == house


def test_record_names_every_file(bench: Bench) -> None:
    house = bench.fill()
    record = json.loads((house / "wheelhouse.json").read_text())
    assert record["files"] == {path.name: sha256(path) for path in sorted(house.glob("*.whl"))}
    assert record["size"] == sum(path.stat().st_size for path in house.glob("*.whl"))
