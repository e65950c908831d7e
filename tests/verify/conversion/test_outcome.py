"""Names are mapped, answers are judged, and the command says what it cannot do."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.kit.odd_models import dense, spelt_alike
from verify.checks.policies import find_policy
from verify.cli import main
from verify.commands import conversion as cli
from verify.conversion import proof
from verify.conversion.closeness import Compared, compare, similarity
from verify.conversion.outcome import exit_code, judge
from verify.conversion.package import (
    PackageError,
    known_values,
    map_names,
    promised_macos,
    safe_name,
    told_apart,
)
from verify.encoder.number_types import widened
from verify.policy.judgement import violations


@given(st.text(min_size=1))
def test_a_safe_name_is_an_identifier_and_stays(name):
    spelt = safe_name(name)
    assert spelt.isascii()
    assert spelt.isidentifier()
    assert safe_name(spelt) == spelt


@pytest.mark.parametrize(
    ("name", "spelt"),
    [
        ("layer0.query", "layer0_query"),
        ("/a/b:0", "_a_b_0"),
        ("12", "_12"),
        ("plain", "plain"),
        ("größe é", "gr____e___"),
        ("日本", "______"),
    ],
)
def test_names_as_the_provider_spells_them(name, spelt):
    assert safe_name(name) == spelt


def test_names_are_mapped_in_order():
    assert list(map_names(["b_1", "a"], ["a", "c", "b.1"]).items()) == [("b_1", "b.1"), ("a", "a")]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["other"], "b_1__0 of the package: none is spelt so"),
        (["b.1", "b/1"], "b_1__0 of the package: it may be 'b.1' or 'b/1'"),
    ],
)
def test_a_name_of_no_value_or_of_two_is_refused(values, said):
    assert known_values(["b_1"], values) == {}
    with pytest.raises(PackageError, match=re.escape(said)):
        map_names(["b_1__0"], values)


def test_values_spelt_alike_get_names_of_their_own():
    made, new = told_apart(spelt_alike())
    assert new == {"a.b": "a.b~2", "a/b": "a/b~3", "o.1": "o.1~2", "w.1": "w.1~2", "o/1": "o/1~3"}
    assert [item.name for item in made.graph.input] == ["a.b~2", "a/b~3", "a_b", "flag"]
    assert [item.name for item in made.graph.output] == ["o.1~2", "o_1", "o/1~3"]
    inner = made.graph.node[3].attribute[0].g.node[0]
    assert (list(inner.input), list(inner.output)) == (["o.1~2"], ["Neg.1"])
    assert told_apart(made)[1] == told_apart(dense(1))[1] == {}


@given(st.integers(1, 100), st.integers(1, 100))
def test_spread_is_even_and_starts_at_the_first(count, wanted):
    chosen = proof.spread(count, wanted)
    assert chosen[0] == 0
    assert len(chosen) == min(count, wanted) == len(set(chosen))
    assert all(0 <= place < count for place in chosen)


def measured(**changes):
    mode = {
        "texts": [0, 1],
        "cosines": [1.0, 1.0],
        "worst_cosine": 1.0,
        "worst_text": 0,
        "max_abs_vector": 1e-7,
        "max_abs_state": 1e-6,
        "first_nan": "",
        "overflow": [],
        "vanished": [],
        "partly_underflowing": 0,
    }
    return {
        "label": "static [1,32] fp32",
        "problems": [],
        "facts": {
            "specification": 8,
            "allowed": 7,
            "minimum_os": "13.3",
            "constants_in_file": 3,
            "operations": 5,
        },
        "unknown": {},
        "refused": "",
        "modes": {name: deepcopy(mode) for name in ("exact", "fp16", "fp16-accumulate")},
        **changes,
    }


def with_mode(mode, **changes):
    entry = measured()
    entry["modes"][mode].update(changes)
    return entry


def statuses(*entries):
    results = judge(list(entries))
    return {result.id.split(".")[1]: result.status for result in results}, exit_code(results)


def test_good_answers_pass():
    found = ({"package": "passed", "exact": "passed", "half": "passed"}, 0)
    assert statuses(measured(), measured(label="b")) == found


def test_no_package_is_not_run_and_never_passed():
    assert statuses() == ({"package": "not-run", "exact": "not-run", "half": "not-run"}, 2)


def test_bounds_that_cross_are_the_models_own():
    said = "coremltools refuses the program: The `alpha` value (1.0) should be smaller than `beta`"
    for problem, wanted in ((said, "A Clip of the model"), ("a blob is cut", "The converter, or")):
        package = judge([measured(problems=[problem], modes={})])[0]
        assert (package.status, package.hint.startswith(wanted)) == ("failed", True)


def test_an_unknown_operation_is_not_run_and_listed():
    entry = measured(label="conv", unknown={"gru": 2}, modes={})
    assert statuses(measured(), entry) == (
        {"package": "passed", "exact": "not-run", "half": "not-run"},
        2,
    )
    exact = next(result for result in judge([entry]) if result.id == "conversion.exact")
    assert "gru (2)" in exact.summary


def test_a_failure_outweighs_what_was_not_run():
    bad = with_mode("exact", worst_cosine=0.9)
    found, code = statuses(bad, measured(label="b", unknown={"gru": 1}, modes={}))
    assert (found["exact"], found["half"], code) == ("failed", "not-run", 1)


@pytest.mark.parametrize(("cosine", "status"), [(0.9999999, "passed"), (0.99999989, "failed")])
def test_the_exact_limit(cosine, status):
    assert statuses(with_mode("exact", worst_cosine=cosine))[0]["exact"] == status


@pytest.mark.parametrize(("cosine", "status"), [(0.9995, "passed"), (0.99949, "failed")])
def test_the_limit_in_half(cosine, status):
    assert statuses(with_mode("fp16", worst_cosine=cosine))[0]["half"] == status


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"worst_cosine": 0.5}, "digits are lost"),
        ({"overflow": ["constant bias overflows to infinity in half precision"]}, "mask bias"),
    ],
)
def test_advice_in_half_is_about_what_was_lost(change, advice):
    half = next(e for e in judge([with_mode("fp16", **change)]) if e.id == "conversion.half")
    assert (half.status, advice in half.hint) == ("failed", True)


def test_nan_is_no_pass():
    assert statuses(with_mode("fp16", worst_cosine=float("nan")))[0]["half"] == "failed"


def test_an_overflow_fails_even_where_the_cosine_is_good():
    said = "constant bias overflows to infinity in half precision"
    entry = with_mode("fp16", overflow=[said])
    assert statuses(entry)[0]["half"] == "failed"
    half = next(result for result in judge([entry]) if result.id == "conversion.half")
    assert said in half.summary


def test_a_damaged_package_fails_and_nothing_is_said_about_its_values():
    entry = measured(problems=["constant w at offset 64: no record begins there"], modes={})
    assert statuses(entry) == ({"package": "failed", "exact": "not-run", "half": "not-run"}, 1)


def test_the_departing_operation_is_in_the_summary():
    entry = {**with_mode("exact", worst_cosine=0.5), "departure": "softmax shares departs by 1"}
    exact = next(result for result in judge([entry]) if result.id == "conversion.exact")
    assert "softmax shares" in exact.summary


def test_padding_does_not_count_and_nan_does():
    wanted = np.random.default_rng(0).normal(size=(1, 4, 8))
    mask = np.array([[1, 1, 1, 0]])
    found = wanted.copy()
    found[0, 3] = 99.0
    same = compare({"y": found}, {"y": wanted}, mask=mask)
    assert same == Compared(cosine=pytest.approx(1.0, abs=1e-12), vector=0.0, element=0.0)
    found[0, 0, 0] = np.nan
    assert compare({"y": found}, {"y": wanted}, mask=mask).cosine == -1.0


def test_another_shape_is_the_worst_cosine():
    found = compare({"y": np.ones((1, 8, 4))}, {"y": np.ones((1, 4, 8))}, mask=np.ones((1, 4)))
    assert (found.cosine, found.vector) == (-1.0, float("inf"))


def test_an_output_that_is_no_text_is_compared_whole_with_its_scale():
    wanted = np.random.default_rng(0).normal(size=(3, 5))
    assert compare({"y": wanted}, {"y": wanted}) == Compared(cosine=1.0, vector=0.0, element=0.0)
    scaled = compare({"y": 1.01 * wanted}, {"y": wanted})
    assert scaled.cosine == pytest.approx(1 - (0.01 / 1.01) ** 2 / 2)
    assert scaled.vector == pytest.approx(0.01)
    single = compare({"y": np.array([2.0])}, {"y": np.array([1.0])})  # a cosine would be 1
    assert single.cosine < 0.9
    zeros = np.zeros(4)
    assert compare({"y": zeros}, {"y": zeros}).cosine == 1.0
    assert compare({"y": zeros + 1}, {"y": zeros}).cosine == 0.5


@settings(deadline=None)
@given(
    st.lists(st.floats(-100, 100), min_size=2, max_size=9),
    st.floats(0.1, 10),
)
def test_similarity_is_symmetric_and_the_cosine_at_equal_lengths(values, factor):
    one = np.array(values)
    other = one[::-1].copy()
    assert similarity(one, other) == pytest.approx(similarity(other, one), abs=1e-12)
    assert similarity(one, factor * other) <= 1.0
    length = float(np.linalg.norm(one))
    if length > 1e-3:
        assert similarity(one, other) == pytest.approx(float(one @ other) / length**2, abs=1e-9)


def test_the_worst_of_several_outputs_counts():
    good = np.ones(4)
    found = compare({"a": good, "b": -good}, {"a": good, "b": good})
    assert found.cosine == pytest.approx(-1.0)


def test_one_wrong_element_fails_though_no_limit_on_the_cosine_sees_it():
    entry = with_mode("exact", worst_cosine=0.99999999, max_abs_vector=2e-4)
    assert statuses(entry)[0]["exact"] == "failed"
    exact = next(result for result in judge([entry]) if result.id == "conversion.exact")
    assert "off by 0.0002" in exact.summary
    assert violations(exact.evidence["judged"], find_policy("linux").limits) != []
    # In half precision that much is rounding.
    assert statuses(with_mode("fp16", max_abs_vector=2e-4))[0]["half"] == "passed"


def test_the_worst_case_is_named_and_every_cosine_kept():
    entry = with_mode("fp16", cosines=[0.9999, 0.99995], worst_cosine=0.9999, worst_name="emoji")
    half = next(result for result in judge([entry]) if result.id == "conversion.half")
    assert "(emoji, static [1,32] fp32)" in half.summary
    assert half.evidence["cosines"] == {"static [1,32] fp32": [0.9999, 0.99995]}


def test_a_wide_graph_has_the_same_weights_and_no_half():
    weights = np.array([1 / 3, 2.0], dtype=np.float16)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
            helper.make_node("Mul", ["h", "w"], ["p"]),
            helper.make_node("Cast", ["p"], ["y"], to=TensorProto.FLOAT),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
        [numpy_helper.from_array(weights, "w")],
        value_info=[helper.make_tensor_value_info("h", TensorProto.FLOAT16, [2])],
    )
    model = helper.make_model(graph)
    wide = widened(model)
    assert numpy_helper.to_array(wide.graph.initializer[0]).dtype == np.float32
    assert (numpy_helper.to_array(wide.graph.initializer[0]) == weights).all()
    assert wide.graph.value_info[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert wide.graph.node[0].attribute[0].i == TensorProto.FLOAT
    assert model.graph.node[0].attribute[0].i == TensorProto.FLOAT16


def test_the_report_names_what_was_not_run():
    entries = [measured(), measured(label="conv", unknown={"gru": 2}, modes={})]
    said = cli.text(entries, judge(entries), 1.0)
    assert "static [1,32] fp32" in said
    assert "not run" in said
    assert "conversion.exact: not-run" in said


def test_the_report_says_infinite_where_there_is_no_number():
    entry = with_mode("exact", worst_cosine=-1.0, max_abs_vector=None)
    assert "infinite" in cli.text([entry], judge([entry]), 1.0)


MAC, LINUX = "macosx_14_0_arm64.whl", "manylinux_2_28_x86_64.whl"


@pytest.mark.parametrize(
    ("wheel", "promised"),
    [
        (f"onnxruntime-1.21.0+ortmill.3e383661-cp311-cp311-{LINUX}", "13.3"),
        ("onnxruntime-1.21.0-cp311-cp311-macosx_13_0_universal2.whl", "13.0"),
        # No recipe is needed where the wheel itself says it.
        (f"onnxruntime-1.32.0-cp311-cp311-{MAC}", "14.0"),
        (f"onnxruntime-1.32.0-cp311-cp311-{LINUX}", ""),
    ],
)
def test_the_promised_system_is_the_wheels_own_or_its_recipes(wheel, promised):
    assert promised_macos(wheel) == promised


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (
            "This wheel has no CoreMLExecutionProvider; it has CPUExecutionProvider.",
            "has no CoreML",
        ),
        ("", "Nobody promises a macOS"),
    ],
)
def test_a_wheel_without_the_provider_is_told_so_before_its_recipe_is_missed(
    tmp_path, monkeypatch, said, problem
):
    """An official wheel for Linux has neither."""

    def call(*_, **__):
        return SimpleNamespace(value=None if said else True, sentence=said, stderr="")

    graph = proof.Graph(label="g", width=8, path=tmp_path / "g.onnx", folder=tmp_path)
    context = SimpleNamespace(call=call)
    with pytest.raises(proof.ProofError, match=problem):
        proof.prove_graphs(context, [graph], None, proof.Setting(minimum_os=""), say=print)


@pytest.mark.parametrize(
    "words",
    [
        ["--buckets", "32,x"],
        ["--buckets", "0"],
        ["--precision", "fp8"],
        ["--texts", "-1"],
        ["missing.whl"],
    ],
)
def test_wrong_usage_ends_in_3_with_a_sentence(words, tmp_path: Path, capsys):
    models = tmp_path / "models"
    assert main(["conversion", *words, "--work", str(tmp_path), "--models", str(models)]) == 3
    said = capsys.readouterr().err
    assert said.strip()
    assert "Traceback" not in said


def test_results_are_json():
    assert json.dumps([result.evidence for result in judge([measured()])])


def test_the_limits_of_a_policy_decide_and_can_be_judged_again():
    results = {each.id: each for each in judge([measured()], exact=1.1, half=-1.0)}
    assert results["conversion.exact"].status == "failed"
    assert results["conversion.half"].status == "passed"
    judged = results["conversion.exact"].evidence["judged"]
    assert violations(judged, find_policy("linux").limits) == []


def test_an_overflow_fails_whatever_the_limit():
    broken = with_mode("fp16", overflow=["constant mask overflows to infinity"])
    half = next(each for each in judge([broken], half=-1.0) if each.id == "conversion.half")
    assert half.status == "failed"
    assert violations(half.evidence["judged"], find_policy("linux").limits) != []


@pytest.mark.parametrize(("cosine", "status"), [(1.0, "passed"), (-1.0, "failed")])
def test_a_nan_that_no_output_shows_is_the_models_own(cosine, status):
    entry = measured()
    for mode in ("exact", "fp16"):
        entry["modes"][mode] |= {"first_nan": "pow p", "worst_cosine": cosine}
    found = statuses(entry)[0]
    assert (found["exact"], found["half"]) == (status, status)
