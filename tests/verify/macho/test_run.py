"""A run over a macOS wheel: which policy, what is executed (nothing), and what the verdict says."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.kit import verify_examples
from tests.kit.macho_examples import (
    BUILD_VERSION,
    EXTENSION,
    INFO,
    LIBRARY,
    NAME,
    command,
    patched,
    replaced,
    stored,
    wheel,
)
from tests.kit.macho_files import X86_64, universal
from verify import cli
from verify.checks import policies as policy
from verify.checks.policies import find_policy
from verify.checks.table import CHECKS, check_ids
from verify.checks.wheel_bytes import EXPLAINED
from verify.encoder.model_recipe import file_sha256, load_model_recipe, recipe_path
from verify.environment import venv as environment
from verify.environment.wheel_file import WheelFile
from verify.errors import EnvironmentFailed, WheelNotUsable
from verify.policy.findings import load_explanations
from verify.policy.limits import wheel_kind
from verify.policy.result import CheckResult
from verify.report.document import Document, dumps, parse
from verify.run import carry_out as run
from verify.run import rejudge
from verify.run.selection import Selection
from verify.run.verdict import Setting, decide

MACHO = [check.id for check in CHECKS if check.id.startswith("macho.")]
CROSS = "macos-arm64-cross"


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The official wheel is another sound one, and whoever makes an environment fails the test."""

    def never(*args: object, **named: object) -> None:
        raise AssertionError("an environment was made for a wheel that must not be executed")

    official = wheel(tmp_path / "official", {"onnxruntime/other.py": b""})
    monkeypatch.setattr(
        environment, "fetch_official", lambda like, work, *, say: described(official)
    )
    monkeypatch.setattr(environment, "make_candidate", never)
    monkeypatch.setattr(environment, "make_official", never)
    monkeypatch.setattr(policy, "host_kind", lambda: "linux-x86_64")
    return official


def described(path: Path) -> WheelFile:
    return WheelFile(
        path=path, version="1.21.0", sha256=file_sha256(path), size=path.stat().st_size
    )


def document(tmp_path: Path, path: Path, **changes: Any) -> Document:
    options = {
        "wheel": path,
        "manifest": tmp_path / "none.json",
        "policy": find_policy(CROSS),
        "selection": Selection(),
        "recipe": load_model_recipe(recipe_path("all-minilm-l6-v2")),
        "models": tmp_path / "no-models",
        "work": tmp_path / "work",
        **changes,
    }
    return run.run(run.Options(**options), say=lambda check, text: None)


def statuses(document: Document) -> dict[str, str]:
    return {check.id: check.status for check in document.checks}


@pytest.mark.usefixtures("offline")
def test_a_sound_wheel_passes_and_the_verdict_says_that_nothing_ran(tmp_path: Path) -> None:
    made = document(tmp_path, wheel(tmp_path / "ours"))
    assert (made.verdict.decision, made.verdict.exit_code) == ("NOT-EXECUTED", 0)
    assert "nothing of this wheel was executed" in made.verdict.headline
    assert "no code of it ran" in made.verdict.paragraph
    assert "may serve" not in made.verdict.paragraph.replace("may not serve", "")
    found = statuses(made)
    assert {found[name] for name in MACHO} == {"passed"}
    assert {status for name, status in found.items() if name not in MACHO} == {"not-run"}
    parse(json.loads(dumps(made)))


@pytest.mark.usefixtures("offline")
def test_a_damaged_wheel_fails_by_the_right_check(tmp_path: Path) -> None:
    broken = replaced(stored("library"), b"onnxruntime-\0", b"onnxruntimE-\0")
    made = document(tmp_path, wheel(tmp_path / "ours", {LIBRARY: broken}))
    assert (made.verdict.decision, made.verdict.exit_code) == ("NO-GO", 1)
    assert "Nothing was executed" in made.verdict.headline
    failed = {name for name, status in statuses(made).items() if status == "failed"}
    assert failed == {"macho.signature", "macho.official"}


@pytest.mark.usefixtures("offline")
def test_an_unreadable_binary_fails_every_check(tmp_path: Path) -> None:
    made = document(tmp_path, wheel(tmp_path / "ours", {LIBRARY: b"\x7fELF" + bytes(60)}))
    assert {statuses(made)[name] for name in MACHO} == {"failed"}


@pytest.mark.parametrize("why", ["no network", "--no-official"])
@pytest.mark.usefixtures("offline")
def test_without_the_official_wheel_nothing_is_taken_for_a_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    def fail(like: str, work: Path, *, say: object) -> WheelFile:
        raise EnvironmentFailed("no network")

    monkeypatch.setattr(environment, "fetch_official", fail)
    made = document(tmp_path, wheel(tmp_path / "ours"), official=why == "no network")
    found = statuses(made)
    assert made.verdict.exit_code == 1
    assert found["macho.signature"] == found["macho.wheel"] == "passed"
    assert found["macho.imports"] == "failed"  # nothing else proves them
    assert found["macho.official"] == "not-run"
    told = {check.id: check.summary for check in made.checks}
    assert why in told["macho.official"]
    assert why == "--no-official" or why in made.verdict.paragraph


@pytest.mark.usefixtures("offline")
def test_the_manifests_cross_part_is_told_and_survives_judging_again(tmp_path: Path) -> None:
    path = wheel(tmp_path / "ours")
    with zipfile.ZipFile(path) as opened:
        hashes = {n: hashlib.sha256(opened.read(n)).hexdigest() for n in opened.namelist()}
    described = {
        "file": NAME, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "files": hashes,
    }  # fmt: skip
    cross = {"host": "linux-x86_64", "executed": False, "compiler": "ziglang 0.17.1"}
    verify_examples.manifest(path.parent, wheel=described, cross=cross)
    made = document(tmp_path, path)
    words = "cross-built on linux-x86_64, never executed"
    assert words in made.verdict.headline
    assert words in made.wheel.cross
    again = rejudge.judge(made, find_policy(CROSS))
    assert again.verdict == made.verdict


def test_wheels_of_another_kind_are_refused(tmp_path: Path) -> None:
    linux = verify_examples.wheel(tmp_path)
    with pytest.raises(WheelNotUsable, match="is for wheels of macos-arm64"):
        document(tmp_path, linux)
    with pytest.raises(WheelNotUsable, match="another platform") as caught:
        document(tmp_path, wheel(tmp_path / "m"), policy=find_policy("linux"))
    assert "leave --policy out" in caught.value.hint


OFFICIAL = "onnxruntime-1.21.0-cp311-cp311-macosx_13_0_universal2.whl"
LINUX = "onnxruntime-1.21.0-cp311-cp311-manylinux_2_28_x86_64.whl"
ARM = LINUX.replace("x86_64", "aarch64")


@pytest.mark.parametrize(
    ("host", "name", "own", "installable", "chosen"),
    [
        ("linux-x86_64", NAME, True, False, CROSS),
        ("linux-aarch64", NAME, True, False, CROSS),
        ("macos-arm64", NAME, True, True, "macos-arm64"),
        ("linux-x86_64", LINUX, True, True, "linux"),
        ("linux-x86_64", LINUX, True, False, "linux"),  # refused: the wrong Python would pass
        ("linux-x86_64", ARM, True, False, "linux-cross"),
        ("linux-x86_64", "", True, True, "linux"),
        ("linux-x86_64", OFFICIAL, False, False, "promise-macos-arm64-cross"),
        ("macos-arm64", OFFICIAL, False, True, "promise-macos-arm64"),
        ("macos-arm64", OFFICIAL, False, False, "promise-macos-arm64-cross"),
        ("macos-arm64", LINUX, False, False, "promise-linux-cross"),
        ("linux-x86_64", LINUX, False, True, "promise-linux"),
        ("linux-x86_64", LINUX, False, False, "promise-linux-cross"),
        ("linux-x86_64", ARM, False, False, "promise-linux-cross"),
    ],
)
def test_the_wheel_and_the_host_choose_the_policy(
    monkeypatch: pytest.MonkeyPatch, host: str, name: str, own: bool, installable: bool, chosen: str
) -> None:
    monkeypatch.setattr(policy, "host_kind", lambda: host)
    assert find_policy(None, wheel=name, own=own, installable=installable).name == chosen


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a-1-cp311-cp311-macosx_13_3_arm64.whl", "macos-arm64"),
        ("a-1-cp311-cp311-macosx_13_0_universal2.whl", "macos-arm64"),
        ("a-1-cp311-cp311-macosx_13_3_arm64.macosx_14_0_arm64.whl", "macos-arm64"),
        ("a-1-cp311-cp311-macosx_10_9_x86_64.whl", "macos-x86_64"),
        ("a-1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl", "linux-x86_64"),
        ("a-1-cp311-cp311-win_amd64.whl", ""),
        ("a-1-py3-none-any.whl", ""),
    ],
)
def test_kinds_of_wheels(name: str, kind: str) -> None:
    assert wheel_kind(name) == kind


@pytest.mark.usefixtures("offline")
def test_the_command_says_which_policy_it_took(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = wheel(tmp_path / "ours")
    code = cli.main(["run", str(path), "--work", str(tmp_path / "work")])
    told = capsys.readouterr().err
    assert code == 0, told
    assert "read here and not executed, by what its tags promise" in told.replace("\n", " ")
    assert f"(policy promise-{CROSS})" in told.replace("\n", " ")
    assert "NOT-EXECUTED" in told
    assert (tmp_path / "work" / "reports" / "report.html").is_file()


def test_a_policy_lists_the_checks_of_its_own_kind_of_bytes() -> None:
    linux, mac = find_policy("linux"), find_policy("macos-arm64")
    for check in CHECKS:
        if check.place == "wheel":
            here, there = (linux, mac) if check.id.startswith("elf.") else (mac, linux)
            assert not Selection().concerns(check, there)
            assert Selection(only=(check.id,)).concerns(check, there)
            assert Selection().concerns(check, here)
            assert here.requires(check.id)
        else:
            assert Selection().concerns(check, linux)


def test_a_policy_that_executes_nothing_cannot_say_go() -> None:
    setting = Setting(policy=find_policy(CROSS), host="linux-x86_64")
    everything = [CheckResult(id=name, status="passed", summary="s") for name in check_ids()]
    verdict = decide(everything, selection=Selection(), setting=setting)
    assert verdict.decision == "NOT-EXECUTED"
    waived = decide(
        [*everything[:-1], CheckResult(id=check_ids()[-1], status="not-run", summary="s")],
        selection=Selection(skip={check_ids()[-1]: "a reason"}),
        setting=setting,
    )
    assert "waived: macho.official" in waived.headline


def foreign(tmp_path: Path, path: Path) -> Document:
    """Judge somebody else's wheel."""
    return document(tmp_path, path, policy=find_policy(f"promise-{CROSS}"))


def tagged(folder: Path, tag: str, library: bytes, version: str = "1.21.0") -> Path:
    """A wheel with another tag and another library, honest in WHEEL and METADATA."""
    name = f"onnxruntime-{version}-cp311-cp311-{tag}.whl"
    told = f"Root-Is-Purelib: false\nTag: cp311-cp311-{tag}\n".encode()
    metadata = f"Name: onnxruntime\nVersion: {version}\n".encode()
    extension = rebuilt(stored("extension"), "14.0") if "14" in tag else stored("extension")
    return wheel(
        folder,
        {
            LIBRARY: library,
            EXTENSION: extension,
            f"{INFO}/WHEEL": told,
            f"{INFO}/METADATA": metadata,
        },
        name=name,
    )


def rebuilt(data: bytes, minimum: str) -> bytes:
    """The same image for another oldest macOS, signed as it was: a note on its signature."""
    major, minor = (int(part) for part in minimum.split("."))
    at = command(data, BUILD_VERSION)
    return patched(data, at + 12, struct.pack("<I", major << 16 | minor << 8))


@pytest.mark.usefixtures("offline")
def test_a_foreign_wheel_is_not_held_to_our_standards(tmp_path: Path) -> None:
    intel = struct.pack("<3I", 0xFEEDFACF, X86_64, 3) + bytes(88)
    both = universal(intel, stored("library"))
    made = foreign(tmp_path, tagged(tmp_path / "f", "macosx_13_0_arm64", both))
    assert (made.verdict.decision, made.verdict.exit_code) == ("NOT-EXECUTED", 0)
    assert "keep what its tags promise" in made.verdict.headline
    assert "macho.standards" not in statuses(made)
    told = {check.id: check.summary for check in made.checks}
    assert "nearest that installers know to the 13.3" in told["macho.wheel"]
    strict = document(tmp_path, tmp_path / "f" / made.wheel.file)
    assert statuses(strict)["macho.standards"] == "failed"


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("tag", "minimum", "said"),
    [
        ("macosx_13_0_arm64", "14.0", "promises macOS 13.0, but"),
        ("macosx_12_0_arm64", "13.3", "promises macOS 12.0, but"),
        ("macosx_13_0_universal2", "13.3", "promises x86_64, which"),
    ],
)
def test_a_foreign_wheel_is_held_to_its_tag(
    tmp_path: Path, tag: str, minimum: str, said: str
) -> None:
    made = foreign(tmp_path, tagged(tmp_path / "f", tag, rebuilt(stored("library"), minimum)))
    assert (made.verdict.decision, made.verdict.exit_code) == ("NO-GO", 1)
    told = {check.id: check.summary for check in made.checks}
    assert said in told["macho.wheel"]


@pytest.mark.usefixtures("offline")
def test_the_install_name_of_newer_versions_is_no_fault(tmp_path: Path) -> None:
    """onnxruntime#28094: the library of 1.26 and later calls itself libonnxruntime.1.dylib."""
    name = b"@rpath/libonnxruntime.1.21.0.dylib"
    short = replaced(
        stored("library"), name, b"@rpath/libonnxruntime.1.dylib".ljust(len(name), b"\0")
    )
    made = foreign(tmp_path, wheel(tmp_path / "f", {LIBRARY: short}))
    found = statuses(made)
    assert found["macho.load"] == "passed"
    assert found["macho.signature"] == "failed"  # the name was changed after signing
    assert found["macho.official"] == "failed"
    assert not next(check for check in made.checks if check.id == "macho.official").required


@pytest.mark.usefixtures("offline")
def test_what_explains_one_version_explains_no_other(tmp_path: Path) -> None:
    """The rpath of our library is explained for 1.21.0; for 1.30.0 it is a difference."""
    explained = load_explanations(EXPLAINED, "1.21.0")
    assert any(entry.item == "rpath @loader_path" for _, entry in explained)
    assert load_explanations(EXPLAINED, "1.30.0") == {}


@pytest.mark.usefixtures("offline")
def test_an_import_without_proof_is_open_for_others_and_fails_for_us(tmp_path: Path) -> None:
    path = tagged(tmp_path / "f", "macosx_11_0_arm64", rebuilt(stored("library"), "11.0"))
    made = foreign(tmp_path, path)
    assert statuses(made)["macho.imports"] == "inconclusive"
    told = {check.id: check.summary for check in made.checks}
    assert "imports have no proof" in told["macho.imports"]
    assert statuses(document(tmp_path, path))["macho.imports"] == "failed"


def test_a_wheel_for_another_python_of_this_host_is_open() -> None:
    everything = [CheckResult(id=name, status="passed", summary="s") for name in check_ids()]
    setting = Setting(
        policy=find_policy("promise-linux-cross"), host="linux-x86_64", python="CPython 3.12"
    )
    verdict = decide(everything, selection=Selection(), setting=setting)
    assert (verdict.decision, verdict.exit_code) == ("INCONCLUSIVE", 2)
    assert "CPython 3.12" in verdict.headline
    assert any("CPython 3.12" in step for step in verdict.next)
