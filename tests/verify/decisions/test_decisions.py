"""No point says go without the artefact that shows it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.kit.report_example import example_document
from verify.cli import main
from verify.decisions.points import points
from verify.report.document import parse

BYTES = b"a wheel"
SHA256 = hashlib.sha256(BYTES).hexdigest()


def made(folder: Path, sha256: str = SHA256) -> dict[str, Any]:
    (folder / "one.whl").write_bytes(BYTES)
    return {"wheel": {"file": "one.whl", "sha256": sha256}, "recipe": {"digest": "ab" * 32}}


def verified(**status: str) -> Any:
    content = example_document(calls=60)
    content["wheel"]["sha256"] = SHA256
    for check in content["checks"]:
        check["status"] = status.get(check["id"].replace(".", "_"), check["status"])
    return parse(content)


def answers(found: Any) -> dict[str, str]:
    return {point.question: point.answer for point in found}


def test_without_artefacts_every_point_is_open_and_names_its_command(tmp_path: Path) -> None:
    found = points(None, tmp_path, None)
    assert {point.answer for point in found} == {"open"}
    assert found[0].command == "nox -s build"
    assert {point.command for point in found[1:]} == {"nox -s verify"}


def test_what_passed_goes_and_what_did_not_run_is_open(tmp_path: Path) -> None:
    found = answers(points(made(tmp_path), tmp_path, verified()))
    assert found["is there a wheel from pinned sources?"] == "yes"
    assert found["are the embeddings right?"] == "yes"
    assert found["does CoreML execute it here?"] == "open"


def test_a_failed_check_says_no_and_an_inconclusive_one_is_open(tmp_path: Path) -> None:
    document = verified(latency_p95="failed", embedding_reference="inconclusive")
    found = answers(points(made(tmp_path), tmp_path, document))
    assert found["is P95 within the budget?"] == "no"
    assert found["are the embeddings right?"] == "open"


def test_the_proof_of_another_wheel_proves_nothing(tmp_path: Path) -> None:
    found = points(made(tmp_path, "cd" * 32), tmp_path, verified())
    assert found[0].answer == "no"
    assert "not the file that the build wrote down" in found[0].because
    assert {point.answer for point in found[1:]} == {"open"}
    assert "another wheel" in found[1].because


def test_a_wheel_that_is_gone_is_no(tmp_path: Path) -> None:
    manifest = made(tmp_path)
    (tmp_path / "one.whl").unlink()
    assert points(manifest, tmp_path, None)[0].answer == "no"


def test_the_exit_code_is_the_worst_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--manifest", str(tmp_path / "no.json"), "--report", str(tmp_path / "no.json")]
    assert main(["decisions", "--json", *where]) == 2
    assert {point["answer"] for point in json.loads(capsys.readouterr().out)} == {"open"}
    report = tmp_path / "verify.json"
    report.write_text(json.dumps(example_document(calls=60)))
    assert main(["decisions", *where[:3], str(report)]) == 2
    assert "next: nox -s build" in capsys.readouterr().err


def test_what_many_points_wait_for_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--manifest", str(tmp_path / "no.json"), "--report", str(tmp_path / "no.json")]
    assert main(["decisions", *where]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("? open")]) == 8
    assert [line.strip() for line in lines if "nothing was verified yet" in line] == [
        "nothing was verified yet"
    ]
    assert lines[-1].strip() == "next: nox -s verify"
