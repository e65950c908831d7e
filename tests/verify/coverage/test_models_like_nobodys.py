"""Models as people bring them, asked of the built wheel: right verdicts and useful advice."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import onnx
import pytest

from tests.kit.commands import Run, python, run
from tests.kit.odd_models import write, write_external

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

__all__ = ["python", "run"]  # the fixtures with the built wheel


@pytest.mark.parametrize(
    ("name", "code", "wanted"),
    [
        ("rank_unknown", 1, ["Unable to get shape for output: y", "no session",
                             "--fix rows=N --fix columns=N"]),
        ("ir99", 3, ["Unsupported model IR version: 99, max supported IR version: 10",
                     "model.ir_version = 10"]),
        ("opset99", 3, ["Opset 99 is under development", "is till opset 22.", "opset 22 at most"]),
        ("own_operator", 3, ["my.library:Sharpen(-1) is not a registered function/op",
                             "my.library:Sharpen is an operator of a library of its own"]),
        ("transposed", 0, []),
        ("shape_to_its_end", 3, ["axis 2 is not in valid range", "(at Shape shape)",
                                 "the provider's fault", "--fix a=N",
                                 "`end` is not the place of an axis"]),
        ("fused", 1, ["take the float, unoptimised export", "1 of 2"]),
        ("power_of_two", 0, ["pow(2, 0) is 0", "coremltools#2628"]),
        ("detector", 1, ["--fix b=N --rewrite"]),
        ("minus_one", 0, []),
        ("zero", 1, ["dynamic axis `x:0`", "--fix x:0=N"]),
        ("no_shape", 1, ["dynamic axis `x:0`", "--fix x:0=N"]),
        ("weights_as_inputs", 1, ["Weights of this model are inputs of it too",
                                  "--fix n=N` makes them such"]),
        ("half_branches", 1, ["The 2 nodes inside stay on the CPU", "--set INPUT=VALUE",
                              "of 5"]),
    ],
)  # fmt: skip
def test_what_the_provider_says(
    run: Run, tmp_path: Path, name: str, code: int, wanted: list[str]
) -> None:
    found = run("coverage", write(name, tmp_path), "--format", "MLProgram")
    assert found.code == code
    for words in wanted:
        assert words in found.text


@pytest.mark.parametrize("name", ["cropped", "cropped_unevenly"])
def test_a_transposed_convolution_is_cut_where_its_pads_are_not_even(
    run: Run, tmp_path: Path, name: str
) -> None:
    target = tmp_path / "fixed.onnx"
    source = write(name, tmp_path)
    assert "--rewrite` does" in run("coverage", source).text
    found = run("model", "--from-onnx", source, "--rewrite", "--output", target)
    assert found.code == 0, found.text
    assert "1 x ConvTranspose as ConvTranspose with pads of zero, cut by a Slice" in found.text
    assert "equal within 0" in found.text
    assert run("conversion", "--model", target).code == 0


def test_a_transposed_convolution_that_is_longer_than_its_products_is_left(
    run: Run, tmp_path: Path
) -> None:
    path = write("not_cropped", tmp_path)
    target = tmp_path / "fixed.onnx"
    found = run("model", "--from-onnx", path, "--rewrite", "--output", target)
    assert found.code == 1
    assert "nothing to rewrite" in found.text


@pytest.mark.parametrize(
    ("name", "made"), [("weights_as_inputs", ["w", "b"]), ("weights_as_inputs_ir3", [])]
)
def test_weights_that_are_inputs_become_constants(
    run: Run, tmp_path: Path, name: str, made: list[str]
) -> None:
    target = tmp_path / "fixed.onnx"
    source = write(name, tmp_path)
    found = run("model", "--from-onnx", source, "--fix", "n=2", "--output", target)
    assert found.code == 0, found.text
    assert json.loads(target.with_suffix(".json").read_text())["made_constant"] == made
    assert ("inputs made constants: w, b" in found.text) == bool(made)
    assert run("coverage", target, "--format", "MLProgram").code == 0


def test_a_folder_with_bad_files_tells_of_every_file(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    for file, name in (("a.onnx", "good"), ("b.onnx", "ir99"), ("d.ONNX", "good")):
        write(name, folder, file)
    (folder / "c.onnx").write_bytes(b"<html>log in</html>")
    found = run("coverage", folder, "--json")
    assert found.code == 3
    answers = {
        Path(entry["file"]).name: entry
        for entry in json.loads(found.out)["coverage"]
        if entry["format"] == "MLProgram"
    }
    assert [answers[name].get("failure", "") == "" for name in sorted(answers)] == [
        True, False, False, True,
    ]  # fmt: skip
    assert answers["a.onnx"]["nodes_taken"] == answers["d.ONNX"]["nodes_taken"] == 2
    assert "is not an ONNX model but a web page" in answers["c.onnx"]["failure"]
    assert "max supported IR version" in answers["b.onnx"]["failure"]


def test_weights_beside_the_model(run: Run, tmp_path: Path) -> None:
    path = write_external(tmp_path)
    found = run("coverage", path, "--format", "MLProgram")
    assert found.code == 1
    assert "write one file with `python -m verify model --from-onnx FILE`" in found.text
    fixed = run("model", "--from-onnx", path)
    assert fixed.code == 0
    assert not onnx.external_data_helper.uses_external_data(
        onnx.load(tmp_path / "external-fixed.onnx").graph.initializer[0]
    )
    write_external(tmp_path, lost=True)
    for words in (["coverage"], ["model", "--from-onnx"], ["conversion", "--model"]):
        lost = run(*words, path)
        assert lost.code == 3
        assert "weights.bin, and there is no such file beside it" in lost.text


@pytest.mark.parametrize(
    ("name", "sizes", "output"),
    [
        ("minus_one", {"x:0": 2}, [2, 4]),
        ("zero", {"x:0": 2}, [2, 4]),
        ("dash", {"-1": 3}, [3, 4]),
        ("fused", {"batch size": 3}, [3, 8]),
        ("unnamed", {"x:0": 2, "x:1": 5}, [2, 5, 4]),
        ("expressions", {"b": 1, "t": 4}, [1, 7, 4]),
        ("rank_unknown", {"rows": 2, "columns": 3}, [2, 3, 4]),
        ("shape_to_its_end", {"a": 1}, [1, 2]),
        ("half_branches", {"n": 2}, [2, 4]),
    ],
)
def test_the_hint_pasted_back_fixes_the_model(
    run: Run, tmp_path: Path, name: str, sizes: dict[str, int], output: list[int]
) -> None:
    path = write(name, tmp_path)
    asked = run("model", "--from-onnx", path)
    assert asked.code == 3
    hint = asked.text.split("hint: Add ")[1].split(" (N is a size)")[0]
    words = shlex.split(hint)
    for axis, size in sizes.items():
        words = [word.replace(f"{axis}=N", f"{axis}={size}") for word in words]
    assert not any("=N" in word for word in words)
    fixed = run("model", "--from-onnx", path, *words)
    assert fixed.code in (0, 1)
    made = onnx.load(tmp_path / f"{name}-fixed.onnx")
    assert all(
        dim.dim_value > 0 for item in made.graph.input for dim in item.type.tensor_type.shape.dim
    )
    assert [dim.dim_value for dim in made.graph.output[0].type.tensor_type.shape.dim] == output


def test_an_input_without_a_shape_is_fixed_place_by_place(run: Run, tmp_path: Path) -> None:
    path = write("no_shape", tmp_path)
    asked = run("model", "--from-onnx", path)
    assert (asked.code, "x has no shape in the model" in asked.text) == (3, True)
    fixed = run("model", "--from-onnx", path, "--fix", "x:0=2", "--fix", "x:1=8")
    assert fixed.code == 0


def test_a_rewrite_is_proven_and_named_with_its_gain(run: Run, tmp_path: Path) -> None:
    path = write("detector", tmp_path)
    found = run("model", "--from-onnx", path, "--fix", "b=1", "--rewrite", "--json")
    assert found.code == 0
    assert "HardSigmoid as Mul, Add and Clip" in found.err
    record = json.loads((tmp_path / "detector-fixed.json").read_text())
    steps = {step["op"]: step for step in record["rewritten"]}
    assert all(step["difference"] < 1e-6 for step in steps.values())
    # The patched provider computes a Reciprocal as it is.
    assert [op for op, step in steps.items() if not step["taken"]] == ["Reciprocal"]
    gate = steps["HardSigmoid"]
    assert gate["before"][1] < gate["after"][1]
    after = json.loads(found.out)["coverage"][-1]
    assert (after["partitions"], after["share"], after["warnings"]) == (1, 1.0, [])
    plain = run("conversion", "--model", tmp_path / "detector-fixed.onnx")
    assert plain.code == 0


@pytest.mark.parametrize("flag", ["true", "0"])
def test_a_condition_that_is_set_goes_away(run: Run, tmp_path: Path, flag: str) -> None:
    path = write("half_branches", tmp_path)
    found = run("model", "--from-onnx", path, "--fix", "n=1", "--set", f"flag={flag}")
    assert found.code in (0, 1)
    made = onnx.load(tmp_path / "half_branches-fixed.onnx")
    kinds = {node.op_type for node in made.graph.node}
    assert "If" not in kinds
    assert ("Sub" in kinds) == (flag == "true")
    wrong = run("model", "--from-onnx", path, "--fix", "n=1", "--set", "flag=maybe")
    assert (wrong.code, "does not fit the input flag" in wrong.text) == (3, True)


def test_a_condition_that_the_file_settles_goes_away_by_itself(run: Run, tmp_path: Path) -> None:
    path = write("settled_branches", tmp_path)
    assert run("model", "--from-onnx", path, "--fix", "n=1").code in (0, 1)
    made = onnx.load(tmp_path / "settled_branches-fixed.onnx")
    kinds = [node.op_type for node in made.graph.node]
    assert ("If" in kinds, "Sub" in kinds) == (False, True)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("text_beside", "no inputs can be drawn: The input words is no tensor of numbers"),
        ("only_nan", "an output holds no finite number for any input that is drawn"),
    ],
)
def test_a_rewrite_that_nothing_proves_is_left_out_and_says_why(
    run: Run, tmp_path: Path, name: str, why: str
) -> None:
    found = run("model", "--from-onnx", write(name, tmp_path), "--rewrite")
    assert found.code == 1
    assert f"rewrite: 1 x Neg as Mul by -1: left out, {why}" in found.text
    kinds = {node.op_type for node in onnx.load(tmp_path / f"{name}-fixed.onnx").graph.node}
    assert "Neg" in kinds


def test_a_shape_that_the_provider_takes_is_no_known_fault(run: Run, tmp_path: Path) -> None:
    found = run("coverage", write("shape_of_one_axis", tmp_path), "--format", "MLProgram")
    assert found.code in (0, 1)
    assert "no session" not in found.text
    assert "warning" not in found.text
