"""Ours beside others: what is compared, what is left out and why, curves, and the profile."""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tests.kit import tiny_model
from tests.kit.verify_examples import TINY, policy
from verify.beside import beside_page, compared, engines, sides
from verify.beside.beside_page import Measured
from verify.beside.compared import LOADS, Comparison, Row, Timed, compare
from verify.beside.curves import Curve, calls, measure_curves, places
from verify.beside.engines import Load
from verify.beside.operators import profile, rows
from verify.beside.profile_inside import by_operator
from verify.beside.sides import OFFICIAL, OURS, SIDES, environments, hub_folder
from verify.cli import main
from verify.encoder.embedder import Embedder
from verify.encoder.reference import default_folder, load_texts
from verify.environment.context import TargetContext
from verify.errors import EnvironmentFailed, VerifyError
from verify.latency.queries import QUERIES
from verify.statistics.ratio import RatioInterval

NAMES = [load.name for load in LOADS]


def ratio(value: float, low: float | None, high: float | None) -> RatioInterval:
    return RatioInterval(ratio=value, low=low, high=high, confidence=0.95, quantile=0.5, blocks=9)


def timed(p50: float, ours: RatioInterval) -> Timed:
    return Timed(
        p50=p50,
        p95=1.1 * p50,
        p95_low=p50,
        p95_high=None,
        calls=60,
        texts_per_second=1e3 / p50,
        ours=ours,
    )


def comparison(ours: RatioInterval) -> Comparison:
    facts = {
        "worst": 1.0, "mean": 1.0, "import_ms": 90.0, "start_ms": 800.0, "peak_mib": 300.0,
        "versions": {"onnxruntime": "1.21.0"},
    }  # fmt: skip
    one = dict.fromkeys(NAMES, timed(16.0, ratio(1.0, 1.0, 1.0)))
    two = dict.fromkeys(NAMES, timed(16.1, ours))
    return Comparison(
        encoder="tiny",
        machine=None,
        rows=(
            Row(title=OURS.title, precision="fp32", facts=facts, loads=one),
            Row(title=OFFICIAL.title, precision="fp32", facts=facts, loads=two),
            Row(title="fastembed", precision="fp32", facts=facts, missing="wrong: worst cosine"),
            Row(title="sentence-transformers", precision="fp32", missing="torch is large"),
        ),
    )


# Loads and curves ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "name"),
    [
        (Load(), "mix"),
        (Load(batch=32), "mix/32"),
        (Load(tokens=128), "tokens-128"),
        (Load(tokens=16, threads=2), "tokens-16@2"),
        (Load(tokens=128, batch=8, threads=3), "tokens-128/8@3"),
    ],
)
def test_a_load_is_its_name(load: Load, name: str) -> None:
    assert load.name == name
    assert Load.of(name) == load
    assert {len(texts) for texts in load.calls()} == {load.batch}


@pytest.mark.parametrize("name", ["best", "tokens-", "mix/", "tokens-8 /2"])
def test_another_name_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="names no load"):
        Load.of(name)


@pytest.mark.parametrize("batch", [1, 7, 32])
def test_the_calls_of_the_mix_hold_every_query(batch: int) -> None:
    texts = [text for call in Load(batch=batch).calls() for text in call]
    assert set(texts) == set(QUERIES)
    if batch == 32:
        lengths = [len(text.split()) for text in Load(batch=batch).calls()[0]]
        assert min(lengths) <= 4
        assert max(lengths) >= 29


def test_places_end_at_the_encoder_and_go_beyond_the_cores() -> None:
    found = places(128, 256, 2)
    assert max(found["tokens"]) == 256
    assert list(found["threads"]) == [1, 2, 3, 4, 8]
    assert {load.threads for load in found["batch"].values()} == {0}
    assert [calls(found["batch"][x]) for x in (1, 8, 64)] == [11, 1, 1]


def test_a_curve_bends_where_its_rate_is_near_its_best() -> None:
    curve = Curve(
        axis="tokens",
        form="fp32",
        held="one text",
        x=(8, 16, 32, 64, 128),
        p50=(1.0, 1.0, 1.0, 1.0, 1.0),
        p95=(1.0, 1.0, 1.0, 1.0, 1.0),
        rate=(4.0, 7.0, 9.6, 10.0, 8.0),
    )
    assert curve.bends == (32, 64)
    assert "from 32 to 64; 4.0 at 8, 8.0 at 128" in curve.words
    assert curve.to_json()["bends"] == (32, 64)


# The comparison -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (ratio(1.0, 0.99, 1.01), "held"),
        (ratio(1.0, 0.99, 1.03), "open"),
        (ratio(1.05, 1.03, 1.07), "missed"),
        (ratio(1.0, None, None), "open"),
    ],
)
def test_the_goal_is_judged_by_the_whole_interval(found: RatioInterval, state: str) -> None:
    assert comparison(found).goal("mix")[0] == state


def test_without_the_official_wheel_the_goal_is_not_measured() -> None:
    found = comparison(ratio(1.0, 1.0, 1.0))
    official = Row(title=OFFICIAL.title, precision="fp32", missing="the index has none")
    without = replace(found, rows=(found.rows[0], official))
    assert without.goal("mix") == ("not measured", "the index has none")


def shown(measured: Measured, width: int = 220) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    beside_page.show(measured, console)
    return console.export_text()


def test_a_row_that_was_not_measured_says_why_and_has_no_times(tmp_path: Path) -> None:
    measured = Measured(wheel="a.whl", comparison=comparison(ratio(0.994, 0.98, 1.01)))
    text = shown(measured)
    assert "not measured: torch is large" in text
    assert "not measured: wrong: worst cosine" in text
    assert text.count("sentence-transformers") == text.count("fastembed") == 1
    assert "at most 1.02: held, 0.994 (0.980 to 1.010)" in text
    narrow = " ".join(shown(measured, 60).split())
    assert "P50 16.10, P95 17.71, bounds of P95 16.10 to none" in narrow
    assert "sentence-transformers: versions not measured: torch is large" in narrow
    page = tmp_path / "page.html"
    beside_page.write_page(measured, page)
    written = page.read_text(encoding="utf-8")
    assert written.count("<svg") == 2 * len(LOADS)
    assert "not measured: torch is large" in written
    assert json.loads(json.dumps(measured.to_json()))["comparison"]["goals"]["mix"][0] == "held"


@pytest.fixture
def context(tmp_path: Path) -> TargetContext:
    """The tiny encoder with references of its own, and this Python for two environments."""
    models, references, work = (tmp_path / name for name in ("model", "references", "work"))
    for folder in (models, references, work):
        folder.mkdir()
    tiny_model.write(models)
    texts, _, digest = load_texts(default_folder())
    with Embedder.from_recipe(models, TINY, graphs=tmp_path / "graphs") as embedder:
        vectors = np.concatenate([embedder.embed([each.text]) for each in texts])
    np.savez(
        references / "tiny.npz",
        embeddings_16=vectors,
        texts_sha256=digest,
        weights_sha256=hashlib.sha256(b"").hexdigest(),
        made_with="this test",
    )
    here = Path(sys.executable)
    return TargetContext(
        role="candidate",
        work=work,
        model_dir=models,
        encoder=TINY,
        policy=policy(),
        targets={"candidate": here, "official": here, "fastembed": here},
        references=references,
    )


def quiet(text: str) -> None:
    pass


@pytest.mark.integration
def test_sides_are_measured_in_turns_and_one_that_fails_says_why(
    context: TargetContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compared, "_STARTS", 2)
    others = [each for each in SIDES if each.role != "newest"]
    found = compare(
        context,
        others,
        {"sentence-transformers": "torch is large"},
        context.work,
        rounds=3,
        say=quiet,
    )
    by = {row.title: row for row in found.rows}
    assert by["sentence-transformers"].missing == "torch is large"
    assert "it failed: No module named 'fastembed'" in by["fastembed"].missing
    ours, official = by[OURS.title], by[OFFICIAL.title]
    assert ours.facts["worst"] == pytest.approx(1, abs=1e-6)
    assert ours.facts["peak_mib"] > 10
    assert ours.facts["start_ms"] > ours.facts["import_ms"] > 0
    assert official.loads["mix"].calls == 3 * 2 * 60
    assert official.loads["mix"].ours.low is not None
    assert ours.loads["mix/32"].texts_per_second > 32


@pytest.mark.integration
def test_wrong_vectors_of_ours_are_not_timed(
    context: TargetContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compared, "_STARTS", 1)
    assert context.references
    path = context.references / "tiny.npz"
    with np.load(path) as stored:
        content = dict(stored)
    content["embeddings_16"] = content["embeddings_16"][::-1]
    np.savez(path, **content)
    with pytest.raises(VerifyError, match=r"wrong: worst cosine below 0\.99999"):
        compare(context, [OURS], {}, context.work, rounds=1, say=quiet)


def test_what_cannot_be_had_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*args: Any, **more: Any) -> Path:
        raise EnvironmentFailed("Could not install the dependencies:\nno such index")

    monkeypatch.setattr(sides, "make_locked", none)
    monkeypatch.setattr(sides, "fetch_official", none)
    monkeypatch.setattr(sides, "fetch_named", none)
    roles = [each.role for each in SIDES]
    targets, missing = environments(roles, "a.whl", tmp_path, newest="onnxruntime==9", say=quiet)
    assert targets == {}
    assert set(missing) == {*roles} - {"candidate"}
    assert missing["fastembed"] == "Could not install the dependencies: no such index"


# The libraries of others --------------------------------------------------------------------


def test_the_folder_is_what_the_libraries_look_for(context: TargetContext) -> None:
    folder = hub_folder(context)
    assert (folder / "model.onnx").is_file()
    assert (folder / "model.safetensors").is_file()
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert settings["model_max_length"] == TINY.max_length
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    assert [each["type"].rpartition(".")[2] for each in modules] == [
        "Transformer", "Pooling", "Normalize",
    ]  # fmt: skip


def test_fastembed_is_given_the_folder_and_left_to_its_own_settings(
    context: TargetContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    added: list[dict[str, Any]] = []
    made: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    class TextEmbedding:
        def __init__(self, *words: Any, **more: Any) -> None:
            made.append((words, more))

        @classmethod
        def list_supported_models(cls) -> list[dict[str, Any]]:
            return [{"model": each["model"]} for each in added]

        @classmethod
        def add_custom_model(cls, **more: Any) -> None:
            added.append(more)

        def embed(self, texts: list[str]) -> list[Any]:
            return [np.full(3, len(text), dtype=np.float32) for text in texts]

    kinds = ModuleType("fastembed.common.model_description")
    kinds.PoolingType = SimpleNamespace(MEAN="mean", CLS="cls")
    kinds.ModelSource = dict
    library = ModuleType("fastembed")
    library.TextEmbedding = TextEmbedding
    monkeypatch.setitem(sys.modules, "fastembed", library)
    monkeypatch.setitem(sys.modules, "fastembed.common.model_description", kinds)
    other = replace(context, role="fastembed")
    for threads in (0, 2):
        embed = engines._opened(other, {"folder": "hub", "precision": "fp32"}, threads)
        assert embed(("a", "bb")).tolist() == [[1, 1, 1], [2, 2, 2]]
    assert [each["pooling"] for each in added] == ["mean"]
    assert added[0]["model_file"] == "model.onnx"
    assert [words[2] for words, _ in made] == [None, 2]
    assert all(more["specific_model_path"] == "hub" for _, more in made)


# The profile --------------------------------------------------------------------------------


def node(name: str, at: float, took: float, *shapes: list[int]) -> dict[str, Any]:
    return {
        "name": f"{name}_1_kernel_time",
        "ts": at,
        "dur": took,
        "args": {"op_name": name, "input_type_shape": [{"float": shape} for shape in shapes]},
    }


def test_the_times_of_a_profile_are_medians_of_runs_without_the_warm_ones() -> None:
    events = [
        {"name": "session_initialization", "ts": 0, "dur": 50},
        node("MatMul", 10, 999),  # folded while the session was made
        {"name": "model_run", "ts": 100, "dur": 900},
        node("MatMul", 110, 800, [2, 3], [3, 4]),
        {"name": "model_run", "ts": 2000, "dur": 100},
        node("MatMul", 2010, 30, [2, 3], [3, 4]),
        {"name": "MatMul_1_fence_before", "ts": 2010, "dur": 7},
        node("MatMul", 2050, 10, [2, 4], [4]),
        node("Gelu", 2070, 20, []),
        {"name": "model_run", "ts": 3000, "dur": 120},
        node("MatMul", 3010, 40, [2, 3], [3, 4]),
        node("MatMul", 3060, 10, [2, 4], [4]),
        node("Gelu", 3080, 20, []),
    ]
    found = by_operator(events, warm=1)
    assert found["operators"] == {"MatMul": [0.045, 2], "Gelu": [0.02, 1]}
    assert found["kernels"]["MatMul 2x3 3x4"] == [0.035, 1]
    assert found["kernels"]["Gelu 1"] == [0.02, 1]
    assert found["run"] == pytest.approx(0.11)
    assert found["between"] == pytest.approx(0.045)


def one_profile(title: str, **operator: float) -> dict[str, Any]:
    table = {name: (time, 6) for name, time in operator.items()}
    return {
        "title": title,
        "slower": ratio(1.0, 0.99, 1.01),
        "operators": table,
        "kernels": table,
        **dict.fromkeys(("wall", "processor", "rest", "run", "between"), 16.0),
    }


def test_the_largest_difference_comes_first_and_an_operator_may_be_missing() -> None:
    found = [one_profile("ours", MatMul=9.0, Gelu=1.0), one_profile("newest", MatMul=9.1, Erf=4.0)]
    assert [name for name, _ in rows(found, "operators")] == ["Erf", "Gelu", "MatMul"]
    text = shown(Measured(wheel="a.whl", profiles=found, asked={"tokens": 8, "threads": 1}))
    assert "tokens 8, threads 1" in text
    assert "0.000 (0)" in text


ASKED = {"precision": "fp32", "tokens": 8, "batch": 2, "threads": 1, "entries": {}}


@pytest.mark.integration
def test_the_profile_of_a_real_graph(context: TargetContext) -> None:
    ours, official = profile(context, [OURS, OFFICIAL], ASKED, rounds=6, say=quiet)
    assert ours["operators"]["MatMul"][1] > 0
    assert ours["operators"].keys() == official["operators"].keys()
    assert official["slower"].low is not None
    assert ours["wall"] > 0
    assert sum(time for time, _ in ours["operators"].values()) <= 1.5 * ours["run"]
    with pytest.raises(VerifyError, match="profile could not be taken"):
        profile(context, [OURS], {**ASKED, "entries": {"": "1"}}, rounds=1, say=quiet)


@pytest.mark.integration
def test_curves_of_a_real_graph(context: TargetContext, tmp_path: Path) -> None:
    found = measure_curves(context, ["fp32"], tokens=8, rounds=1, say=quiet)
    assert {each.axis for each in found} == {"tokens", "batch", "threads"}
    assert all(len(each.x) == len(each.p50) == len(each.rate) for each in found)
    assert found[0].x == (8, 16)
    page = tmp_path / "page.html"
    beside_page.write_page(Measured(wheel="a.whl", curves=found), page)
    drawn = re.findall(r"<text.*?</text>", page.read_text(), re.DOTALL)
    assert drawn
    assert "$" not in "".join(drawn)
    assert page.read_text(encoding="utf-8").count("<svg") == 6


# The command --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--entry", "spinning"], "spinning is not NAME=VALUE"),
        (["--curves", "--profile"], "not allowed with argument"),
        (["--form", "int3"], "invalid choice"),
        (["--rounds", "many"], "many is not a whole number"),
    ],
)
def test_bad_words_are_told_in_a_sentence(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["beside", *words]) == 3
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told
