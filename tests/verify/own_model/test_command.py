"""One command for a user's file, with the built wheel: the page, the JSON, the code, the codes."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.kit.commands import WHEELS, python
from tests.kit.odd_models import write, write_external
from verify.cli import main

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

__all__ = ["python"]  # the fixture with the built wheel


@pytest.fixture
def examined(
    python: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Any:
    """Return a function: the exit code, the document, the page and what was said."""
    from contextlib import contextmanager

    @contextmanager
    def opened(*_: object, **__: object) -> Any:
        yield python

    monkeypatch.setattr("verify.environment.venv.opened", opened)
    folder = tmp_path / "out"

    def run(path: Path, *words: str) -> tuple[int, dict[str, Any], str, str]:
        given = ["run", str(WHEELS[-1]), "--model", str(path), "--quick", "--json", *words]
        code = main([*given, "--work", str(tmp_path / "work"), "--output", str(folder)])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        found = json.loads(captured.out) if captured.out.strip() else {}
        page = (folder / "report.html").read_text("utf-8") if found else ""
        assert not found or found == json.loads((folder / "report.json").read_text("utf-8"))
        return code, found, page, captured.err

    return run


def statuses(found: dict[str, Any]) -> dict[str, str]:
    return {check["id"]: check["status"] for check in found["checks"]}


def unbounded(found: dict[str, Any]) -> set[str]:
    """The check that a busy machine leaves open: its calls tell no bound of P95."""
    return {"latency.cpu"} & {
        name for name, status in statuses(found).items() if status == "inconclusive"
    }


def party(found: dict[str, Any], check: str) -> str:
    entry = next(each for each in found["checks"] if each["id"] == check)
    return str(entry["evidence"].get("party", ""))


def test_the_whole_of_a_detector(examined: Any, tmp_path: Path) -> None:
    code, found, page, said = examined(write("detector", tmp_path), "--fix", "b=1")
    seen, open_ = statuses(found), unbounded(found)
    assert code == (2 if open_ else 0), said
    left = {name for name, status in seen.items() if status != "passed"}
    assert left == {"conversion.device"} | open_
    before, after = found["coverage"][1], found["coverage"][3]
    assert before["nodes_taken"] < after["nodes_taken"] == after["nodes_total"]
    assert {step["op"] for step in found["fixed"]["rewritten"] if step["taken"]} >= {"HardSigmoid"}
    assert [series["series"].split("/")[-1] for series in found["latency"]] == [
        "fixed", "as exported",
    ]  # fmt: skip
    assert all(len(series["values"]) >= 59 for series in found["latency"])
    assert (
        "how CoreML executes it, and how fast: that needs a Mac" in found["verdict"]["not_proven"]
    )
    # The page holds everything and asks for nothing.
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "<script" not in page
    for words in (
        "OPEN" if open_ else "READY FOR A MAC",
        "ort::ep",
        "CoreMLExecutionProvider",
        "HardSigmoid",
    ):
        assert words.replace("ort::ep", "use ort") in page
    # There is always something to do next.
    assert found["verdict"]["next"]
    assert open_ or "on a Mac" in found["verdict"]["next"][-1]
    decision = "OPEN" if open_ else "READY"
    assert max(map(len, said.split(decision)[1].split("page:")[0].splitlines())) <= 80


def test_the_python_runs_on_the_cpu(
    examined: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, found, _, _ = examined(write("detector", tmp_path), "--fix", "b=1", "--no-rewrite")
    code = found["code"]["python"]
    taken = re.sub(r"\n +\('CoreML.*", "", code)  # no Mac: the other provider of the list
    assert taken != code
    exec(compile(taken, "pasted", "exec"), {})
    outputs = onnx.load(found["checks"][0]["evidence"]["file"]).graph.output
    assert capsys.readouterr().out.split()[0] == outputs[0].name


def test_a_size_that_is_missing_is_a_line_to_paste(examined: Any, tmp_path: Path) -> None:
    path = write("fused", tmp_path)
    code, found, _, said = examined(path)
    assert (code, found) == (3, {})
    words = shlex.split(" ".join(said.split("N here: ")[1].split()))
    assert words[-2:] == ["--fix", "batch size=N"]
    fixed = [word.replace("=N", "=2") for word in words[words.index("--fix") :]]
    code, found, _, _ = examined(path, *fixed)
    assert code == 1
    assert "take the float, unoptimised export" in " ".join(found["verdict"]["next"])


@pytest.mark.parametrize(
    ("name", "options", "code", "wanted"),
    [
        ("zero", ["--fix", "x:0=2"], 0,
         {"coverage.model": "passed", "conversion.exact": "passed", "latency.cpu": "passed"}),
        # A fault of 1.21.0 that a patch of the recipe mends (test_provider_patches.py).
        ("transposed", ["--no-rewrite"], 0,
         {"coverage.model": "passed", "conversion.exact": "passed", "latency.cpu": "passed"}),
        ("transposed", [], 0, {"model.spelt": "passed", "conversion.exact": "passed"}),
        ("mask", [], 1, {"conversion.exact": "not-run", "latency.cpu": "passed"}),
        ("text_beside", [], 1, {"conversion.package": "not-run", "latency.cpu": "not-run",
                                "model.code": "not-run"}),
        ("small_table", [], 2, {"coverage.model": "passed", "conversion.exact": "not-run",
                                "latency.cpu": "not-run"}),
        ("ir99", [], 3, {"model.fixed": "failed", "coverage.model": "not-run"}),
    ],
)  # fmt: skip
def test_each_part_by_itself(
    examined: Any,
    tmp_path: Path,
    name: str,
    options: list[str],
    code: int,
    wanted: dict[str, str],
) -> None:
    ended, found, page, said = examined(write(name, tmp_path), *options)
    seen = statuses(found)
    if unbounded(found):
        code = code or 2
        wanted = {check: status for check, status in wanted.items() if check != "latency.cpu"}
    assert ended == code, said
    assert found["verdict"]["exit_code"] == code
    assert {check: seen[check] for check in wanted} == wanted, said
    assert all(party(found, check) for check, status in seen.items() if status == "failed")
    assert found["verdict"]["decision"] in page


@pytest.mark.parametrize("name", ["text_beside", "small_table"])
def test_inputs_that_do_not_fit_are_no_ones_failure(
    examined: Any, tmp_path: Path, name: str
) -> None:
    _, found, page, _ = examined(write(name, tmp_path))
    for check in ("conversion.package", "latency.cpu"):
        assert (statuses(found)[check], party(found, check)) == ("not-run", "the inputs")
    assert "the inputs" in page


def test_weights_beside_the_model_end_up_inside(examined: Any, tmp_path: Path) -> None:
    code, found, _, said = examined(write_external(tmp_path))
    assert code == (2 if unbounded(found) else 0), said
    before, after = found["coverage"][1], found["coverage"][3]
    assert before["share"] < after["share"] == 1.0
    assert "with its weights inside" in " ".join(before["warnings"])
