"""The measuring checks on a tiny encoder with random weights, in real processes and real time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.kit.tiny_model import write_model
from tests.kit.verify_examples import TINY, policy
from verify.checks.latency_cold import latency_cold
from verify.checks.latency_p95 import latency_p95
from verify.checks.latency_speedup import latency_speedup
from verify.checks.load_inside import concurrency_threads, memory_growth
from verify.checks.robustness_inside import CASES, robustness_inputs
from verify.environment.context import TargetContext
from verify.statistics.gate import judge_p95

pytestmark = pytest.mark.integration

SLEEPING = """
import itertools as _itertools, time as _time
_RealSession = InferenceSession
_calls = _itertools.count()
class InferenceSession(_RealSession):
    def run(self, *arguments, **rest):
        if next(_calls) % 10 == 0:
            _time.sleep(0.025)
        return super().run(*arguments, **rest)
"""
CRASHING = """
_RealSession = InferenceSession
class InferenceSession(_RealSession):
    def run(self, names, feeds, *rest):
        if any(getattr(value, "ndim", 2) == 3 for value in feeds.values()):
            import os, signal
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().run(names, feeds, *rest)
"""


@pytest.fixture
def context(tmp_path: Path) -> TargetContext:
    work = tmp_path / "work"
    work.mkdir()
    here = Path(sys.executable)
    return TargetContext(
        role="candidate",
        work=work,
        model_dir=write_model(tmp_path / "a model"),
        encoder=TINY,
        policy=policy(memory_runs=400, memory_growth_mb_max=50.0),
        quick=True,
        targets={"candidate": here, "official": here},
        host="linux-x86_64",
    )


def sabotaged(context: TargetContext, code: str) -> TargetContext:
    """Return the context with an environment whose onnxruntime has `code` at its end."""
    home = context.work / "sabotaged"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = home / "lib" / version / "site-packages"
    (site / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    shutil.copytree(
        Path(onnxruntime.__file__).parent, site / "onnxruntime", copy_function=os.symlink
    )
    edited = site / "onnxruntime" / "__init__.py"
    text = edited.read_text(encoding="utf-8")
    edited.unlink()
    edited.write_text(text + code, encoding="utf-8")
    return replace(context, targets={"candidate": home / "bin" / "python"})


def test_sleep_in_one_call_out_of_ten_fails_p95_and_not_p50(context: TargetContext) -> None:
    found = latency_p95(sabotaged(context, SLEEPING))
    # A machine that does other things meanwhile may make it inconclusive, and says so.
    assert found.status == "failed" or found.evidence["party"] == "machine", found
    assert found.status != "passed"
    assert found.measured > 20
    assert found.evidence["p50"] < 20
    kinds = {kind for kind, _ in context.samples}
    assert kinds == {"latency"}
    mix, worst = (series for _, series in context.samples)
    assert (mix["workload"], worst["workload"]) == ("mix", "worst")
    assert max(worst["tokens"]) == TINY.max_length
    slept = np.mean([value >= 25e6 for value in mix["values"]])
    assert slept >= 0.09
    median = judge_p95(
        mix["values"], budget_ms=20, min_samples=300, quantile=0.5, processes=mix["process"]
    )
    # Too few calls that do not depend on one another are open on a busy machine, never a failure.
    assert median.status != "failed", median


def test_cold_starts_are_timed_by_stage(context: TargetContext) -> None:
    found = latency_cold(context)
    assert found.status == "passed", found
    starts = found.evidence["starts_ms"]["cpu"]
    assert len(starts) == 5
    for start in starts:
        assert set(start) == {"numpy", "import", "session", "first_run", "process"}
        assert sum(start.values()) - start["process"] < start["process"]
        assert min(start.values()) > 0
    assert "no CoreML runtime" in found.evidence["not_measured"]["coreml"]


def test_a_wheel_is_as_fast_as_itself(context: TargetContext) -> None:
    found = latency_speedup(context)
    (comparison,) = found.evidence["comparisons"]
    assert comparison["name"] == "candidate over official"
    assert comparison["median"]["low"] <= comparison["median"]["high"]
    assert 0.3 < comparison["median"]["ratio"] < 3
    assert {series["workload"] for _, series in context.samples} == {"paired"}


def test_nothing_to_compare_with_is_not_run(context: TargetContext) -> None:
    alone = replace(context, targets={"candidate": Path(sys.executable)})
    assert latency_speedup(alone).status == "not-run"


def test_threads_share_a_session(context: TargetContext) -> None:
    found = concurrency_threads(context)
    assert found.status == "passed", found
    assert found.evidence["calls"] == 4 * 60


def test_memory_of_a_sound_wheel_does_not_grow(context: TargetContext) -> None:
    found = memory_growth(context)
    assert found.status == "passed", found
    assert "Only 100 of 400" in found.summary
    assert found.evidence["peak_rss_mib"] > 10


def test_every_bad_input_is_refused(context: TargetContext) -> None:
    found = robustness_inputs(context)
    assert found.status == "passed", found
    assert len(found.evidence["outcomes"]) == len(CASES)


def test_a_crash_on_a_bad_input_is_known_by_its_name(context: TargetContext) -> None:
    found = robustness_inputs(sabotaged(context, CRASHING))
    assert found.status == "failed"
    assert found.measured == 1
    assert "token ids of rank 3: the process crashed with signal 11" in found.summary
    assert len(found.evidence["outcomes"]) == len(CASES)
