"""What the comparison of two runs reports, and what it must never let pass."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from verify.differential.compare import compare
from verify.differential.comparison import Comparison
from verify.differential.store import Case, Group, Outcome, Results
from verify.differential.values import from_array


def case(name: str, group: Group = "generated") -> Case:
    expected = (from_array(np.array([1.0])),) if group == "node" else None
    return Case(id=name, group=group, model=b"", inputs=(), expected=expected)


def gave(*values: float, verdict: str = "") -> Outcome:
    return Outcome(
        status="ok", outputs=(("y", from_array(np.array(values, np.float32))),), verdict=verdict
    )


def refused(kind: str = "load:NotImplemented", message: str = "no kernel") -> Outcome:
    return Outcome(status="error", kind=kind, message=message)


def held(
    official: Outcome | None, candidate: Outcome | None, group: Group = "generated"
) -> Comparison:
    sides = []
    for outcome in (official, candidate):
        runs = {} if outcome is None else {"default": outcome}
        sides.append(Results(version="1", build_info="", seconds=1.0, outcomes={"a/b": runs}))
    return compare([case("a/b", group)], *sides)


def test_equal_runs_pass_and_count_their_runs() -> None:
    result = held(gave(1.0, np.nan), gave(1.0, np.nan))
    node, special = result.check_results()
    assert result.differences == ()
    assert special.status == "passed"
    assert special.id == "differential.special_values"
    assert result.sides["generated"].identical == 1
    # No node test was given: that is not a pass.
    assert node.id == "differential.node_tests"
    assert node.status == "not-run"


@pytest.mark.parametrize(
    ("official", "candidate", "kind"),
    [
        (gave(np.nan), gave(1.0), "outputs"),
        (gave(0.0), gave(-0.0), "outputs"),
        (gave(1.0), refused(), "outcome"),
        (refused(), gave(1.0), "outcome"),
        (gave(1.0), Outcome(status="crash", kind="SIGSEGV"), "outcome"),
        (refused(), refused("run:Fail"), "error-kind"),
        (gave(1.0), None, "missing"),
        (None, gave(1.0), "missing"),
        (None, None, "missing"),
    ],
)
def test_every_disagreement_fails_by_name(
    official: Outcome | None, candidate: Outcome | None, kind: str
) -> None:
    result = held(official, candidate)
    assert [(item.case, item.kind) for item in result.differences] == [("a/b", kind)]
    check = result.check_results()[1]
    assert check.status == "failed"
    assert "a/b" in check.summary
    assert "a/b" in result.text()


def test_a_node_test_that_passes_on_one_wheel_only_fails() -> None:
    # Within the tolerance between the wheels, and still on two sides of the test's own.
    result = held(gave(1.0, verdict="passed"), gave(1.0, verdict="failed"), "node")
    assert [item.kind for item in result.differences] == ["verdict"]
    assert result.sides["node"].official == {"passed": 1}
    assert result.sides["node"].candidate == {"failed": 1}
    assert result.check_results()[0].status == "failed"


def test_close_outputs_pass_and_are_listed_worst_first() -> None:
    one = np.nextafter(np.float32(1), np.float32(2))
    two = np.nextafter(one, np.float32(2))
    names = ["a/one", "a/two"]
    sides = [
        Results(
            version="1",
            build_info="",
            seconds=1.0,
            outcomes={
                name: {"default": gave(value)} for name, value in zip(names, values, strict=True)
            },
        )
        for values in ((1.0, 1.0), (float(one), float(two)))
    ]
    result = compare([case(name) for name in names], *sides)
    assert result.differences == ()
    assert [item.case for item in result.close] == ["a/two", "a/one"]
    assert result.sides["generated"].within == 2
    assert result.check_results()[1].status == "passed"
    assert "2 ULP" in result.text()


def test_the_words_of_an_error_may_differ_but_are_counted() -> None:
    same = held(
        refused(message="/a/onnxruntime/core/x.cc:12 bad"),
        refused(message="/b/c/onnxruntime/core/x.cc:40 bad"),
    )
    other = held(refused(message="bad shape"), refused(message="bad type"))
    assert same.messages == ()
    assert other.messages == ("a/b [default]",)
    assert other.differences == ()


def test_when_neither_wheel_runs_anything_nothing_is_proven() -> None:
    result = held(refused(), refused())
    assert result.sides["generated"].refused == 1
    assert result.check_results()[1].status == "not-run"


def test_only_the_values_of_an_undefined_result_may_differ() -> None:
    def pair(candidate: Outcome) -> Comparison:
        sides = [
            Results(version="1", build_info="", seconds=1.0, outcomes={"a/b": {"default": run}})
            for run in (gave(1.0), candidate)
        ]
        return compare([dataclasses.replace(case("a/b"), undefined="beyond the range")], *sides)

    allowed = pair(gave(2.0))
    assert allowed.differences == ()
    assert [item.case for item in allowed.undefined] == ["a/b"]
    assert "a/b" in allowed.text()
    assert allowed.to_json()["undefined"][0]["case"] == "a/b"
    assert pair(refused()).check_results()[1].status == "failed"


def test_outputs_of_other_names_differ() -> None:
    outcome = Outcome(status="ok", outputs=(("z", from_array(np.array([1.0], np.float32))),))
    assert [item.kind for item in held(gave(1.0), outcome).differences] == ["outputs"]


def test_the_json_form_holds_every_difference_with_its_distances() -> None:
    data = held(gave(1.0), gave(2.0)).to_json()
    assert data["schema"] == 1
    (row,) = data["differences"]
    assert row["case"] == "a/b"
    assert row["max_ulp"] == 2**23
    assert row["max_abs"] == 1.0
