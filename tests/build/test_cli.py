"""The command line as its user meets it: what it teaches, and what it says of bad input."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from build import clean, cli, commands
from build import pipeline as stages
from build.binary.machine_paths import find_path
from build.errors import BuildError
from build.fetch.context import FetchContext
from build.fetch.models import ModelFiles
from build.package.artefacts import machine_paths
from build.recipe.format import ModelRecipe
from build.system.console import Reporter
from build.tree import workspace
from build.tree.lock import hold_tree
from tests.kit.recipe_examples import ROOT, small

Usage = namedtuple("Usage", "total used free")
GIB = 1 << 30


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    kept = {number: signal.getsignal(number) for number in numbers}
    # A shell starts what it puts into the background with Ctrl-C switched off.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


class Machine:
    """A checkout, a cache and a PATH of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = folder / "checkout"
        self.cache = folder / "cache"
        self._capsys = capsys
        self.env = {"ORTMILL_CACHE": str(self.cache), "HOME": str(folder), "PATH": "/usr/bin:/bin"}
        (self.root / "recipes" / "tools").mkdir(parents=True)
        (self.root / "recipes" / "tools" / "requirements.txt").write_text("")
        lock = hashlib.sha256(b"").hexdigest()
        old = f'lock_sha256 = "{"0123456789abcdef" * 4}"'
        file = small(self.root / "recipes", (old, f'lock_sha256 = "{lock}"'))
        self.recipe = file
        bin_ = folder / "bin"
        bin_.mkdir()
        for name in ("cc", "c++"):
            (bin_ / name).write_text("#!/bin/sh\necho 'g++ (GCC) 12.2.0'\n")
            (bin_ / name).chmod(0o755)
        self.env["PATH"] = f"{bin_}:/usr/bin:/bin"

    def __call__(self, *argv: str, **env: str) -> tuple[int, str, str]:
        code = cli.main(list(argv), self.env | env)
        found = self._capsys.readouterr()
        assert "Traceback" not in found.err
        return code, found.out, found.err


@pytest.fixture
def machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Machine:
    made = Machine(tmp_path, capsys)
    monkeypatch.setattr(cli, "working_folder", lambda: made.root)
    monkeypatch.setattr(commands, "host_platform", lambda: "linux-x86_64")
    return made


def test_help_teaches_with_examples_and_exit_codes(machine: Machine) -> None:
    code, out, err = machine("--help")
    assert (code, err) == (0, "")
    assert "python -m build run --origin registry" in out
    kinds = [BuildError, *BuildError.__subclasses__()]
    for kind in kinds:
        assert f"  {kind.exit_code:<4} {kind.title}: " in out
    assert len({kind.exit_code for kind in kinds}) == len(kinds)
    for command in ("run", "fetch", "plan", "fetch-model", "input", "recipes", "recipe", "clean"):
        assert command in out
        assert machine(command, "--help")[0] == 0
    assert machine("--version")[:2] == (0, "ortmill 0.1.0\n")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ((), "COMMAND"),
        (("rnu",), "invalid choice: 'rnu'"),
        (("run", "--ofline"), "--ofline; did you mean `--offline`"),
        (("run", "--ofline"), "see `python -m build run --help`"),
        (("clean", "--al"), "--al; did you mean `--all`"),
        (("recipe", "check", "x", "--quite"), "did you mean `--quiet`?"),
        (("run", "--recipe", "x"), "--recipe; give the recipe as a word by itself, without --r"),
        (("fetch-model", "--model", "x"), "--model; give the model as a word by itself"),
        (("run", "--origin", "registy"), "invalid choice: 'registy'"),
        (("run", "--platform", "macos-x86_64"), "invalid choice: 'macos-x86_64'"),
        (("run", "--jobs", "0"), "'0' is no positive number"),
        (("run", "onnxruntime-1.12.0"), "there is no recipe called onnxruntime-1.12.0"),
        (("recipe",), "VERB"),
        (("input", "small"), "--name"),
        (("input", "small", "--name", "tinny", "--offline"), "no input called tinny"),
        (("run", "small", "--platform", "macos-arm64"), "small.toml has no platform macos-arm64"),
    ],
)
def test_wrong_usage_exits_2_with_a_hint(
    machine: Machine, argv: tuple[str, ...], said: str
) -> None:
    code, out, err = machine(*argv)
    assert (code, out) == (2, "")
    assert err.startswith("usage: ")
    assert said in err
    assert "next: " in err


@pytest.mark.parametrize("word", ["--wheel", "--hep", "--halp", "--from", "--format", "--zzz"])
def test_what_is_only_vaguely_alike_is_not_named_and_never_the_help(
    machine: Machine, word: str
) -> None:
    for command in ("run", "fetch", "plan", "env", "recipes", "clean"):
        code, _, err = machine(command, word)
        assert code == 2
        assert "did you mean" not in err


def test_a_recipe_that_knows_no_cross_build_is_planned_elsewhere_and_not_built(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "working_folder", lambda: ROOT)
    code, _, err = machine("run", "onnxruntime-1.26.0", "--platform", "macos-arm64")
    assert code == 2
    assert "this machine is linux-x86_64 and the recipe knows no way to build for" in err
    assert "python -m build plan --platform macos-arm64" in err
    assert not machine.cache.exists()


def test_an_sdk_is_for_another_machines_build(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "working_folder", lambda: ROOT)
    code, _, err = machine("run", "--sdk", str(machine.root))
    assert code == 2
    assert "--sdk is for a build on another machine" in err
    code, _, err = machine("plan", "--platform", "macos-arm64", "--sdk", str(machine.root))
    assert code == 2
    assert "is no SDK of macOS" in err


def test_a_plan_needs_no_known_host(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(cli, "working_folder", lambda: machine.root)
    monkeypatch.setattr(workspace.host, "machine", lambda: "riscv64")
    assert machine("plan", "small", "--platform", "linux-x86_64")[0] == 0
    code, _, err = machine("plan", "small")
    assert code == 2
    assert "ortmill has no platform for" in err


def test_a_recipe_with_a_typo(machine: Machine) -> None:
    text = machine.recipe.read_text(encoding="utf-8")
    machine.recipe.write_text(text.replace("summary =", "sumary =").replace("= 11\n", "= -1\n"))
    for argv in (("run", "small"), ("recipe", "check", "small"), ("plan", "small"), ("recipes",)):
        code, out, err = machine(*argv)
        assert (code, out) == (3, "")
        assert "has 3 faults" in err
        assert "sumary: unknown key; did you mean `summary`?" in err
        assert "dependencies.1.origins.0.size: input should be greater than 0 (it is -1)" in err
    assert not machine.cache.exists()


def test_a_right_recipe_and_the_list(machine: Machine) -> None:
    code, out, err = machine("recipe", "check", str(machine.recipe))
    assert (code, out) == (0, "")
    assert "valid: onnxruntime 9.9.9, digest " in err
    assert machine("recipes")[1].startswith("small ")
    assert "pinned by SHA-1 alone: tiny" in out + err
    code, _, err = machine("recipe", "check", "none.toml")
    assert code == 3
    assert "cannot read the recipe none.toml" in err


@pytest.mark.parametrize("name", ["a cache", 'a"cache', "a;cache", "a$cache"])
def test_a_cache_with_a_space_in_its_path(machine: Machine, tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    code, _, err = machine("run", "small", ORTMILL_CACHE=str(place))
    assert code == 8
    assert f"the cache folder {place} has a space or a quote in its path" in err
    assert "set ORTMILL_CACHE to a folder without one" in err
    assert not place.exists()


def test_no_compiler(machine: Machine, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    code, _, err = machine("run", "small", PATH=str(empty))
    assert code == 7
    assert "there is no C++ compiler on the PATH" in err
    assert "g++" in err
    assert not machine.cache.exists()
    code, _, err = machine("run", "small", PATH="")
    assert code == 7


def test_an_old_compiler(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "bin" / "c++").write_text("#!/bin/sh\necho 'g++ (GCC) 9.4.0'\n")
    code, _, err = machine("run", "small")
    assert code == 7
    assert "is gcc 9.4.0; the recipe needs gcc 11.1 or newer" in err


def test_wheels_cannot_be_written_is_told_before_any_work(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = machine.root / "wheels"
    wheels.write_text("a file where the folder should be")
    code, _, err = machine("run", "small")
    assert code == 8
    assert f"cannot write to {wheels}" in err
    assert not machine.cache.exists()
    wheels.unlink()

    real = tempfile.TemporaryFile

    def read_only(*arguments: Any, dir: Path | None = None, **more: Any) -> Any:
        if dir == wheels:
            raise OSError(errno.EROFS, "Read-only file system", str(wheels))
        return real(*arguments, dir=dir, **more)

    # Root may write anywhere, so a folder's mode would prove nothing here.
    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    code, _, err = machine("run", "small")
    assert code == 8
    assert f"cannot write to {wheels}: Read-only file system" in err
    assert not machine.cache.exists()


def test_a_disk_that_is_nearly_full_is_told_before_the_fetch(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(9 * GIB, 8 * GIB, GIB))
    code, _, err = machine("run", "small")
    assert code == 8
    assert "has 1.0 GiB free; the build needs 3.0 GiB" in err
    assert "python -m build clean" in err
    assert not (machine.cache / "files").exists()
    assert not list(machine.root.joinpath("wheels").iterdir())


def test_a_cache_that_cannot_be_made(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = machine("run", "small", ORTMILL_CACHE=str(tmp_path / "file" / "cache"))
    assert code == 8
    assert "cannot write to" in err
    assert "set ORTMILL_CACHE to a folder of yours" in err


def test_a_disk_that_fills_up_anywhere_is_a_message(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/somewhere/x.o")

    monkeypatch.setattr(stages, "fetch_inputs", full)
    monkeypatch.setattr(stages, "check_disk", lambda *_, **__: None)
    code, _, err = machine("run", "small")
    assert code == 8
    assert "No space left on device: /somewhere/x.o" in err


def test_offline_with_an_empty_cache_names_what_is_missing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "check_disk", lambda *_, **__: None)
    code, _, err = machine("run", "small", "--offline")
    assert code == 4
    for name in ("onnxruntime", "tiny", "build tools"):
        assert f"{name}: " in err
    assert "nox -s fetch" in err
    # The lock of the tree is free again.
    assert machine("run", "small", "--offline")[0] == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_130(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def arrive(*_: object) -> None:
        os.kill(os.getpid(), number)
        signal.pause()

    monkeypatch.setattr(commands, "fetch_inputs", arrive)
    code, _, err = machine("fetch", "small")
    assert code == 130
    assert "interrupted: stopped" in err
    assert "finished steps are kept" in err


def test_debug_shows_the_traceback_and_quiet_the_error_alone(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "none", "--debug"], machine.env) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.startswith("usage: there is no recipe called none\n")
    code, out, err = machine("recipe", "check", "small", "--quiet")
    assert (code, out, err) == (0, "", "")
    assert "there is no recipe" in machine("run", "none", "--quiet")[2]


def test_messages_are_printed_as_they_are(machine: Machine) -> None:
    # Neither markup nor emoji: compilers write both by accident.
    code, _, err = machine("run", "[bold]x:smile:[/bold].toml")
    assert code == 3
    assert "[bold]x:smile:[/bold].toml" in err


def test_github_gets_an_annotation(machine: Machine) -> None:
    assert (
        "::error::there is no recipe called none"
        in machine("run", "none", GITHUB_ACTIONS="true")[2]
    )


def test_clean_removes_trees_and_keeps_downloads(machine: Machine) -> None:
    tree = machine.cache / "trees" / "onnxruntime-9.9.9-linux-x86_64"
    (tree / "source").mkdir(parents=True)
    (tree / "source" / "a.cc").write_bytes(bytes(200_000_000))
    kept = [machine.cache / "files" / "x"]
    kept += [machine.root / ".work" / name for name in ("models", "official", "reports", "venvs")]
    gone = [machine.root / ".work" / name for name in ("logs", "verify", "rehearsal-mac")]
    for folder in [*kept, *gone, machine.cache / "consumers"]:
        folder.mkdir(parents=True)
    code, _, said = machine("clean")
    assert code == 0
    assert "clean: 0.2 GB removed" in said
    assert not any(each.exists() for each in [tree, *gone, machine.cache / "consumers"])
    assert all(each.exists() for each in kept)
    assert machine("clean", "--all")[0] == 0
    assert not machine.cache.exists()
    assert not (machine.root / ".work").exists()
    assert machine("clean", "--all")[0] == 0


def test_a_removal_that_is_stopped_leaves_nothing_that_is_taken_for_whole(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = machine.cache / "trees" / "onnxruntime-9.9.9-linux-x86_64"
    real = shutil.rmtree

    def stopped(path: Path) -> None:
        real(path / "source")
        raise KeyboardInterrupt

    for _ in range(2):  # the second time an earlier one's rest is there as well
        (tree / "source").mkdir(parents=True)
        (tree / "build").mkdir()
        with monkeypatch.context() as patch:
            patch.setattr(clean.shutil, "rmtree", stopped)
            if not (tree.parent / f"{tree.name}.removed").exists():
                assert machine("clean")[0] == 130
                assert not tree.exists()
    assert machine("clean")[0] == 0
    assert [each.name for each in tree.parent.iterdir() if each.is_dir()] == []


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Return what is set once somebody has said that it waits."""
    event, say = threading.Event(), Reporter.say

    def said(self: Reporter, text: str) -> None:
        say(self, text)
        if "waiting until it ends" in text:
            event.set()

    monkeypatch.setattr(Reporter, "say", said)
    return event


def test_clean_waits_for_a_verification_that_is_running(
    machine: Machine, waits: threading.Event
) -> None:
    graphs = machine.root / ".work" / "verify" / "graphs"
    graphs.mkdir(parents=True)
    held, there = threading.Event(), []

    def verify() -> None:
        with FileLock(machine.root / ".work" / "verify.lock"):
            held.set()
            there.append(waits.wait(100) and graphs.exists())

    other = threading.Thread(target=verify)
    other.start()
    held.wait()
    code, _, err = machine("clean")
    other.join()
    assert (code, there) == (0, [True])
    assert "a verification uses" in err
    assert not graphs.exists()


def test_clean_waits_for_a_build_that_is_running(machine: Machine, waits: threading.Event) -> None:
    tree = machine.cache / "trees" / "onnxruntime-9.9.9-linux-x86_64"
    tree.mkdir(parents=True)
    lock = tree.with_name(tree.name + ".lock")
    code = (
        "import sys; from pathlib import Path; from build.tree.lock import hold_tree\n"
        "with hold_tree(Path(sys.argv[1]), Path('/other/checkout'), print):\n"
        "    print('held', flush=True); sys.stdin.readline()\n"
        "    print('there' if Path(sys.argv[2]).exists() else 'gone', flush=True)\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(lock), str(tree)],
        env={"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def go_on() -> None:
        waits.wait(100)
        assert other.stdin is not None
        other.stdin.close()

    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        threading.Thread(target=go_on).start()
        code_, _, err = machine("clean")
        assert other.stdout.readline() == "there\n"
    assert code_ == 0
    assert f"process {other.pid}, started in /other/checkout" in err
    assert not tree.exists()


def test_a_lock_without_an_owner_and_one_that_is_let_go(tmp_path: Path) -> None:
    lock = tmp_path / "a" / "t.lock"
    said: list[str] = []
    with hold_tree(lock, tmp_path, said.append):
        assert str(os.getpid()) in lock.with_suffix(".owner").read_text()
    assert not lock.with_suffix(".owner").exists()
    with pytest.raises(ValueError, match="inner"), hold_tree(lock, tmp_path, said.append):
        raise ValueError("inner")
    with hold_tree(lock, tmp_path, said.append):
        pass
    assert said == []


@pytest.mark.parametrize("work", [None, "elsewhere"])
def test_a_model_goes_to_where_the_verification_looks(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, work: str | None
) -> None:
    (machine.root / "recipes" / "models").mkdir()
    shutil.copy(ROOT / "recipes" / "models" / "all-minilm-l6-v2.toml", machine.root / "m.toml")
    places = []

    def fetch(
        recipe: ModelRecipe, place: Path, context: FetchContext, *, recipe_file: Path
    ) -> ModelFiles:
        places.append(place)
        return ModelFiles(name=recipe.name, directory=place, files={}, origin="upstream")

    monkeypatch.setattr(commands, "fetch_model", fetch)
    monkeypatch.chdir(tmp_path)
    where = ["--work", work] if work else []
    assert machine("fetch-model", str(machine.root / "m.toml"), *where)[0] == 0
    folder = tmp_path / work if work else machine.root / ".work"
    assert places == [folder / "models" / "all-minilm-l6-v2"]


def test_stale_schemas_are_named(machine: Machine) -> None:
    (machine.root / "recipes" / "models").mkdir()
    code, _, err = machine("schema", "--check")
    assert code == 3
    assert "stale: recipe.schema.json, models/model.schema.json" in err
    assert machine("schema")[0] == 0
    assert machine("schema", "--check")[0] == 0


def test_a_checkout_with_a_space_works_as_a_program(tmp_path: Path) -> None:
    root = tmp_path / "my check out"
    shutil.copytree(ROOT / "build", root / "build", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "recipes", root / "recipes")
    answer = subprocess.run(
        [sys.executable, "-m", "build", "plan", "--platform", "macos-arm64"],
        cwd=root,
        env={"ORTMILL_CACHE": str(tmp_path / "cache"), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert "CMAKE_OSX_DEPLOYMENT_TARGET=13.3" in answer.stdout
    assert "my check out" not in answer.stdout, "no command names the checkout"


@pytest.mark.parametrize(
    ("checkout", "cache", "allowed", "forbidden"),
    [
        ("/src", "/w", "/ortmill/deps/protobuf/src/x.cc", "/w/trees/t/source/x.cc"),
        ("/home/me/ortmill", "/home/me/.cache/ortmill", "/ortmill/x", "/home/me/ortmill/x"),
        ("/home/me/ortmill", "/c", "/usr/c/x", "/c/tools/bin/cmake"),
    ],
)
def test_paths_that_no_artefact_may_hold(
    checkout: str, cache: str, allowed: str, forbidden: str
) -> None:
    place = workspace.Workspace(
        root=Path(checkout), cache=Path(cache), recipes=Path(checkout) / "recipes"
    )
    tree = workspace.Tree(root=Path(cache) / "trees" / "t")
    needles = machine_paths(tree, place)
    assert find_path(allowed.encode(), needles) is None
    assert find_path(forbidden.encode(), needles)


@pytest.mark.parametrize("words", [["recipes", "--json"], ["plan"]])
def test_output_that_nobody_reads_ends_quietly(words: list[str]) -> None:
    """``… | head -1``: no traceback, and no 0 for what was not written."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "build", *words],
        cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
