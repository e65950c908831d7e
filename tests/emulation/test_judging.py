"""Judging what ran under the emulator: each check passes, and each one fails when it must."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.emulation import judging
from tests.emulation.errors import CandidateBroken
from tests.emulation.honesty import Binary, glibc_of, judge_binaries
from tests.emulation.instructions import FAMILIES
from tests.emulation.qemu import PROFILES
from tests.emulation.wheels import ArmWheel
from verify.checks.embedding_inside import Comparison as Closeness
from verify.differential.comparison import Comparison, Difference, Side
from verify.differential.delta import Delta
from verify.differential.store import Outcome, Results
from verify.policy.result import CheckResult

PROFILE = PROFILES[0]
WHEEL = ArmWheel(
    path=Path("onnxruntime-1.21.0-cp311-cp311-manylinux_2_28_aarch64.whl"),
    version="1.21.0",
    sha256="0" * 64,
    platforms=("manylinux_2_27_aarch64", "manylinux_2_28_aarch64"),
)
BINARY = Binary(
    name="state.so",
    machine="EM_AARCH64",
    bits=64,
    glibc="2.27",
    libraries=("libc.so.6", "libm.so.6", "libstdc++.so.6", "ld-linux-aarch64.so.1"),
    weaknesses=(),
)


class TestHonesty:
    @pytest.mark.parametrize(
        ("tag", "glibc"),
        [
            ("manylinux_2_28_aarch64", (2, 28)),
            ("manylinux2014_aarch64", (2, 17)),
            ("linux_aarch64", None),
        ],
    )
    def test_what_a_tag_promises(self, tag: str, glibc: tuple[int, int] | None) -> None:
        assert glibc_of(tag) == glibc

    def test_an_honest_wheel_passes(self) -> None:
        found = judge_binaries(WHEEL, [BINARY], "manylinux_2_27_aarch64")
        assert found.status == "passed"
        assert "glibc 2.27" in found.summary

    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({"machine": "EM_X86_64"}, "EM_X86_64"),
            ({"bits": 32}, "32 bits"),
            # The oldest of its tags counts.
            ({"glibc": "2.28"}, "asks for glibc 2.28, its tag promises 2.27"),
            ({"libraries": ("libc.so.6", "libre2.so.9")}, "libre2.so.9"),
            ({"libraries": ("libc.so.6.evil",)}, "libc.so.6.evil"),
        ],
    )
    def test_a_dishonest_one_fails(self, changes: dict[str, Any], word: str) -> None:
        found = judge_binaries(WHEEL, [BINARY, replace(BINARY, **changes)], None)
        assert found.status == "failed"
        assert word in found.summary

    def test_what_auditwheel_finds_counts_too(self) -> None:
        # Another library's symbols can be too new while glibc's are not.
        found = judge_binaries(WHEEL, [BINARY], "manylinux_2_35_aarch64")
        assert found.status == "failed"

    def test_a_wheel_without_binaries_fails(self) -> None:
        assert judge_binaries(WHEEL, [], None).status == "failed"

    def test_a_tag_without_a_promise_is_told(self) -> None:
        plain = replace(WHEEL, platforms=("linux_aarch64",))
        found = judge_binaries(plain, [replace(BINARY, glibc="2.35")], None)
        assert found.status == "passed"
        assert "promises nothing" in found.summary


FACTS: dict[str, Any] = {
    "machine": "aarch64", "version": "1.21.0", "providers": ["CPUExecutionProvider"],
    "build_info": "ORT Build Info", "features": ["asimd", "asimddp"],
}  # fmt: skip


class TestImport:
    def test_a_good_one_passes(self) -> None:
        found = judging.judge_import(PROFILE, WHEEL, FACTS, "", "")
        assert (found.status, found.id) == ("passed", "import.dotprod")

    @pytest.mark.parametrize(
        "changes",
        [{"machine": "x86_64"}, {"version": "1.20.0"}, {"providers": ["X"]}, {"build_info": ""}],
    )
    def test_a_wrong_fact_fails(self, changes: dict[str, Any]) -> None:
        found = judging.judge_import(PROFILE, WHEEL, FACTS | changes, "", "")
        assert found.status == "failed"

    def test_one_that_dies_fails_with_its_last_words(self) -> None:
        found = judging.judge_import(PROFILE, WHEEL, None, "an illegal instruction", "a | uncaught")
        assert found.status == "failed"
        assert "illegal instruction" in found.summary
        assert found.summary.endswith(": uncaught")
        assert found.evidence["it said"] == "a | uncaught"


def results(**verdicts: str) -> Results:
    outcomes = {
        f"kernel/{name}": {"default": Outcome(status="ok", verdict=verdict)}
        for name, verdict in verdicts.items()
    }
    outcomes["node/test_abs"] = {"default": Outcome(status="ok", verdict="failed")}
    return Results(version="1.21.0", build_info="", seconds=1.0, outcomes=outcomes)


class TestKernels:
    def test_all_exact_passes_and_other_cases_do_not_count(self) -> None:
        found = judging.judge_kernels(PROFILE, results(a="passed", b="passed"))
        assert (found.status, found.measured) == ("passed", 0)

    @pytest.mark.parametrize("verdict", ["failed", "error", "crash", ""])
    def test_one_wrong_product_fails(self, verdict: str) -> None:
        found = judging.judge_kernels(PROFILE, results(a="passed", b=verdict))
        assert (found.status, found.measured) == ("failed", 1)
        assert "kernel/b" in found.summary

    def test_none_at_all_is_no_pass(self) -> None:
        assert judging.judge_kernels(PROFILE, results()).status == "not-run"


def counted(**times: int) -> dict[str, int]:
    return dict.fromkeys(FAMILIES, 0) | {key.replace("_", "."): n for key, n in times.items()}


class TestInstructions:
    def test_the_profile_s_families_must_run(self) -> None:
        good = counted(sdot=4, udot=4)
        assert judging.judge_instructions(PROFILE, good, good).status == "passed"
        found = judging.judge_instructions(PROFILE, counted(sdot=4), None)
        assert found.status == "failed"
        assert "no udot" in found.summary

    def test_what_the_official_wheel_reaches_must_be_reached(self) -> None:
        own, official = counted(sdot=4, udot=4), counted(sdot=4, udot=4, fmla_8h=1)
        found = judging.judge_instructions(PROFILE, own, official)
        assert found.status == "failed"
        assert "fmla.8h" in found.summary

    def test_an_empty_trace_is_no_pass(self) -> None:
        assert judging.judge_instructions(PROFILE, counted(), None).status == "not-run"


CLOSE = Closeness(
    way="one by one", not_finite=0, zeros=0, cosine=0.99999995, max_abs=2e-7, norm=1e-7,
    worst_text="quick",
)  # fmt: skip


class TestEmbeddings:
    def judge(self, **changes: Any) -> CheckResult:
        return judging.judge_embeddings(PROFILE, [CLOSE, replace(CLOSE, **changes)], 73, "", "")

    def test_near_vectors_pass_with_the_worst_as_measure(self) -> None:
        found = self.judge(cosine=0.9999999)
        assert (found.status, found.measured) == ("passed", 0.9999999)
        assert found.limit == 0.999999

    @pytest.mark.parametrize(
        "changes",
        [
            {"cosine": 0.9999989},
            {"cosine": float("nan")},
            {"cosine": float("nan"), "not_finite": 1},
            {"zeros": 1},
            {"norm": 0.01},
            {"norm": float("nan")},
        ],
    )
    def test_a_vector_that_is_off_fails(self, changes: dict[str, Any]) -> None:
        assert self.judge(**changes).status == "failed"

    def test_texts_that_did_not_run_fail(self) -> None:
        found = judging.judge_embeddings(PROFILE, None, 73, "signal 9", "Killed")
        assert found.status == "failed"
        assert "signal 9" in found.summary


def compared(*differences: Difference) -> Comparison:
    counts = {"passed": 3}
    side = Side(cases=3, official=counts, candidate=counts, ran=3, identical=3)
    return Comparison(
        versions=("1.21.0", "1.21.0"), sides={"node": side, "generated": side},
        differences=differences, close=(), undefined=(), messages=(), seconds=(1.0, 1.0),
    )  # fmt: skip


class TestComparison:
    def test_agreement_passes_under_the_profile_s_name(self) -> None:
        found = judging.judge_comparison(PROFILE, compared())
        assert [check.status for check in found] == ["passed", "passed"]
        assert found[0].id == "differential.node_tests.dotprod"

    def test_a_difference_fails(self) -> None:
        one = Difference(
            case="node/test_abs", configuration="default", group="node", kind="verdict", detail="x"
        )
        found = judging.judge_comparison(PROFILE, compared(one))
        assert [check.status for check in found] == ["failed", "passed"]

    @pytest.mark.parametrize(
        ("case", "delta", "passes"),
        [
            ("node/test_dft", Delta(status="differs", reason="beyond 4 ULP", max_abs=5e-5,
                                    scale=50.0), True),
            ("node/test_dft", Delta(status="differs", reason="beyond 4 ULP", max_abs=5e-3,
                                    scale=50.0), False),
            ("node/test_dft", Delta(status="differs", reason="NaN at 1 of 4 elements",
                                    scale=50.0), False),
            ("linear/MatMul/float64/9x9/finite", Delta(status="differs", reason="beyond 4 ULP",
                                                       max_abs=1e-9, scale=1.0), False),
            ("reduce/ReduceMax/float32/17-all/nan", Delta(status="differs", reason="NaN at 1"),
             True),
            ("reduce/ReduceMax/float32/17-all/finite", Delta(status="differs", reason="NaN at 1"),
             False),
        ],
    )  # fmt: skip
    def test_only_what_another_compiler_explains_passes(
        self, case: str, delta: Delta, passes: bool
    ) -> None:
        one = Difference(
            case=case, configuration="single", group="node", kind="outputs", detail="x", delta=delta
        )
        check, _ = judging.judge_comparison(PROFILE, compared(one))
        assert check.status == ("passed" if passes else "failed")
        assert len(check.evidence["explained"]) == passes

    def test_an_error_is_never_explained(self) -> None:
        one = Difference(
            case="reduce/ReduceMax/float32/17-all/nan", configuration="single", group="generated",
            kind="outcome", detail="x",
        )  # fmt: skip
        _, check = judging.judge_comparison(PROFILE, compared(one))
        assert check.status == "failed"

    def test_without_an_official_wheel_it_is_not_run(self) -> None:
        found = judging.no_comparison(PROFILE, replace(WHEEL, version="1.26.0+x"))
        assert found.status == "not-run"
        assert "1.26.0" in found.summary

    def test_a_wheel_that_cannot_run_cases_fails(self) -> None:
        error = CandidateBroken("it ended", hint="look", context={"log": "x"})
        found = judging.judge_broken(PROFILE, error)
        assert (found.status, found.hint) == ("failed", "look")


class TestVerdict:
    PASS = CheckResult(id="a", status="passed", summary="", measured=0.99999999, unit="cosine")

    @pytest.mark.parametrize(
        ("statuses", "code", "word"),
        [
            (["passed"], 0, "PASSED"),
            (["passed", "failed"], 1, "FAILED"),
            (["not-run", "failed"], 1, "FAILED"),
            (["passed", "not-run"], 3, "INCOMPLETE"),
            (["passed", "inconclusive"], 3, "INCOMPLETE"),
            ([], 3, "INCOMPLETE"),
        ],
    )
    def test_the_worst_status_decides(self, statuses: list[Any], code: int, word: str) -> None:
        checks = [replace(self.PASS, status=status) for status in statuses]
        assert judging.exit_code(checks) == code
        assert judging.verdict(WHEEL, checks, quick=False).startswith(word)

    def test_a_pass_says_what_it_does_not_show(self) -> None:
        line = judging.verdict(WHEEL, [self.PASS], quick=True)
        assert "Not shown: how fast" in line
        assert "--quick" in line
