"""The whole build, from recipe to wheel, SDK and manifest, on a stand-in for ONNX Runtime."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from build.package.manifest import load_manifest
from build.system.session import session_members
from build.tree.workspace import host_platform
from tests.kit.standin import COMMIT, VERSION, Kit, make_kit, python_tag

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="auditwheel repairs the stand-in"),
]


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    return make_kit(tmp_path_factory.mktemp("kit"))


@pytest.fixture(scope="module")
def first(
    kit: Kit, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, subprocess.CompletedProcess[str]]:
    """Build once from nothing, in a git checkout with a space in its path and the cache inside."""
    root = kit.checkout(tmp_path_factory.mktemp("first") / "my check out")
    for argv in (
        ("init", "--quiet"),
        ("add", "."),
        ("-c", "user.name=n", "-c", "user.email=e@invalid", "commit", "--quiet", "-m", "m"),
    ):
        subprocess.run(["git", *argv], cwd=root, check=True, capture_output=True)
    cache = tmp_path_factory.mktemp("cache") / "c"
    # A repository above the cache: the worst place, and HOME is one for some people.
    shutil.copytree(root / ".git", cache.parent / ".git")
    return root, cache, kit.build(root, cache)


@pytest.fixture
def cache(first: tuple[Path, Path, subprocess.CompletedProcess[str]], tmp_path: Path) -> Path:
    """Return a cache with everything fetched and the tools installed, and no tree."""
    warm = tmp_path / "cache"
    shutil.copytree(first[1], warm, symlinks=True, ignore=shutil.ignore_patterns("trees"))
    return warm


def tree(cache: Path) -> Path:
    return cache / "trees" / f"onnxruntime-{VERSION}-{host_platform()}"


def phases(cache: Path) -> list[str]:
    return (tree(cache) / "phases.txt").read_text().split()


def ran(cache: Path) -> list[str]:
    try:
        return (tree(cache) / "build" / "Release" / "ran.txt").read_text().split()
    except FileNotFoundError:
        return []


def wheel(root: Path) -> Path:
    (found,) = (root / "wheels").glob("*.whl")
    return found


def wait_until(what: str, holds: object, seconds: float = 120) -> None:
    assert callable(holds)
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def test_the_first_build_makes_wheel_sdk_and_manifest(
    kit: Kit, first: tuple[Path, Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    root, cache, done = first
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    for stage in ("fetch", "source", "configure", "compile", "wheel", "sdk"):
        assert f"✓ {stage}" in done.stderr
    assert "helper: " in done.stderr
    assert "building without it (USE_HELPER=OFF)" in done.stderr
    manifest = load_manifest(root / "wheels" / "manifest.json")
    assert manifest.version.startswith(f"{VERSION}+ortmill.")
    assert (manifest.commit, manifest.executed_on) == (COMMIT, "native")
    assert manifest.recipe.file == "recipes/standin.toml"
    for entry in (manifest.wheel, manifest.sdk):
        content = (root / "wheels" / entry.file).read_bytes()
        assert (entry.sha256, entry.size) == (hashlib.sha256(content).hexdigest(), len(content))
    assert {each.name: (each.kind, each.locator) for each in manifest.inputs} == {
        "onnxruntime": ("debian", "debian:pool/onnxruntime.tar.gz"),
        "tiny": ("debian", "debian:pool/tiny.tar.gz"),
        "build-tools": ("tool", "pip:tools/requirements.txt"),
    }
    pool = kit.folder / "mirror" / "pool"
    hashes = {each.name: each.sha256 for each in manifest.inputs}
    for name in ("onnxruntime", "tiny"):
        content = (pool / f"{name}.tar.gz").read_bytes()
        assert hashes[name] == hashlib.sha256(content).hexdigest()
    assert [each.file for each in manifest.patches] == ["standin/tiny.patch"]
    assert [each.name for each in manifest.stages] == [
        *("fetch", "source", "configure", "compile", "wheel", "sdk")
    ]
    assert manifest.flags.defines["USE_HELPER"] is False
    assert manifest.tools["compiler cache"] in {"none", "ccache"}
    assert f"-{python_tag()}-{python_tag()}-manylinux" in wheel(root).name
    with zipfile.ZipFile(wheel(root)) as zipped:
        zipped.extractall(tmp_path)
    for licence in ("onnxruntime", "tiny"):
        info = next(tmp_path.glob("*.dist-info"))
        assert (info / "licenses" / licence / "LICENSE").is_file()
    answer = subprocess.run(
        [sys.executable, "-c", "from onnxruntime.capi import _tiny; print(_tiny.answer())"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "2042\n", "42 of the recipe, 2000 of the patch"
    library = ctypes.CDLL(str(next((tmp_path / "onnxruntime/capi").glob("libonnxruntime.so*"))))
    library.file.restype = ctypes.c_char_p
    assert library.file() == b"/ortmill/source/cmake/ort.c"
    with tarfile.open(root / "wheels" / manifest.sdk.file) as sdk:
        names = sdk.getnames()
    assert any(name.endswith(f"/lib/libonnxruntime.so.{VERSION}") for name in names)
    assert any(name.endswith("/licences/tiny/LICENSE") for name in names)
    assert phases(cache) == ["update", "build", "build", "wheel"]
    assert len(list((root / ".work" / "logs").glob("*.log"))) >= 4


def test_no_repository_around_it_and_no_path_leaks_into_anything(
    first: tuple[Path, Path, subprocess.CompletedProcess[str]],
) -> None:
    root, cache, _ = first
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True
    ).stdout.strip()
    library = tree(cache) / "build" / "Release" / f"libonnxruntime.so.{VERSION}"
    assert b"head:\0" in library.read_bytes(), "the stand-in asks git, and git must know nothing"
    with zipfile.ZipFile(wheel(root)) as zipped:
        contents = [zipped.read(name) for name in zipped.namelist()]
    contents.append((root / "wheels" / "manifest.json").read_bytes())
    for content in contents:
        for secret in (head, str(cache), str(root)):
            assert secret.encode() not in content


def test_the_second_run_says_unchanged_and_runs_nothing(
    kit: Kit, first: tuple[Path, Path, subprocess.CompletedProcess[str]]
) -> None:
    root, cache, _ = first
    before = phases(cache)
    stamps = {path: path.stat().st_mtime_ns for path in (root / "wheels").iterdir()}
    again = kit.build(root, cache)
    assert again.returncode == 0, again.stderr
    assert again.stderr == f"unchanged: {wheel(root).name} is what this recipe builds\n"
    assert phases(cache) == before
    assert {path: path.stat().st_mtime_ns for path in (root / "wheels").iterdir()} == stamps


def test_a_lost_wheel_is_packed_again_and_is_the_same_to_the_byte(
    kit: Kit, first: tuple[Path, Path, subprocess.CompletedProcess[str]]
) -> None:
    root, cache, _ = first
    kept = wheel(root).read_bytes()
    wheel(root).write_bytes(kept[:-1])
    again = kit.build(root, cache, "--offline")
    assert again.returncode == 0, again.stderr
    for stage in ("source", "configure", "compile"):
        assert f"= {stage}" in again.stderr
    assert wheel(root).read_bytes() == kept


def test_packing_has_the_compiler_cache_s_server_too(kit: Kit, cache: Path, tmp_path: Path) -> None:
    """Packing compiles what is older than a header, and a launcher without a server fails."""
    log = tmp_path / "sccache.log"
    (binaries,) = (cache / "tools").glob("*/bin")
    launcher = binaries / "sccache"
    launcher.write_text(
        f'#!/bin/sh\ncase "$1" in --*) echo "$1" >> "{log}";; *) exec "$@";; esac\n'
    )
    launcher.chmod(0o755)
    root = kit.checkout(tmp_path / "co")
    assert kit.build(root, cache).returncode == 0
    log.unlink()
    wheel(root).unlink()
    assert kit.build(root, cache).returncode == 0
    assert log.read_text().split()[0] == "--start-server"
    assert "--stop-server" in log.read_text()


def test_a_changed_define_configures_again_and_fetches_nothing(
    kit: Kit, cache: Path, tmp_path: Path
) -> None:
    root = kit.checkout(tmp_path / "checkout")
    assert kit.build(root, cache, "--offline").returncode == 0
    old = wheel(root)
    kit.checkout(root, answer=43)
    # The mirror is gone, so a fetch would fail.
    again = kit.build(root, cache, ORTMILL_DEBIAN_MIRROR="file:///none")
    assert again.returncode == 0, again.stderr
    assert "✓ configure" in again.stderr
    assert phases(cache).count("update") == 2
    assert wheel(root).name != old.name
    assert [path.name for path in (root / "wheels" / "older").glob("*.whl")] == [old.name]


def test_a_compile_error_shows_the_error_and_the_log(kit: Kit, cache: Path, tmp_path: Path) -> None:
    root = kit.checkout(tmp_path / "checkout", answer=13)
    failed = kit.build(root, cache)
    assert failed.returncode == 9
    assert "compile: build.py ended with status" in failed.stderr
    assert "thirteen does not compile" in failed.stderr
    log = root / ".work" / "logs" / "04-compile.log"
    assert str(log) in failed.stderr
    assert "thirteen does not compile" in log.read_text()
    assert "Traceback" not in failed.stderr
    assert list((root / "wheels").iterdir()) == []
    kit.checkout(root, answer=14)
    mended = kit.build(root, cache)
    assert mended.returncode == 0, mended.stderr


def test_another_version_than_the_recipes(kit: Kit, cache: Path, tmp_path: Path) -> None:
    root = kit.checkout(tmp_path / "checkout", version="9.9.8")
    failed = kit.build(root, cache)
    assert failed.returncode == 6
    assert "the source tree calls itself 9.9.9, the recipe builds 9.9.8" in failed.stderr
    assert list((root / "wheels").iterdir()) == []


def test_another_patch_than_the_pinned_one(kit: Kit, cache: Path, tmp_path: Path) -> None:
    root = kit.checkout(tmp_path / "checkout")
    assert kit.build(root, cache).returncode == 0
    records = sorted(os.listdir(tree(cache) / "records"))
    patch = root / "recipes" / "patches" / "standin" / "tiny.patch"
    right = patch.read_text()
    patch.write_text(right.replace("2000", "3000"))
    failed = kit.build(root, cache, "--fresh")
    assert failed.returncode == 5
    assert "the patch tiny.patch is not the pinned one" in failed.stderr
    assert "fetch" not in failed.stderr
    # What stands is not lost to a recipe that cannot be built.
    assert sorted(os.listdir(tree(cache) / "records")) == records


def test_wheels_that_cannot_be_written_are_told_before_any_work(
    kit: Kit, cache: Path, tmp_path: Path
) -> None:
    root = kit.checkout(tmp_path / "checkout")
    (root / "wheels").write_text("in the way")
    failed = kit.build(root, cache)
    assert failed.returncode == 8
    assert f"cannot write to {root / 'wheels'}" in failed.stderr
    assert not tree(cache).exists()


def started(kit: Kit, root: Path, cache: Path) -> tuple[subprocess.Popen[str], Path]:
    said = root.parent / f"{root.name}.stderr"
    with said.open("w") as stream:
        child = subprocess.Popen(
            kit.argv(root, "--jobs", "1"), env=kit.env(cache), stderr=stream, text=True
        )
    return child, said


def running_session(cache: Path) -> int:
    return int(json.loads((tree(cache) / "running.json").read_text())["session"])


def hold_still(session: int) -> None:
    for pid in session_members(session):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)


def test_a_build_that_was_killed_goes_on_where_it_was(
    kit: Kit, cache: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    root = kit.checkout(tmp_path / "checkout", steps=5, gate=gate)
    child, said = started(kit, root, cache)
    wait_until("three steps of the compile", lambda: len(ran(cache)) >= 3)
    session = running_session(cache)
    # Held still, so that the compile is left over for certain.
    hold_still(session)
    child.kill()
    child.wait()
    gate.touch()
    finished = ran(cache)
    assert "✓ compile" not in said.read_text()
    again = kit.build(root, cache)
    assert again.returncode == 0, again.stderr
    assert "ended what a killed build had left running in this tree" in again.stderr
    assert session_members(session) == []
    assert "= source" in again.stderr
    assert "= configure" in again.stderr
    assert phases(cache).count("update") == 1
    steps = ran(cache)
    assert sorted(set(steps)) == ["0", "1", "2", "3", "4", "5"]
    # Ninja may not have noted the very last one before it was ended, so that one is run again.
    for step in finished[:-1]:
        assert steps.count(step) == 1
    assert wheel(root).is_file()


def test_a_second_build_waits_and_says_for_whom_and_ctrl_c_lets_it_go_on(
    kit: Kit, cache: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    one = kit.checkout(tmp_path / "one", steps=5, gate=gate)
    two = kit.checkout(tmp_path / "two", steps=5, gate=gate)
    first, first_said = started(kit, one, cache)
    wait_until("a step of the compile", lambda: len(ran(cache)) >= 1)
    session = running_session(cache)
    # Held still, so that the compile does not end before the second build has said it.
    hold_still(session)
    second, second_said = started(kit, two, cache)
    sentence = f"another build uses this tree (process {first.pid}, started in {one})"
    wait_until("the second build to say so", lambda: sentence in second_said.read_text())
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=120) == 130
    gate.touch()
    assert session_members(session) == []
    said = first_said.read_text()
    assert "interrupted: stopped while build.py was running" in said
    assert "finished steps are kept" in said
    assert "Traceback" not in said
    assert second.wait(timeout=120) == 0, second_said.read_text()
    assert "= configure" in second_said.read_text()
    assert phases(cache).count("update") == 1
    assert list((one / "wheels").iterdir()) == []
    assert wheel(two).is_file()
    assert not tree(cache).with_name(tree(cache).name + ".owner").exists()
    assert os.listdir(tree(cache) / "records")
