"""What an exception in a check says of the wheel; nothing where the machine is to blame."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.kit.verify_examples import TINY, policy
from verify.checks import answer_inside
from verify.environment.context import TargetContext
from verify.errors import VerifyError
from verify.files import replacing

FULL = OSError(errno.ENOSPC, "No space left on device", "/work/graph.onnx")


def answer(
    check: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, str, str | None]:
    checks = (SimpleNamespace(id="some.check", function=lambda: check),)
    monkeypatch.setattr(answer_inside, "CHECKS", checks)
    context = TargetContext(
        role="candidate", work=tmp_path, model_dir=tmp_path, encoder=TINY, policy=policy()
    )
    (found,) = answer_inside.run_checks(context, ["some.check"])["results"]
    return found["status"], found["summary"], found["hint"]


@pytest.mark.parametrize(
    ("error", "status", "summary"),
    [
        (FULL, "inconclusive", "No space left on device: /work/graph.onnx."),
        (
            PermissionError(errno.EACCES, "Permission denied", "/work/x"),
            "inconclusive",
            "Permission denied: /work/x.",
        ),
        (RuntimeError("broken"), "failed", "the check ended with RuntimeError: broken"),
        (OSError(errno.EIO, "read"), "failed", "the check ended with OSError: [Errno 5] read"),
        (VerifyError("It departs"), "failed", "It departs"),
    ],
)
def test_what_an_exception_says_of_the_wheel(
    error: Exception, status: str, summary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(context: TargetContext) -> None:
        raise error

    assert answer(check, tmp_path, monkeypatch)[:2] == (status, summary)


def test_a_disk_that_fills_up_below_another_error_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(context: TargetContext) -> None:
        with replacing(tmp_path / "graph.onnx"):
            raise FULL

    status, summary, hint = answer(check, tmp_path, monkeypatch)
    assert status == "inconclusive"
    assert "graph.onnx cannot be written: No space left on device" in summary
    assert hint is not None
    assert hint.startswith("Free some space, or name")
