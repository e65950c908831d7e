"""The verdict's rules, over every combination of outcomes."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.report_example import example_document
from tests.kit.verify_examples import policy, results
from verify.checks.table import CHECKS, check_ids
from verify.errors import VerifyError
from verify.policy.result import CheckResult
from verify.report import junit
from verify.report import terminal as table
from verify.report.document import (
    CheckEntry,
    Document,
    LatencySeries,
    Samples,
    Verdict,
    dumps,
    parse,
)
from verify.run import carry_out as run
from verify.run import rejudge
from verify.run.sampled import with_bound
from verify.run.selection import Selection
from verify.run.verdict import Setting, decide

HOST = "linux-x86_64"
STATUSES = st.sampled_from(["passed", "failed", "inconclusive", "not-run"])
COMBINATIONS = st.fixed_dictionaries(dict.fromkeys(check_ids(), STATUSES))


def conclude(found: list[CheckResult], required: dict[str, bool] | None = None) -> Verdict:
    return decide(found, selection=Selection(), setting=Setting(policy=policy(required), host=HOST))


def from_statuses(statuses: dict[str, str]) -> list[CheckResult]:
    return results(**{name.replace(".", "_"): status for name, status in statuses.items()})


def document(found: list[CheckResult], latency: Any = (), **limits: float) -> Document:
    chosen = policy(**limits)
    whole = parse(example_document(calls=1))
    return whole.model_copy(
        update={
            "host": whole.host.model_copy(update={"kind": HOST}),
            "policy": run.policy_part(chosen),
            "selection": Selection().part(),
            "verdict": decide(
                found, selection=Selection(), setting=Setting(policy=chosen, host=HOST)
            ),
            "checks": run.check_part(found, chosen),
            "samples": Samples(latency=list(latency)),
        }
    )


def entry(found: Document, name: str) -> CheckEntry:
    check = found.check(name)
    assert check is not None
    return check


@pytest.mark.parametrize(
    ("changed", "decision", "code"),
    [
        ({}, "GO", 0),
        ({"provider_executes": "not-run"}, "GO-WITH-FALLBACK", 0),
        ({"latency_p95": "failed"}, "NO-GO", 1),
        ({"latency_p95": "inconclusive"}, "INCONCLUSIVE", 2),
        ({"latency_p95": "inconclusive", "wheel_identity": "failed"}, "NO-GO", 1),
        ({"memory_growth": "not-run"}, "NO-GO", 1),
    ],
)
def test_table_of_decisions(changed: dict, decision: str, code: int) -> None:
    verdict = conclude(results(**changed))
    assert (verdict.decision, verdict.exit_code) == (decision, code)
    assert verdict.headline.startswith(f"{decision}: ")


def test_fallback_names_the_provider_and_what_was_not_proven() -> None:
    verdict = conclude(results(provider_executes="not-run"))
    assert "CPU provider" in verdict.headline
    assert "NOT proven" in verdict.headline
    assert any("CoreML executes" in line for line in verdict.not_proven)


@settings(deadline=None)
@given(COMBINATIONS, st.fixed_dictionaries({name: st.booleans() for name in check_ids()}))
def test_laws_of_the_verdict(statuses: dict[str, str], required: dict[str, bool]) -> None:
    verdict = conclude(from_statuses(statuses), required)
    needed = {statuses[name] for name, wanted in required.items() if wanted}
    assert (verdict.exit_code == 0) == (needed <= {"passed"})
    assert (verdict.exit_code == 1) == bool(needed & {"failed", "not-run"})
    assert (verdict.decision == "GO") <= (statuses["provider.executes"] == "passed")
    assert len(verdict.proven) == list(statuses.values()).count("passed")
    assert len(verdict.proven) + len(verdict.not_proven) == len(statuses)


@settings(deadline=None)
@given(COMBINATIONS, st.sampled_from(check_ids()))
def test_a_worse_outcome_never_helps(statuses: dict[str, str], name: str) -> None:
    order = {0: 0, 2: 1, 1: 2}
    before = conclude(from_statuses({**statuses, name: "passed"}))
    after = conclude(from_statuses({**statuses, name: "failed"}))
    assert order[after.exit_code] >= order[before.exit_code]


@settings(deadline=None)
@given(COMBINATIONS)
def test_junit_shows_green_only_for_passed(statuses: dict[str, str]) -> None:
    found = document(from_statuses(statuses))
    root = ET.fromstring(junit.render(found).split("\n", 1)[1])
    assert len(root.findall(".//testcase")) == len(CHECKS)
    for case in root.iter("testcase"):
        green = case.find("failure") is None and case.find("skipped") is None
        assert green == (statuses[str(case.get("name"))] == "passed")
    optional = root.find(".//testcase[@name='provider.executes']/skipped")
    assert (optional is not None) == (statuses["provider.executes"] in ("inconclusive", "not-run"))


def test_junit_survives_characters_that_xml_cannot_hold() -> None:
    found = [CheckResult(id="wheel.identity", status="failed", summary="a\x00b\x1b[31m \ud800")]
    ET.fromstring(junit.render(document(found)).split("\n", 1)[1].encode())


def test_a_missing_result_is_not_a_pass() -> None:
    assert conclude(results()[1:]).exit_code == 1


def test_a_waived_check_is_repeated_and_takes_the_go_away() -> None:
    selection = Selection(skip={"memory.growth": "runner swaps"})
    found = [
        CheckResult(id=item.id, status="not-run", summary="skipped: runner swaps")
        if item.id == "memory.growth"
        else item
        for item in results()
    ]
    verdict = decide(found, selection=selection, setting=Setting(policy=policy(), host=HOST))
    assert (verdict.decision, verdict.exit_code) == ("GO-WITH-FALLBACK", 0)
    assert "runner swaps" in verdict.paragraph
    assert "memory.growth" in verdict.headline


def test_unselected_required_checks_leave_it_open() -> None:
    selection = Selection(only=("latency.p95",))
    found = [
        item
        if item.id == "latency.p95"
        else CheckResult(id=item.id, status="not-run", summary="not selected (--only)")
        for item in results()
    ]
    verdict = decide(found, selection=selection, setting=Setting(policy=policy(), host=HOST))
    assert (verdict.decision, verdict.exit_code) == ("INCONCLUSIVE", 2)


@pytest.mark.parametrize(
    ("keyword", "taken"),
    [("latency", True), ("not latency", False), ("memory or latency.p95", True), ("memory", False)],
)
def test_keyword_selects(keyword: str, taken: bool) -> None:
    check = next(check for check in CHECKS if check.id == "latency.p95")
    assert (Selection(keyword=keyword).left_out(check, policy()) == "") is taken


def test_quick_leaves_out_only_what_is_not_required() -> None:
    cold = next(check for check in CHECKS if check.id == "latency.cold")
    assert Selection(quick=True).left_out(cold, policy({})) == "left out by --quick"
    assert Selection(quick=True).left_out(cold, policy({"latency.cold": True})) == ""


@pytest.mark.parametrize(
    "wrong", [{"only": ("latncy.p95",)}, {"skip": {"latency.p95": " "}}, {"keyword": "zzz"}]
)
def test_impossible_selections_are_refused(wrong: dict) -> None:
    with pytest.raises(VerifyError) as caught:
        Selection(**wrong)
    assert caught.value.hint


def test_judging_again_follows_the_new_limits() -> None:
    changed = CheckResult(
        id="coverage.nodes",
        status="passed",
        summary="222 of 225",
        evidence={"judged": {"coverage_nodes_min": 0.9867}},
    )
    found = [changed if item.id == changed.id else item for item in results()]
    found = [item for item in found if item.id != "latency.p95"]
    strict = policy({"coverage.nodes": True}, coverage_nodes_min=0.999)
    judged = rejudge.judge(document(found), strict)
    assert judged.verdict.exit_code == 1
    again = entry(judged, "coverage.nodes")
    assert (again.status, again.limit) == ("failed", 0.999)
    back = rejudge.judge(judged, policy({"coverage.nodes": True}, coverage_nodes_min=0.98))
    assert back.verdict.exit_code == 0


def test_judging_again_never_turns_nan_or_a_crash_into_a_pass() -> None:
    nan = CheckResult(
        id="embedding.reference",
        status="failed",
        summary="NaN",
        evidence={"judged": {"min_cosine": "nan"}, "degenerate": 3},
    )
    crash = CheckResult(id="robustness.inputs", status="failed", summary="killed by SIGSEGV")
    loose = policy(
        {"embedding.reference": True, "robustness.inputs": True}, min_cosine=-1.0, max_abs=9.0
    )
    judged = rejudge.judge(document([nan, crash]), loose)
    assert [check.status for check in judged.checks] == ["failed", "failed"]


@pytest.mark.parametrize(
    ("check", "judged", "limits", "status"),
    [
        ("memory.growth", {"memory_growth_mb_max": [8.0, 12.0]}, {}, "passed"),
        ("memory.growth", {"memory_growth_mb_max": [8.0, 12.0]}, {"memory_growth_mb_max": 10.0},
         "inconclusive"),
        ("latency.cold", {"cold_session_ms_max": [300.0, 350.0]}, {"cold_session_ms_max": 200.0},
         "failed"),
        ("latency.speedup",
         {"speedup_over_official_min": [0.9, 1.1], "speedup_over_cpu_min": [1.5, 1.6]},
         {"speedup_over_official_min": 1.2}, "failed"),
    ],
)  # fmt: skip
def test_judging_intervals_again(
    check: str, judged: dict, limits: dict[str, float], status: str
) -> None:
    before = CheckResult(
        id=check, status="inconclusive", summary="as measured", evidence={"judged": judged}
    )
    chosen = policy({check: True}, **limits)
    (found,) = rejudge.judge(document([before]), chosen).checks
    assert found.status == status
    assert found.limit == getattr(chosen.limits, next(iter(judged)))
    assert found.summary != "as measured" or status == "inconclusive"


def test_judging_again_leaves_alone_what_no_number_decides() -> None:
    found = [
        # No partition at all is within every limit, and no pass.
        CheckResult(
            id="coverage.partitions", status="failed", summary="s", evidence={"judged": {}}
        ),
        # A report of an older version, with a word in the numbers' place.
        CheckResult(id="latency.cold", status="passed", summary="s", evidence={"judged": "cpu"}),
    ]
    judged = rejudge.judge(document(found), policy(cold_session_ms_max=1.0))
    assert [check.status for check in judged.checks] == ["failed", "passed"]


def test_a_budget_that_nothing_holds_names_the_way_out() -> None:
    def steps(measured: float | None) -> str:
        late = CheckResult(id="latency.p95", status="failed", summary="late", measured=measured)
        return " ".join(conclude([late], {"latency.p95": True}).next)

    assert "the bridge" in steps(31.0)
    assert "the bridge" not in steps(None)  # it crashed: nothing is known of the budget


def test_judging_latency_again_uses_the_raw_samples() -> None:
    random = np.random.default_rng(5)
    values = random.integers(10_000_000, 11_000_000, 600).tolist()
    result = CheckResult(id="latency.p95", status="passed", summary="s", measured=11.0, unit="ms")
    series = LatencySeries(
        series="candidate/cpu/fp32/mix",
        role="candidate",
        provider="cpu",
        precision="fp32",
        workload="mix",
        unit="ns",
        process=[number % 3 for number in range(600)],
        tokens=[12] * 600,
        warmup=[],
        values=values,
    )
    required = {"latency.p95": True}
    found = document([result], [series])
    judged = rejudge.judge(found, policy(required, latency_p95_ms=20))
    assert judged.verdict.exit_code == 0
    assert judged.samples.latency[0].p95_upper_ms == entry(judged, "latency.p95").measured
    assert rejudge.judge(found, policy(required, latency_p95_ms=5)).verdict.exit_code == 1
    slow = series.model_copy(update={"values": [value / 1e6 for value in values], "unit": "s"})
    found = document([result], [slow])
    assert rejudge.judge(found, policy(required, latency_p95_ms=20)).verdict.exit_code == 1
    assert rejudge.judge(document([result]), policy(required)).verdict.exit_code == 2


def test_the_bound_follows_the_confidence_of_the_policy() -> None:
    series = parse(example_document()).samples.latency[0]
    low, high = (
        with_bound(series, policy(latency_confidence=level).limits).p95_upper_ms
        for level in (0.8, 0.99)
    )
    assert low is not None
    assert high is not None
    assert low < high
    empty = series.model_copy(update={"values": [], "process": [], "tokens": []})
    assert with_bound(empty, policy().limits).p95_upper_ms is None


@pytest.mark.parametrize("wrong", [float("nan"), np.int64(3), object(), {"deep": [float("inf")]}])
def test_a_result_that_json_cannot_hold_is_a_failed_check(wrong: Any) -> None:
    results = [
        CheckResult(id="wheel.identity", status="passed", summary="s", evidence={"x": wrong}),
        CheckResult(id="memory.growth", status="passed", summary="s", measured=wrong),
        CheckResult(id="latency.cold", status="passed", summary="s", evidence={"x": (1, 2)}),
    ]
    found = document([run.writable(result) for result in results])
    assert [check.status for check in found.checks] == ["failed", "passed", "failed"]
    assert "cannot be written" in entry(found, "memory.growth").summary
    assert entry(found, "latency.cold").evidence == {"x": [1, 2]}
    assert dumps(parse(json.loads(dumps(found)))) == dumps(found)


def test_a_selection_comes_back_from_the_document() -> None:
    chosen = Selection(quick=True, keyword="latency or memory", skip={"latency.cold": "slow disk"})
    assert Selection.from_part(chosen.part()) == chosen
    gone = chosen.part().model_copy(update={"only": ["latency.p95", "no.longer"]})
    assert Selection.from_part(gone).only == ("latency.p95",)


def test_markdown_has_one_row_for_each_check() -> None:
    text = table.markdown(document(results(provider_executes="not-run")))
    assert text.startswith("## GO-WITH-FALLBACK")
    assert sum(line.startswith("| `") for line in text.splitlines()) == len(CHECKS)


@pytest.mark.parametrize("end", ["", ".", '."', "!", '!"', ".)", "?"])
@pytest.mark.parametrize("status", ["failed", "inconclusive", "not-run"])
def test_a_sentence_of_the_verdict_ends_once(status: str, end: str) -> None:
    """A summary may quote another program's sentence, its full stop included."""
    found = [
        CheckResult(id=name, status=status, summary=f'it answers "Not here{end}')
        for name in check_ids()
    ]
    for required in (None, {}):
        verdict = conclude(found, required)
        for text in (verdict.headline, verdict.paragraph, *verdict.next):
            assert not re.search(r"[.!?][\"')]*\.(?!\.)", text), text


def test_an_error_ends_once() -> None:
    assert str(VerifyError('a.onnx cannot be read: "no such file.".')).endswith('file."')
    assert str(VerifyError("a.onnx cannot be read: damaged..")).endswith("damaged.")
    assert str(VerifyError("it is version 1.21.0.")) == "it is version 1.21.0."


def test_the_verdict_names_the_form_that_was_judged() -> None:
    found = [item for item in results() if item.id != "provider.executes"]
    chosen = policy().with_precision("int8-fast")
    said = decide(found, selection=Selection(), setting=Setting(policy=chosen, host=HOST))
    assert "the fallback is the CPU provider in int8-fast" in said.headline
    assert "cosine with fp32 of 0.99 or more" in said.paragraph
    assert "form" not in conclude(found).paragraph
    assert run.policy_part(chosen).cpu_precision == "int8-fast"


def test_judging_again_in_another_form_wants_a_run_that_compared_it() -> None:
    def judged(numbers: dict[str, float], precision: Any) -> CheckEntry:
        before = CheckResult(
            id="embedding.agreement", status="passed", summary="s", evidence={"judged": numbers}
        )
        chosen = policy({"embedding.agreement": True}).with_precision(precision)
        return entry(rejudge.judge(document([before]), chosen), "embedding.agreement")

    plain = {"agreement_min_cosine": 0.99999, "agreement_rank_min": 1.0}
    assert judged(plain, "fp32").status == "passed"
    assert judged(plain, "int8").status == "inconclusive"
    with_int8 = {"agreement_int8_min": 0.998, **plain}
    assert judged(with_int8, "int8").status == "failed"
    assert judged(with_int8, "int8-fast").status == "inconclusive"
    assert judged(with_int8, "fp32").status == "passed"  # that form is not asked for


def test_what_to_do_next_names_the_right_wheel() -> None:
    found = from_statuses(
        {name: "not-run" if name == "provider.executes" else "passed" for name in check_ids()}
    )
    for own, words in ((True, "the wheel built there"), (False, "the macOS wheel of this version")):
        chosen = replace(policy({"latency.p95": True}), own=own)
        verdict = decide(found, selection=Selection(), setting=Setting(policy=chosen, host=HOST))
        assert words in " ".join(verdict.next)


@pytest.mark.parametrize("status", ["passed", "failed"])
def test_what_the_checks_made_stays_after_a_failure_alone(tmp_path: Path, status: Any) -> None:
    for name in ("graphs", "conversion"):
        (tmp_path / name).mkdir()
    (tmp_path / "stray").write_text("")
    run.tidy(tmp_path, [CheckResult(id="conversion.exact", status=status, summary="")])
    left = sorted(each.name for each in tmp_path.iterdir())
    assert left == (["graphs"] if status == "passed" else ["conversion", "graphs", "stray"])
