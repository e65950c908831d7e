"""The coverage command: facts of a model, advice, limits, the page, and errors."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper
from rich.console import Console

from tests.kit.verify_examples import TINY, tiny_weights
from tests.verify.coverage.test_coverage import line, node, summary
from verify.cli import main
from verify.coverage import show
from verify.coverage.advice import advise
from verify.coverage.nodes import ModelFacts, ModelFileError, expand, facts, load
from verify.coverage.partitions import Answer, Limits, Question, group
from verify.coverage.provider_inside import parse_log
from verify.encoder.graph import build_graph

LIMITS = Limits(partitions=1, nodes=0.98)
NO_GATHER = "Operator [Gather] does not support MLProgram"
LOG = "\n".join(
    [
        line(NO_GATHER, "base_op_builder.cc:54 IsOpSupported"),
        node("Gather", 0, "words", 0),
        node("Add", 1, "words_and_types", 1),
        "\x1b[0;93m"
        + line("CoreML does not support input dim > 16384", "helper.cc:83 IsInputSupported", "W")
        + "\x1b[m",
        node("Gather", 2, "types", 0),
        summary(1, 3, 1),
    ]
)


def answer(*, judged: bool = True, log: str = LOG) -> Answer:
    found = parse_log(log, "tiny <1>")
    assert found is not None
    known = facts(build_graph(tiny_weights(), TINY, static=(1, 8)))
    return Answer(
        question=Question(path=Path("tiny.onnx"), label="tiny <1>"),
        coverage=found,
        dynamic_axes=known.dynamic_axes,
        left=group(found, known),
        judged=judged,
    )


def test_facts_of_static_and_dynamic_graphs() -> None:
    static = facts(build_graph(tiny_weights(), TINY, static=(1, 8)))
    assert static.dynamic_axes == ()
    assert static.shapes("words") == ((40, 16), (1, 8))
    dynamic = facts(build_graph(tiny_weights(), TINY))
    assert dynamic.dynamic_axes == ("batch", "sequence")
    middle = dynamic.shapes("layer0.query.split")[0]
    assert all(isinstance(dim, int) or dim in ("batch", "sequence", "?") for dim in middle)
    assert dynamic.shapes("words") == ((40, 16), ("batch", "sequence"))


def test_a_fused_node_has_the_shapes_of_its_first() -> None:
    known = ModelFacts(inputs={}, node_inputs={"a/b": ((1, 2),)})
    assert known.shapes("a/b/MatMulAddFusion") == ((1, 2),)
    assert known.shapes("c/d") == ()


def test_reasons_in_colour_and_from_the_helper_are_read() -> None:
    left = answer().left
    assert [entry.reason for entry in left] == [
        NO_GATHER,
        "CoreML does not support input dim > 16384",
    ]
    assert left[0].shapes == ((40, 16), (1, 8))
    assert "look-up" in left[0].advice


@pytest.mark.parametrize(
    ("op", "reason", "shapes", "axes", "model_format", "wanted"),
    [
        ("Softmax", "not supported by the impl", [("b", 12, "s", "s")], ("b", "s"), "MLProgram",
         "dynamic axes `b`, `s`: fix with `python -m verify model --from-onnx FILE "
         "--fix b=N --fix s=N`."),
        ("Reshape", "not supported", [("s", 4)], ("b", "s"), "MLProgram", "dynamic axis `s`"),
        ("Unsqueeze", "[Unsqueeze] Input type: [7] is not", [], (), "MLProgram", "int64"),
        ("Add", "[Add] Input type: [10] is not", [], (), "NeuralNetwork", "half precision"),
        ("MatMul", "a and b inputs must be 2D.", [], ("s",), "NeuralNetwork", "use ModelFormat"),
        ("Slice", "Operator [Slice] is not supported by the impl", [(512, 4)], ("s",), "MLProgram",
         "dynamic axis `s`"),
        ("Cast", "Cast's producing node is not ArgMax is not supported.", [("s",)], ("s",),
         "NeuralNetwork", "use ModelFormat=MLProgram"),
        ("Foo", "Operator [Foo] does not support MLProgram", [], (), "MLProgram", "no Foo"),
    ],
)  # fmt: skip
def test_advice_follows_from_the_reason(
    op: str, reason: str, shapes: Any, axes: Any, model_format: str, wanted: str
) -> None:
    found = advise(op, reason, shapes=shapes, axes=axes, model_format=model_format)
    assert wanted in found


def test_generated_axes_stand_for_all_of_the_models() -> None:
    found = advise(
        "Softmax",
        "not supported",
        shapes=[("b", "unk__2")],
        axes=("b", "s"),
        model_format="MLProgram",
    )
    assert "`b`, `s`" in found


def test_a_missing_writer_and_a_shape_of_a_dynamic_input() -> None:
    assert "ReduceSum of squares" in advise(
        "ReduceL2", "", shapes=[], axes=(), model_format="MLProgram"
    )
    reason = "[Shape] Input type: [7] is not supported."
    assert "dynamic axis `s`" in advise(
        "Shape", reason, shapes=[("s",)], axes=("s",), model_format="MLProgram"
    )


def test_the_answer_that_took_most_is_the_first_one() -> None:
    later = "\n".join([node("123_CoreML_123_0", 0, "x", 0), summary(1, 78, 1)])
    whole = "\n".join([node("Add", 1, "a", 1), node("Add", 2, "b", 1), summary(2, 216, 180)])
    found = parse_log(f"{whole}\n{later}", "x")
    assert found is not None
    assert (found.partitions, found.nodes_total) == (2, 216)
    nothing = "\n".join([node("Add", 1, "a", 0), summary(0, 226, 0), summary(0, 250, 0)])
    again = parse_log(nothing, "x")
    assert again is not None
    assert again.nodes_total == 226


def test_partitions_are_read_while_they_are_written() -> None:
    added = "Operator name: [{}] type: [Add] was added"
    saved = line("Writing CoreML Model to x.mlmodel", "model_builder.cc:1010 SaveModel")
    asked = [node("Add", index, name, 1) for index, name in enumerate("abc")]
    asked += [node("Erf", 3, "e", 0), summary(2, 4, 3)]
    told = [line(added.format("a")), line(added.format("c")), saved, line(added.format("b")), saved]
    found = parse_log("\n".join(asked + told), "x")
    assert found is not None
    assert [item["partition"] for item in found.nodes] == [0, 1, 0, None]
    halted = parse_log("\n".join(asked + told[:3]), "x")
    assert halted is not None
    assert [item["partition"] for item in halted.nodes] == [None] * 4
    later = parse_log("\n".join(asked + told + [summary(1, 2, 1), *told[:1], saved]), "x")
    assert later == found


def test_it_is_said_where_no_advice_is_known() -> None:
    known = {"shapes": [(1, 2)], "axes": ("s",)}
    found = advise("Foo", "odd", **known, model_format="MLProgram")
    assert found == "No other way to write this Foo is known: it stays on the CPU."
    found = advise("Foo", "odd", **known, model_format="NeuralNetwork")
    assert "does not take this Foo: use ModelFormat=MLProgram" in found
    found = advise("Foo", "odd", shapes=[("?",)], axes=(), model_format="MLProgram")
    assert "depends on the data" in found


def test_limits_judge_partitions_and_share() -> None:
    assert answer().problems(LIMITS) == ["33.3 % of nodes, at least 98 %"]
    assert answer().problems(Limits(partitions=1, nodes=0.3)) == []
    assert answer(judged=False).problems(LIMITS) == []
    many = answer(log=LOG.rsplit("\n", 1)[0] + "\n" + summary(3, 3, 3))
    assert many.problems(LIMITS) == ["3 partitions, at most 1"]
    none = answer(log=node("Add", 1, "a", 0) + "\n" + summary(0, 1, 0))
    assert none.problems(Limits(partitions=1, nodes=0.0)) == ["nothing is taken"]


def test_page_is_escaped_alone_and_the_same_each_time() -> None:
    page = show.render([answer()], LIMITS, wheel="x.whl")
    assert page == show.render([answer()], LIMITS, wheel="x.whl")
    assert "tiny &lt;1&gt;" in page
    assert "<1>" not in page
    assert page.count('<rect class="left"') == 2
    assert "<script" not in page
    assert "src=" not in page
    assert NO_GATHER in page


def test_page_does_not_make_up_partitions_that_the_log_does_not_tell() -> None:
    log = "\n".join([node("Add", 1, "a", 1), node("Add", 2, "b", 1), summary(2, 2, 2)])
    page = show.render([answer(log=log)], LIMITS, wheel="x.whl")
    assert "2 partitions that the log does not tell apart" in page
    assert "in 2 partitions;" in page
    assert "partition 0" not in page


def test_terminal_names_nodes_shapes_reason_and_advice() -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    show.show([answer()], LIMITS, console)
    text = console.export_text()
    for words in ("1 of 3", "33.3 %", NO_GATHER, "words", "[40, 16], [1, 8]", "advice:"):
        assert words in text


@pytest.mark.parametrize("width", [60, 80])
def test_the_table_of_graphs_cuts_nothing_in_a_narrow_window(width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO(), force_terminal=True)
    show.show([answer()], LIMITS, console)
    text = console.export_text()
    assert "…" not in text
    lines = text.splitlines()
    table = [line for line in lines if line and line[0] in "┏┃┡│└"]
    assert len(table) >= 5
    assert max(map(len, table)) <= width


def test_json_holds_what_the_issue_asks_for() -> None:
    found = answer().to_json(LIMITS)
    assert (found["partitions"], found["nodes_taken"], found["nodes_total"]) == (1, 1, 3)
    assert found["problems"]
    first = found["left_behind"][0]
    assert first["op"] == "Gather"
    assert first["shapes"] == [[40, 16], [1, 8]]
    assert (first["nodes"], first["reason"]) == (["words"], NO_GATHER)


def test_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.onnx", "deep/a.onnx", "c.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert expand([tmp_path]) == [tmp_path / "b.onnx", tmp_path / "deep/a.onnx"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelFileError, match=r"holds no \.onnx file"):
        expand([tmp_path / "empty"])
    with pytest.raises(ModelFileError, match="A name of 1004 bytes is no file's"):
        expand([tmp_path / ("é" * 500 + "onnx")])


@pytest.mark.parametrize(
    ("content", "said", "cure"),
    [
        (b"", "is empty", "fetch it again"),
        (b"not a model", "is not an ONNX model:", "an exporter wrote"),
        (b"\x00" * 64, "is not an ONNX model:", "an exporter wrote"),
        (b"{}", "is not an ONNX model:", "an exporter wrote"),
        (b"<!DOCTYPE html><title>Sign in</title>", "but a web page", "sign in"),
        (b"\xef\xbb\xbf\n  <html>", "but a web page", "sign in"),
        (b'{"error": "Repository not found"}', "but a server's refusal", "sign in"),
        (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "but a server's refusal", "sign in"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid",
            "a pointer of Git LFS",
            "git lfs pull",
        ),
        (b"PK\3\4" + bytes(60), "a zip archive", "PyTorch"),
        (b'\x10\0\0\0\0\0\0\0{"__metadata__"}', "a safetensors file", "verify model"),
        (b"\x18\0\0\0ORTM" + bytes(60), "ONNX Runtime's own format", "made from"),
        (b"\x1c\0\0\0TFL3" + bytes(60), "a TensorFlow Lite model", "as .onnx"),
    ],
)
def test_a_file_that_is_no_model(tmp_path: Path, content: bytes, said: str, cure: str) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=said) as found:
        load(path)
    assert cure in found.value.hint


Y = helper.make_tensor_value_info("y", 1, [1])


def test_a_model_without_an_output_gives_nothing(tmp_path: Path) -> None:
    made = helper.make_model(
        helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [], [])
    )
    path = tmp_path / "x.onnx"
    path.write_bytes(made.SerializeToString())
    with pytest.raises(ModelFileError, match="its graph has no output") as found:
        load(path)
    assert "extract_model" in found.value.hint


@pytest.mark.parametrize("name", ["x.json", "x.pbtxt", "x.onnxtxt", "x.textproto"])
def test_a_name_chooses_no_other_form_of_onnx(tmp_path: Path, name: str) -> None:
    made = helper.make_model(
        helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [], [Y])
    )
    path = tmp_path / name
    path.write_bytes(made.SerializeToString())
    assert load(path).graph.node[0].op_type == "Relu"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ModelFileError, match="is not an ONNX model:"):
        load(path)


def test_a_model_without_an_opset_is_one_and_is_told(tmp_path: Path) -> None:
    made = helper.make_model(
        helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [], [Y])
    )
    del made.opset_import[:]
    path = tmp_path / "x.onnx"
    path.write_bytes(made.SerializeToString())
    with pytest.raises(ModelFileError, match="does not say which opset") as found:
        load(path)
    assert "model.opset_import.add(version=N)" in found.value.hint


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    for name in ("pipe.onnx", "."):
        with pytest.raises(ModelFileError, match="is no file"):
            load(tmp_path / name)


def test_a_graph_without_nodes_is_said_to_be_one(tmp_path: Path) -> None:
    empty = helper.make_model(helper.make_graph([], "g", [], []))
    onnx.save(empty, str(tmp_path / "x.onnx"))
    with pytest.raises(ModelFileError, match="its graph has no node"):
        load(tmp_path / "x.onnx")


@pytest.mark.parametrize(
    "argv",
    [
        ("none.onnx",),
        ("tiny.onnx", "--max-partitions", "0"),
        ("tiny.onnx", "--min-nodes", "98"),
        ("tiny.onnx", "--wheel", "none.whl"),
        ("tiny.onnx", "--random-weights", "3"),
        ("--buckets", "0,3"),
        ("--hidden", "768"),
        ("--format", "coreml"),
    ],
)
def test_errors_are_told_and_exit_3(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    model = build_graph(tiny_weights(), TINY, static=(1, 8))
    (tmp_path / "tiny.onnx").write_bytes(model.SerializeToString())
    assert main(["coverage", *argv]) == 3
    found = capsys.readouterr()
    assert found.out == ""
    assert "Traceback" not in found.err
