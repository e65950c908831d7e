"""The conversion proof of models as people bring them: what failed for the wrong reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.commands import Run, python, run
from tests.kit.odd_models import write

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

__all__ = ["python", "run"]  # the fixtures with the built wheel


@pytest.mark.parametrize(
    ("name", "options", "code", "wanted"),
    [
        ("scalar", [], 0, ["conversion.exact: passed", "all 1 nodes are CoreML's"]),
        ("scalar_int64", [], 0, ["conversion.exact: passed"]),
        ("scalar_bool", [], 0, ["conversion.exact: passed"]),
        ("one_number", [], 0, ["conversion.exact: passed", "all 2 nodes are CoreML's"]),
        ("one_picked", [], 0, ["conversion.exact: passed", "all 3 nodes are CoreML's"]),
        ("minus_one", ["--fix", "x:0=2"], 0, ["conversion.half: passed"]),
        ("minus_one", [], 3, ["The dynamic axes x:0 would stay", "--fix x:0=N"]),
        ("zero", ["--fix", "x:0=2"], 0, []),
        ("no_shape", ["--fix", "x:0=2", "--fix", "x:1=8"], 0, []),
        ("no_upper_bound", [], 0, ["conversion.half: passed"]),
        ("small_sigmoid", [], 0, ["the CPU provider's own kernels differ as much"]),
        ("half_taken", [], 0, ["1 of 3 nodes are CoreML's (33.3 %)"]),
        ("half_taken", ["--min-nodes", "0.5"], 1, ["conversion.nodes: failed", "at least 50 %"]),
        ("half_taken", ["--min-nodes", "50"], 3, ["is not between 0 and 1"]),
        ("half_taken", ["--policy", "linux"], 1, ["conversion.nodes: failed", "at least 98 %"]),
        ("large_mean", ["--range", "x=20:30"], 0,
         ["overflow", "the sum inside reduce_mean m overflows to infinity"]),
        ("large_norm", ["--range", "x=-400:400"], 0,
         ["overflow", "the sum of squares inside layer_norm y overflows to infinity"]),
        ("mask", [], 2, ["--range mask=1:1"]),
        ("mask", ["--range", "mask=1:1"], 0, []),
        ("own_nan", ["--cases", "2"], 2,
         ["the CPU provider itself has NaN in root, before reduce_max y",
          "hint: Give them with --range INPUT=LOW:HIGH"]),
        ("own_nan", ["--range", "x=1:4"], 0, []),
        ("fused", ["--fix", "batch size=1", "--min-nodes", "0.9"], 1,
         ["conversion.nodes: failed: 1 of 2 nodes"]),
        ("nothing_taken", ["--min-nodes", "0.5"], 1,
         ["conversion.nodes: failed: 0 of 1 nodes are CoreML's (0.0 %), at least 50 %"]),
        ("nothing_taken", [], 2, ["conversion.nodes: not-run"]),
        ("same_for_all", [], 2,
         ["its outputs are the same for every one of the inputs, so that a mistake would not show",
          "--range INPUT=LOW:HIGH"]),
        ("small_table", [], 3,
         ["The model does not run on these inputs", "out of data bounds",
          "hint: Give some that it takes, with --range INPUT=LOW:HIGH"]),
        ("small_table", ["--range", "ids=0:0"], 0, []),
        ("half_function", ["--fix", "n=2"], 0, ["conversion.half: passed"]),
        ("wide_integers", ["--range", "x=70000:80000"], 1,
         ["first to depart: square in [", "and Core ML's integers have 32 bits"]),
        ("wide_integers", ["--range", "x=0:100"], 0, []),
        ("small_tail", ["--range", "x=-14:-12"], 0,
         ["conversion.exact: passed", "the CPU provider's own kernels differ as much"]),
        # The kernel makes zeros of all of it.
        ("small_tail", ["--range", "x=-120:-80"], 2,
         ["conversion.exact: not-run", "an answer of zeros would pass too",
          "--range INPUT=LOW:HIGH"]),
        ("small_tail", ["--range", "x=-300:-200"], 2,
         ["its outputs are the same for every one of the inputs"]),
        ("dead", [], 0, ["nothing is said of low, the same for every one of the inputs"]),
        ("dead", ["--cases", "1"], 0, ["nothing is said of low, "]),
        ("dead_alone", ["--cases", "1"], 2, ["its outputs are zero, so that a mistake would not"]),
        ("small_gelu", ["--range", "x=-6:-5"], 1,
         ["conversion.exact: passed", "the CPU provider's own kernels differ as much",
          "conversion.half: failed"]),
        ("small_root", ["--range", "x=1e-20:1e-15"], 1,
         ["conversion.half: failed", "Values below 6e-8 are zero in half precision"]),
        ("all_folded", [], 3, ["computes nothing: its graph has no node"]),
        ("text_beside", [], 3, ["The input words is no tensor of numbers"]),
        ("never_runs", [], 3,
         ["The model runs on no inputs:", "while running ReduceSum node. Name:'none'",
          "hint: No inputs help: this onnxruntime has no kernel for ReduceSum with",
          "leave the node none out"]),
        ("shaped_by_an_input", [], 3,
         ["The model does not run on these inputs", "Zeros and ones are refused as well",
          "your own inputs either"]),
        ("no_such_kernel", [], 3, ["'Cubic' mode only support", "kernel refuses a node as it is"]),
        ("spelt_alike", [], 0, ["conversion.exact: passed", "3 of 6 nodes are CoreML's"]),
        ("spelt_alike_dead", [], 0, ["nothing is said of o:1, the same for every one"]),
        ("ir99", [], 3, ["Unsupported model IR version: 99, max supported IR version: 10"]),
        ("transposed", [], 0, ["conversion.exact: passed", "all 2 nodes are CoreML's"]),
    ],
)  # fmt: skip
def test_the_verdict_is_about_the_model(
    run: Run, tmp_path: Path, name: str, options: list[str], code: int, wanted: list[str]
) -> None:
    found = run("conversion", "--model", write(name, tmp_path), *options)
    assert found.code == code, found.text
    for words in wanted:
        assert words in found.text


def test_capitals_are_a_model_too(run: Run, tmp_path: Path) -> None:
    for name in ("GOOD.ONNX", "good.onnx.bak", "good"):
        path = write("good", tmp_path, name)
        assert run("conversion", "--model", path).code == 0
    refused = run("model", "--from-onnx", path, "--output", tmp_path / "fixed.json")
    assert (refused.code, "Name a file that ends in .onnx" in refused.text) == (3, True)
