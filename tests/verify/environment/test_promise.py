"""What a wheel promises, whose it is, and which official wheel it is compared with."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.kit import elf_files, macho_examples, verify_examples
from verify.checks.policies import find_policy
from verify.environment import venv
from verify.environment.promise import Promise, is_own, read_promise
from verify.environment.wheel_file import WheelFile, find_wheel, other_python
from verify.errors import EnvironmentFailed
from verify.run.official import get_official
from verify.run.selection import Selection

A = "a-1-cp311-cp311"
UNIVERSAL = "onnxruntime-1.21.0-cp311-cp311-macosx_13_0_universal2.whl"
NEWER = "onnxruntime-1.30.0-cp311-cp311-macosx_14_0_arm64.whl"
OURS = "onnxruntime-1.21.0+ortmill.1a2b3c4d-cp311-cp311-manylinux_2_35_x86_64.whl"


@pytest.mark.parametrize(
    ("name", "promised"),
    [
        (UNIVERSAL, ("1.21.0", "macos", ("arm64", "x86_64"), (13, 0))),
        (NEWER, ("1.30.0", "macos", ("arm64",), (14, 0))),
        (OURS, ("1.21.0", "linux", ("x86_64",), (2, 35))),
        (f"{A}-macosx_13_3_arm64.macosx_14_0_arm64.whl", ("1", "macos", ("arm64",), (13, 3))),
        (f"{A}-manylinux2014_x86_64.whl", ("1", "linux", ("x86_64",), (2, 17))),
        (f"{A}-linux_x86_64.whl", ("1", "linux", ("x86_64",), None)),
        (f"{A}-win_amd64.whl", ("1", "", (), None)),
        ("nothing.whl", ("", "", (), None)),
    ],
)  # fmt: skip
def test_what_a_name_promises(name: str, promised: tuple[Any, ...]) -> None:
    found = read_promise(name)
    assert (found.version, found.system, found.architectures, found.oldest) == promised


@pytest.mark.parametrize(
    ("oldest", "asked", "kept"),
    [
        ((14, 0), (14, 0), True),
        ((14, 0), (13, 3), True),
        ((14, 0), (15, 0), False),
        ((13, 0), (13, 4), True),  # installers know no other tag for macOS 13
        ((13, 2), (13, 4), False),
        ((10, 15), (10, 16), False),
    ],
)
def test_which_macos_a_tag_promises(
    oldest: tuple[int, int], asked: tuple[int, int], kept: bool
) -> None:
    assert Promise(version="1", system="macos", oldest=oldest).keeps(asked) is kept


def test_whose_a_wheel_is(tmp_path: Path) -> None:
    foreign = elf_files.wheel(tmp_path)
    assert not is_own(foreign, described=False)
    assert is_own(foreign, described=True)
    assert is_own(tmp_path / OURS, described=False)
    listed = {"onnxruntime-1.30.0.dist-info/sboms/a.cdx.json": b'{"name": "ortmill:origin"}'}
    assert is_own(elf_files.wheel(tmp_path / "b", listed), described=False)
    foreign.write_bytes(b"no zip")
    assert not is_own(foreign, described=False)


def test_a_manifest_of_ours_says_nothing_about_a_foreign_wheel_beside_it(tmp_path: Path) -> None:
    manifest = verify_examples.manifest(tmp_path)
    foreign = elf_files.wheel(tmp_path)
    assert find_wheel(foreign, manifest)[1] is None
    named = verify_examples.wheel(tmp_path)
    assert find_wheel(named, manifest)[1] is not None


@pytest.mark.parametrize(
    ("name", "host", "said"),
    [
        (elf_files.NAME, "linux-x86_64", ""),
        (elf_files.NAME.replace("cp311", "cp312"), "linux-x86_64", "CPython 3.12"),
        (elf_files.NAME.replace("cp311", "cp312"), "macos-arm64", ""),
        (NEWER.replace("cp311", "cp314"), "macos-arm64", "CPython 3.14"),
    ],
)
def test_another_python_of_this_kind_of_host(name: str, host: str, said: str) -> None:
    assert other_python(name, host, "3.11.9") == said


class Index:
    """Takes the place of pip: puts one file where it is to be downloaded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, file: str, content: bytes = b"x") -> None:
        self.file, self.content, self.asked = file, content, list[Sequence[str]]()
        monkeypatch.setattr(venv, "_pip", self)

    def __call__(self, arguments: list[str], purpose: str, folder: Path) -> None:
        self.asked.append(arguments)
        if not self.file:
            raise EnvironmentFailed(
                f"Could not {purpose}:\nERROR: No matching distribution found for onnxruntime"
            )
        (folder / self.file).write_bytes(self.content)


def quiet(text: str) -> None:
    assert text


def test_the_official_wheel_of_its_own_version_and_kind_is_fetched_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Index(monkeypatch, NEWER)
    found = venv.fetch_official(NEWER, tmp_path, say=quiet)
    assert (found.path.name, found.version) == (NEWER, "1.30.0")
    assert venv.fetch_official(NEWER, tmp_path, say=quiet) == found
    (arguments,) = index.asked
    assert "onnxruntime==1.30.0" in arguments
    assert "--require-hashes" not in arguments
    assert any(word.startswith("macosx_") and word.endswith("_arm64") for word in arguments)
    found.path.write_bytes(b"changed on disk")
    assert venv.fetch_official(NEWER, tmp_path, say=quiet).sha256 == found.sha256
    assert len(index.asked) == 2


def test_a_pinned_official_wheel_must_be_the_pinned_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Index(monkeypatch, UNIVERSAL, b"other bytes")
    ours = "onnxruntime-1.21.0+ortmill.1-cp311-cp311-macosx_13_3_arm64.whl"
    with pytest.raises(EnvironmentFailed, match="another hash than the pinned one"):
        venv.fetch_official(ours, tmp_path, say=quiet)
    assert "--require-hashes" in index.asked[0]  # the lock has the hashes of every Python's


def test_linux_wheels_are_asked_for_by_every_manylinux(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Index(monkeypatch, elf_files.NAME)
    venv.fetch_official(elf_files.NAME, tmp_path, say=quiet)
    assert {"manylinux_2_28_x86_64", "manylinux2014_x86_64", "3.11"} <= set(index.asked[0])


def described(path: Path) -> WheelFile:
    content = path.read_bytes()
    return WheelFile(
        path=path,
        version=read_promise(path.name).version,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (macho_examples.NAME, b"", "is the file that the package index serves as"),
        (macho_examples.NAME, b"other", "compared with the official wheel of 1.22.0"),
        ("", b"", "the package index has none for this version"),
    ],
)
def test_the_verdict_says_what_it_was_compared_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: bytes, said: str
) -> None:
    name = macho_examples.NAME.replace("1.21.0", "1.22.0")
    path = macho_examples.wheel(tmp_path, name=name)
    Index(monkeypatch, file and name, content or path.read_bytes())
    found = get_official(
        Selection(),
        find_policy("macos-arm64-cross"),
        wheel=described(path),
        work=tmp_path / "work",
        wanted=True,
        say=quiet,
    )
    assert said in found.told
    assert bool(found.wheels) == (content == b"other")
    assert ("wheel" in found.missing) == (content != b"other")


@pytest.mark.parametrize(
    ("version", "lock"),
    [("1.17.3", "target-numpy1"), ("1.18.1", "target-numpy1"), ("1.19.2", "target")],
)
def test_wheels_before_1_19_get_numpy_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, lock: str
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(venv, "_pip", lambda arguments, purpose, folder: asked.append(arguments))
    venv._base(tmp_path, version, say=quiet)
    assert asked[0][-1].endswith(f"/{lock}.txt")
    text = Path(asked[0][-1]).read_text(encoding="utf-8")
    assert ("numpy==1." in text) == (lock == "target-numpy1")


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        (
            "(from versions: 1.21.0, 1.32.0)\nERROR: No matching distribution found",
            "no such version",
        ),
        ("(from versions: none)\nERROR: No matching distribution found", "A firewall"),
        ("ERROR: connection refused", "A firewall"),
    ],
)
def test_an_index_that_answers_is_no_firewall(tmp_path: Path, said: str, hint: str) -> None:
    program = [sys.executable, "-c", f"print({said!r}); raise SystemExit(1)"]
    with pytest.raises(EnvironmentFailed) as raised:
        venv._run(program, "fetch it", tmp_path / "place")
    assert hint in raised.value.hint


def test_an_environment_of_a_lock_is_made_once_and_holds_what_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def pip(arguments: list[str], purpose: str, folder: Path) -> None:
        asked.append(arguments)
        package = Path(arguments[arguments.index("--target") + 1]) / "fastembed"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")

    monkeypatch.setattr(venv, "_pip", pip)
    python = venv.make_locked("fastembed", tmp_path, say=quiet)
    assert venv.make_locked("fastembed", tmp_path, say=quiet) == python
    assert len(asked) == 1
    assert "--require-hashes" in asked[0]
    assert asked[0][-1].endswith("/requirements/fastembed.txt")
    assert [path.name for path in venv._site(python).glob("fastembed")] == ["fastembed"]
