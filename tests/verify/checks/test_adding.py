"""To add a check takes four places at most: here three, and this test is the fourth."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.gen.check_table import check_table

ROOT = Path(__file__).resolve().parents[3]
ENTRY = """
[[check]]
id = "example.even"
title = "An even number"
catches = "The number of layers. Catches an odd one."
proves = "the encoder has an even number of layers"
run = ".checks.example_inside:even"
limits = ["memory_growth_mb_max"]
"""
FUNCTION = '''
from ..environment.context import TargetContext
from ..policy.judgement import judge_numbers
from ..policy.result import CheckResult


def even(context: TargetContext) -> CheckResult:
    """Judge a number that is 4 times the layers."""
    limits = context.policy.limits
    judged = {"memory_growth_mb_max": 4 * context.encoder.layers}
    return CheckResult(
        id="example.even",
        status=judge_numbers(judged, limits).status,
        summary="counted",
        evidence={"judged": judged},
    )
'''
USE = """
import json, sys
from dataclasses import replace
from pathlib import Path
from tests.gen.check_table import check_table
from tests.kit.verify_examples import TINY
from verify.checks.policies import find_policy
from verify.checks.table import CHECKS, find_check
from verify.environment.context import TargetContext
from verify.policy.result import CheckResult
from verify.run import carry_out, rejudge
from verify.run.selection import Selection
from verify.run.verdict import Setting, decide

work = Path(sys.argv[1])
policy = find_policy("linux")
context = TargetContext(
    role="candidate", work=work, model_dir=work, encoder=TINY, policy=policy,
    targets={"candidate": Path(sys.executable)}, host="linux-x86_64",
)
answer = carry_out.run_checks(
    context, [find_check("example.even")], logs=work / "logs", say=lambda *_: None
)
(result,) = (CheckResult(**entry) for entry in answer["results"])
setting = Setting(policy=policy, host="linux-x86_64")
verdict = decide([result], selection=Selection(), setting=setting)
strict = replace(policy, limits=replace(policy.limits, memory_growth_mb_max=1.0))
again = rejudge._again(result, None, strict)
print(json.dumps({
    "status": result.status, "proven": verdict.proven, "missing": verdict.headline,
    "again": [again.status, again.limit, again.summary], "table": check_table(),
}))
"""


def test_a_check_is_added_and_taken_away(tmp_path: Path) -> None:
    for package in ("verify", "tests/kit", "tests/gen"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    (tmp_path / "tests" / "__init__.py").touch()
    table = tmp_path / "verify" / "checks" / "table.toml"
    before = table.read_text(encoding="utf-8")
    linux = tmp_path / "verify" / "policy" / "linux.toml"
    required = linux.read_text(encoding="utf-8")

    # 1, 2, 3: its entry, its function, the policy that requires it.
    table.write_text(before + ENTRY, encoding="utf-8")
    function = table.with_name("example_inside.py")
    function.write_text(FUNCTION, encoding="utf-8")
    linux.write_text(
        required.replace("[required]", '[required]\n"example.even" = true'), encoding="utf-8"
    )

    found = json.loads(python(tmp_path, "-c", USE, str(tmp_path)))
    assert found["status"] == "passed"
    assert found["proven"] == ["the encoder has an even number of layers (counted)"]
    assert "example.even" not in found["missing"]
    assert "wheel.identity" in found["missing"]
    assert found["again"] == [
        "failed", 1.0, "8 is above memory_growth_mb_max = 1 (judged again)"
    ]  # fmt: skip
    row = "| `example.even` | the encoder has an even number of layers |"
    assert row in found["table"]
    assert "example.even  An even number" in python(tmp_path, "-m", "verify", "checks")

    table.write_text(before, encoding="utf-8")
    function.unlink()
    linux.write_text(required, encoding="utf-8")
    assert "example.even" not in python(tmp_path, "-m", "verify", "checks")
    assert row not in check_table()


def python(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
