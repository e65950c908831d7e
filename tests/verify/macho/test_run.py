"""A run over a macOS wheel: which policy, what is executed (nothing), and what the verdict says."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.kit import verify_examples
from tests.kit.macho_examples import LIBRARY, NAME, replaced, stored, wheel
from verify import cli
from verify.checks import policies as policy
from verify.checks.policies import find_policy
from verify.checks.table import CHECKS, check_ids
from verify.encoder.model_recipe import load_model_recipe, recipe_path
from verify.environment import venv as environment
from verify.errors import EnvironmentFailed, WheelNotUsable
from verify.policy.limits import wheel_kind
from verify.policy.result import CheckResult
from verify.report.document import Document, dumps, parse
from verify.run import carry_out as run
from verify.run import rejudge
from verify.run.selection import Selection
from verify.run.verdict import decide

MACHO = [check.id for check in CHECKS if check.id.startswith("macho.")]
CROSS = "macos-arm64-cross"


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The official wheel is another sound one, and whoever makes an environment fails the test."""

    def never(*args: object, **named: object) -> None:
        raise AssertionError("an environment was made for a wheel that must not be executed")

    official = wheel(tmp_path / "official")
    monkeypatch.setattr(environment, "fetch_official_macos", lambda work, *, say: official)
    monkeypatch.setattr(environment, "make_candidate", never)
    monkeypatch.setattr(environment, "make_official", never)
    monkeypatch.setattr(policy, "host_kind", lambda: "linux-x86_64")
    return official


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
    assert failed == {"macho.signature", "macho.objc"}


@pytest.mark.usefixtures("offline")
def test_an_unreadable_binary_fails_every_check(tmp_path: Path) -> None:
    made = document(tmp_path, wheel(tmp_path / "ours", {LIBRARY: b"\x7fELF" + bytes(60)}))
    assert {statuses(made)[name] for name in MACHO} == {"failed"}


@pytest.mark.parametrize("why", ["no network", "--no-official"])
@pytest.mark.usefixtures("offline")
def test_without_the_official_wheel_nothing_is_taken_for_a_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    def fail(work: Path, *, say: object) -> Path:
        raise EnvironmentFailed("no network")

    monkeypatch.setattr(environment, "fetch_official_macos", fail)
    made = document(tmp_path, wheel(tmp_path / "ours"), official=why == "no network")
    found = statuses(made)
    assert made.verdict.exit_code == 1
    assert found["macho.signature"] == found["macho.wheel"] == "passed"
    assert found["macho.objc"] == found["macho.imports"] == "not-run"
    told = {check.id: check.summary for check in made.checks}
    assert why in told["macho.objc"]


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
    assert CROSS in caught.value.hint


@pytest.mark.parametrize(
    ("host", "name", "chosen"),
    [
        ("linux-x86_64", NAME, CROSS),
        ("linux-aarch64", NAME, CROSS),
        ("linux-x86_64", "onnxruntime-1.21.0-cp311-cp311-macosx_13_0_universal2.whl", CROSS),
        ("macos-arm64", NAME, "macos-arm64"),
        ("linux-x86_64", "onnxruntime-1.21.0-cp311-cp311-manylinux_2_28_x86_64.whl", "linux"),
        ("linux-x86_64", "onnxruntime-1.21.0-cp311-cp311-manylinux_2_28_aarch64.whl", "linux"),
        ("linux-x86_64", "", "linux"),
    ],
)
def test_the_wheel_and_the_host_choose_the_policy(
    monkeypatch: pytest.MonkeyPatch, host: str, name: str, chosen: str
) -> None:
    monkeypatch.setattr(policy, "host_kind", lambda: host)
    assert find_policy(None, wheel=name).name == chosen


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
    assert f"read here and not executed (policy {CROSS})" in told.replace("\n", " ")
    assert "NOT-EXECUTED" in told
    assert (tmp_path / "work" / "reports" / "report.html").is_file()


def test_the_linux_policy_does_not_list_the_checks_of_bytes() -> None:
    linux, mac = find_policy("linux"), find_policy("macos-arm64")
    for check in CHECKS:
        if check.place == "wheel":
            assert not Selection().concerns(check, linux)
            assert Selection(only=(check.id,)).concerns(check, linux)
            assert Selection().concerns(check, mac)
            assert mac.requires(check.id)
        else:
            assert Selection().concerns(check, linux)


def test_a_policy_that_executes_nothing_cannot_say_go() -> None:
    cross = find_policy(CROSS)
    everything = [CheckResult(id=name, status="passed", summary="s") for name in check_ids()]
    verdict = decide(everything, policy=cross, selection=Selection(), host="linux-x86_64")
    assert verdict.decision == "NOT-EXECUTED"
    waived = decide(
        [*everything[:-1], CheckResult(id=check_ids()[-1], status="not-run", summary="s")],
        policy=cross,
        selection=Selection(skip={check_ids()[-1]: "a reason"}),
        host="linux-x86_64",
    )
    assert "waived: macho.wheel" in waived.headline


def test_the_official_wheel_is_pinned_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def pip(arguments: list[str], purpose: str, folder: Path) -> None:
        asked.append(arguments)
        (folder / environment.OFFICIAL_MACOS.file).write_bytes(b"other bytes")

    monkeypatch.setattr(environment, "_pip", pip)
    with pytest.raises(EnvironmentFailed, match=r"no .* with the pinned hash"):
        environment.fetch_official_macos(tmp_path, say=lambda text: None)
    (arguments,) = asked
    assert "--require-hashes" in arguments
    assert "macosx_13_0_universal2" in arguments
    assert (
        environment.OFFICIAL_MACOS.sha256 in (tmp_path / "official-macos/official.txt").read_text()
    )
    lock = Path(environment.__file__).parents[1] / "requirements" / "official.txt"
    assert environment.OFFICIAL_MACOS.sha256 in lock.read_text(encoding="utf-8")
