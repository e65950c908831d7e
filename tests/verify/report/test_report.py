"""The report page, its schema and its pictures."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.gen.verify_document import schema_text
from tests.kit.report_example import EXAMPLE, example, example_document, text
from verify.errors import VerifyError
from verify.report import document as schema
from verify.report.charts.figures import view_limit
from verify.report.charts.graph_picture import left_behind, legend, node_picture
from verify.report.first_screen import big_figures
from verify.report.html import render, write_report
from verify.report.samples import gate_series, latency_series
from verify.report.text import bytes_text, moment, number, seconds_text, value_text
from verify.report.view import evidence_view

ROOT = Path(__file__).parents[3]

VOID = {"meta", "link", "br", "wbr", "hr", "img", "input", "circle", "path", "rect", "use"}


class Page(HTMLParser):
    """Collect tags and visible text, and check that tags nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return example_document()


@pytest.fixture(scope="module")
def html(document: dict[str, Any]) -> str:
    return render(schema.parse(document))


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_example_file_is_fresh_and_small(document: dict[str, Any]) -> None:
    assert EXAMPLE.read_text(encoding="utf-8") == text(document), (
        "run: python -m tests.kit.report_example"
    )
    assert EXAMPLE.stat().st_size < 200_000


def test_the_page_says_verdict_checks_and_facts(document: dict[str, Any], page: Page) -> None:
    assert not page.wrong
    assert not page.open
    verdict = document["verdict"]
    for line in (verdict["headline"], *verdict["not_proven"], *verdict["next"]):
        assert line in page.text
    for check in document["checks"]:
        assert check["title"] in page.text
        assert check["summary"] in page.text
        assert check["hint"] in page.text
    for line in (document["wheel"]["sha256"], "AMD EPYC 7B13", "7.8 GiB", "1 min 33 s"):
        assert line in page.text
    assert "latency.cold was left out: the cache directory of this runner is shared." in page.text


def test_a_status_is_a_word_beside_its_icon(document: dict[str, Any], html: str) -> None:
    cells = re.findall(r'<td role="cell" class="status">(.*?)</td>', html, flags=re.S)
    words = [re.sub(r"<[^>]+>", "", cell).strip() for cell in cells]
    assert words == [check["status"].replace("-", " ") for check in document["checks"]]
    assert all('aria-hidden="true"' in cell for cell in cells)


def test_every_picture_has_a_text_alternative_with_numbers(page: Page) -> None:
    pictures = [attrs for tag, attrs in page.tags if tag == "svg" and "aria-hidden" not in attrs]
    labels = [attrs.get("aria-label") or "" for attrs in pictures]
    assert len(pictures) >= 2 * 5 + 2
    assert all(attrs.get("role") == "img" for attrs in pictures)
    assert all(label and re.search(r"\d", label) for label in labels)
    assert any("budget 20.0 ms" in label and "upper bound" in label for label in labels)


def test_a_half_precision_graph_carries_what_is_known_of_macos_15(document: dict[str, Any]) -> None:
    assert "onnxruntime#32569" not in render(schema.parse(document))
    first = document["coverage"][0]
    half = {**document, "coverage": [{**first, "graph": "static [1,128] fp16"}, first]}
    assert render(schema.parse(half)).count("onnxruntime#32569") == 1


def test_the_page_needs_no_network_and_no_script(html: str, page: Page) -> None:
    assert not [tag for tag, _ in page.tags if tag in ("script", "iframe", "img", "object")]
    addresses = [
        value
        for _, attrs in page.tags
        for name, value in attrs.items()
        if name in ("src", "href", "xlink:href", "action", "poster", "srcset")
    ]
    assert addresses
    assert all(value in ("data:,",) or (value or "").startswith("#") for value in addresses)
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert "http" not in html.replace("http-equiv", "")


def test_ids_are_unique_and_every_reference_is_met(html: str, page: Page) -> None:
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    wanted = set(re.findall(r"url\(#([^)]+)\)", html)) | set(re.findall(r'href="#([^"]+)"', html))
    assert wanted <= set(ids)


def test_colours_come_from_the_page_alone(html: str) -> None:
    drawn = "".join(re.findall(r"<svg class=\"(?:wide|narrow)\".*?</svg>", html))
    assert "var(--s1)" in drawn
    assert "#0a0b" not in drawn
    assert not re.search(r"(fill|stroke): ?#(?!fff)[0-9a-f]", drawn)


def test_the_same_document_gives_the_same_bytes(document: dict[str, Any], tmp_path: Path) -> None:
    history = [example(seed=2, created="2025-02-20T10:00:00Z")]
    for name in ("a.html", "b.html"):
        write_report(schema.parse(document), tmp_path / name, history=history)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "b.html"]


HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>$x^{$\x00\u202e {{ 7*7 }} #0a0b12"
)


# What is not any text, for the schema allows a few words or one form of text there.
FIXED = (
    "sha256",
    "fingerprint",
    "manifest_sha256",
    "decision",
    "status",
    "role",
    "unit",
    "created",
)


def _poison(value: Any, name: str = "") -> Any:
    if isinstance(value, str):
        return value if name in FIXED or name == "id" else HOSTILE + value
    if isinstance(value, list):
        return [_poison(item, name) for item in value]
    if isinstance(value, dict):
        return {
            (HOSTILE + key if key == "commit" else key): _poison(v, key) for key, v in value.items()
        }
    return value


def test_hostile_text_anywhere_stays_text() -> None:
    poisoned = _poison(example_document(calls=120))
    for name, series in enumerate(poisoned["samples"]["latency"]):
        series["series"] = f"{HOSTILE}{name}"
    read = schema.parse(poisoned)
    page = Page(render(read, history=[read]))
    assert not [tag for tag, _ in page.tags if tag in ("script", "img")]
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    assert not page.wrong


@pytest.mark.parametrize("missing", [*example_document(calls=60), None])
def test_a_page_is_made_of_what_may_be_missing_and_the_rest_is_named(missing: str | None) -> None:
    document = example_document(calls=60) if missing else {}
    document.pop(missing or "", None)
    if "samples" in document:
        del document["samples"]["latency"][1:]
    if missing not in ("samples", "coverage"):
        with pytest.raises(VerifyError) as caught:
            schema.parse(document)
        assert caught.value.context[missing or "verdict"] == "Field required"
        return
    page = Page(render(schema.parse(document)))
    assert not page.wrong
    if missing == "samples":
        assert "No latency samples in this run." in page.text
    if missing == "coverage":
        assert "No coverage in this run" in page.text


def test_a_run_without_checks_has_a_page() -> None:
    document = example_document(calls=60)
    document["checks"] = []
    page = Page(render(schema.parse(document)))
    assert not page.wrong
    assert "This document holds no checks." in page.text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "status", "evidence", "latency", "nodes", "values", "graph", "op"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
# Without samples, whose pictures take their time.
WHOLE = {**example_document(calls=1), "samples": {"latency": []}, "coverage": []}


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from([*WHOLE]), JSON, min_size=1))
def test_a_damaged_document_is_refused_or_drawn(damage: dict[str, Any]) -> None:
    try:
        document = schema.parse({**WHOLE, **damage})
    except VerifyError as error:
        refused = error
    else:
        assert "<main>" in render(document)
        return
    assert refused.context
    assert refused.hint


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(["cosines", "series", "graphs", "commit"]), JSON), JSON)
def test_any_evidence_is_drawn(evidence: dict[str, Any], measured: Any) -> None:
    found = {"evidence": evidence, "measured": measured, "limit": measured}
    document = {**WHOLE, "checks": [{**check, **found} for check in WHOLE["checks"]]}
    assert "<main>" in render(schema.parse(document))


def test_few_constant_and_zero_samples_are_drawn() -> None:
    document = example_document(calls=3)
    del document["samples"]["latency"][1:]
    series = document["samples"]["latency"][0]
    series["values"] = [0, 0, 0]
    assert "How the calls spread" in render(schema.parse(document))
    series |= {"values": [5_000_000], "process": [0], "tokens": [3], "stages": {}}
    assert "How the calls spread" in render(schema.parse(document))


def test_the_page_shows_the_bound_that_the_document_holds() -> None:
    document = example_document()
    series = document["samples"]["latency"][0]
    assert "upper bound 1.23 ms" not in render(schema.parse(document))
    series["p95_upper_ms"] = 1.2345
    assert "upper bound 1.23 ms" in render(schema.parse(document))
    del series["p95_upper_ms"]  # a document from before the field
    page = render(schema.parse(document))
    assert f"{series['series']}: 300 calls" in page
    assert "<td>–</td>" in page


def five(document: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    read = schema.parse(document)
    gate = gate_series(latency_series(read), "candidate/cpu/fp32/mix")
    return {one.name: (one.value, one.note, one.status) for one in big_figures(read, gate)}


def test_the_first_screen_has_five_figures_from_the_checks() -> None:
    document = example_document()
    found = five(document)
    assert list(found) == [
        "P95 of one query", "worst cosine", "partitions", "speed against the official wheel",
        "not proven",
    ]  # fmt: skip
    value, note, status = found["P95 of one query"]
    assert value.endswith(" ms")
    assert "upper bound" in note
    assert note.endswith("budget 20 ms")
    assert status == "passed"
    assert found["partitions"][0] == "1"
    assert "98.7 % of the nodes" in found["partitions"][1]
    assert found["not proven"][0] == str(len(document["verdict"]["not_proven"]))
    page = Page(render(schema.parse(document)))
    assert all(name in page.text for name in found)
    assert "Proven here" not in page.text  # it stands once, in the table


def test_a_cosine_below_one_never_reads_as_one() -> None:
    document = example_document(calls=60)
    check = next(c for c in document["checks"] if c["id"] == "embedding.reference")
    for measured, written in ((0.9999999, "0.999999"), (1.0, "1"), (-0.5, "-0.5")):
        check["measured"] = measured
        assert five(document)["worst cosine"][0] == written


def test_what_no_check_measured_has_no_figure_and_says_why() -> None:
    document = example_document(calls=60)
    for check in document["checks"]:
        check |= {"measured": None, "evidence": {}, "summary": "left out by --quick"}
    document["samples"]["latency"] = []
    found = five(document)
    for name in ("P95 of one query", "worst cosine", "partitions"):
        assert found[name] == ("–", "left out by --quick", "not-run")
    assert found["speed against the official wheel"][1] == "not measured: left out by --quick"
    document["checks"] = []
    assert five(document)["partitions"] == ("–", "not among the checks of this run", "not-run")


def test_runs_are_compared_and_other_hosts_are_not() -> None:
    here = example()
    slower = example(seed=2, scale=1.3, created="2025-02-20T10:00:00Z")
    other = example_document(seed=3, created="2025-02-21T10:00:00Z")
    other["host"]["fingerprint"] = "f" * 64
    page = Page(render(here, history=[schema.parse(other), slower]))
    assert "another host: not compared" in page.text
    assert re.search(r"comparisons differ for real; .* % faster", page.text)
    assert "P95 across runs" in str(page.tags)


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VerifyError, match="cannot be written") as caught:
        write_report(example(calls=3), tmp_path / "file" / "report.html")
    assert caught.value.hint


# ---- colours ---------------------------------------------------------------------------------


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, two: str) -> float:
    high, low = sorted((_luminance(one), _luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_contrast_meets_wcag(theme: int) -> None:
    style = (ROOT / "verify/report/templates/style.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", style, flags=re.S)
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", blocks[theme]))
    for ground in ("paper", "panel", "wash"):
        for word in ("ink", "muted", "ok", "bad", "warn", "idle"):
            assert _contrast(colours[word], colours[ground]) >= 4.5, (word, ground)
    for series in ("s1", "s2", "s3", "s4", "s5", "s6"):
        assert _contrast(colours[series], colours["panel"]) >= 3, series


# ---- schema ----------------------------------------------------------------------------------


def test_the_example_follows_the_schema(document: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(schema_text()))
    assert not list(validator.iter_errors(document))
    series = [{**one, "conditions": None} for one in document["samples"]["latency"]]
    assert json.loads(schema.dumps(schema.parse(document))) == {
        **document,
        "model": None,
        "wheel": {**document["wheel"], "cross": None, "compared": None},
        "policy": {**document["policy"], "cpu_precision": "fp32"},
        "samples": {"latency": series},
    }


def test_whole_nanoseconds_are_written_as_they_were(document: dict[str, Any]) -> None:
    read = schema.parse(document).samples.latency[0]
    assert read.values == document["samples"]["latency"][0]["values"]
    assert ".0," not in schema.dumps({"series": read.model_dump()})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("verdict", "decision"), "MAYBE"),
        (("verdict", "exit_code"), 4),
        (("checks", 0, "status"), "skipped"),
        (("checks", 0, "id"), "NoDots"),
        (("wheel", "sha256"), "abc"),
        (("schema",), 2),
        (("samples", "latency", 0, "values", 0), -1),
        (("samples", "latency", 0, "values", 1), None),
        (("samples", "latency", 0, "values", 2), "x"),
    ],
)
def test_a_mismatch_is_named_by_its_path(path: tuple[Any, ...], value: Any) -> None:
    document = example_document(calls=5)
    part: Any = document
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    with pytest.raises(VerifyError, match="schema 1") as caught:
        schema.parse(document)
    assert ".".join(map(str, path)) in caught.value.context
    validator = jsonschema.Draft202012Validator(json.loads(schema_text()))
    assert list(validator.iter_errors(document))


def test_a_field_of_a_newer_version_is_passed_over_and_none_is_made_here() -> None:
    document = example_document(calls=5)
    document["selection"]["surprise"] = 1
    document["checks"][0]["colour"] = "green"
    document["host"]["socket"] = "LGA"
    read = schema.parse(document)
    again = json.loads(schema.dumps(read))
    assert "surprise" not in again["selection"]
    assert "colour" not in again["checks"][0]
    assert again["host"]["socket"] == "LGA"  # a host may always say more of itself
    assert "LGA" in Page(render(read)).text
    validator = jsonschema.Draft202012Validator(json.loads(schema_text()))
    assert len(list(validator.iter_errors(document))) == 2
    with pytest.raises(ValidationError, match="surprise"):
        schema.Selection(**document["selection"])


def test_samples_of_unequal_length_do_not_validate() -> None:
    document = example_document(calls=5)
    document["samples"]["latency"][0]["process"].pop()
    with pytest.raises(VerifyError) as caught:
        schema.parse(document)
    assert "process has 4 entries, but values has 5" in str(caught.value.context)


# ---- parts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (12.4, "12.4"), (0, "0"), (-3, "\u22123"), (12400, "12\u202f400"), (1.0, "1"),
        (0.999999812, "0.999999812"), (1.8e-7, "1.8 \u00d7 10⁻⁷"), (float("nan"), "not a number"),
        (1 - 1e-12, "1 \u2212 1 \u00d7 10⁻¹²"), (1234567.8, "1\u202f234\u202f568"),
    ],
)  # fmt: skip
def test_numbers_keep_the_digits_that_matter(value: float, expected: str) -> None:
    assert number(value) == expected


@given(st.floats(min_value=0.9, max_value=1, exclude_max=True))
def test_no_cosine_below_one_reads_as_one(value: float) -> None:
    assert number(value) not in ("1", "1.0")


def test_values_units_and_times() -> None:
    assert value_text(1, "partitions") == "1 partition"
    assert value_text(1, "ms") == "1 ms"
    assert value_text(None, "ms") == "\u2013"
    assert value_text(True) == "yes"
    assert value_text([1, "a"]) == "1, a"
    assert len(value_text("x" * 900)) == 400
    assert bytes_text(17_204_118) == "16.4 MiB"
    assert seconds_text(93.1) == "1 min 33 s"
    assert moment("2025-03-04T09:30:12Z") == "2025-03-04 09:30 UTC"


def test_evidence_takes_the_form_that_fits() -> None:
    check = (
        example(calls=1)
        .checks[0]
        .model_copy(
            update={
                "evidence": {
                    "rows": [{"a": 1, "b": 2}] * 30,
                    "nested": {"tokenise": {"p50": 1.5}, "pool": {"p50": 2}},
                    "line": [1, 2],
                    "block": {"a": {"b": [1]}, "c": 1},
                }
            }
        )
    )
    rows, nested, line, block = evidence_view(check)
    assert rows.columns == ("a", "b")
    assert len(rows.rows) + rows.more == 30
    assert nested.rows == (("tokenise", "1.5"), ("pool", "2"))
    assert line.line == "1, 2"
    assert json.loads(block.block) == {"a": {"b": [1]}, "c": 1}


def test_the_gate_is_the_named_series_then_the_worst_case() -> None:
    series = latency_series(example(calls=5))
    names = [one.name for one in gate_series(series, "candidate/cpu/fp32/mix")]
    assert names == ["candidate/cpu/fp32/mix", "candidate/cpu/fp32/worst"]
    assert [one.name for one in gate_series(series)] == names
    assert gate_series(()) == ()


def test_every_unit_is_read_as_milliseconds() -> None:
    document = example_document(calls=1)
    for unit, expected in (("ns", 3e-6), ("us", 3e-3), ("ms", 3.0), ("s", 3e3)):
        document["samples"]["latency"][0] |= {"values": [3], "unit": unit}
        [value] = latency_series(schema.parse(document))[0].values
        assert value == pytest.approx(expected)


def test_outliers_do_not_stretch_the_axis() -> None:
    values = np.concatenate([np.linspace(9, 11, 500), [400.0]])
    assert view_limit(values, 20.0) == pytest.approx(20 * 1.12)
    assert view_limit(values, None) < 13
    assert view_limit(np.array([24.0, 25.0]), 20.0) > 25


def test_the_coverage_picture_counts_what_it_shows() -> None:
    entry = example_document(calls=1)["coverage"][1]
    nodes = schema.Coverage(**entry).nodes
    svg = node_picture(nodes, title="torch & <co>")
    assert svg.count("<rect") == svg.count("<title>") == entry["nodes_total"]
    assert svg.count('class="left"') == entry["nodes_total"] - entry["nodes_taken"]
    assert "204 of 225 nodes taken by CoreML in 19 partitions; 21 left on the CPU" in svg
    assert "torch &amp; &lt;co&gt;" in svg
    assert sum(len(left.names) for left in left_behind(nodes)) == 21
    assert ("left", "left on the CPU") in legend(nodes)
    assert node_picture((), title="nothing") == ""


def test_commands_are_set_as_code_and_stay_escaped() -> None:
    document = example_document()
    document["verdict"]["next"] = ["run `nox -s verify` & <look>", "an odd ` backtick"]
    page = render(schema.parse(document))
    assert "<li>run <code>nox -s verify</code> &amp; &lt;look&gt;</li>" in page
    assert "<li>an odd ` backtick</li>" in page


def test_the_banner_says_the_decision_once() -> None:
    document = example_document()
    document["verdict"] |= {"decision": "NO-GO", "headline": "NO-GO: required checks did not pass."}
    assert "<h1>Required checks did not pass.</h1>" in render(schema.parse(document))


def test_a_series_name_breaks_behind_its_slashes() -> None:
    page = render(example())
    assert "candidate/<wbr>cpu/<wbr>fp32/<wbr>mix" in page


def test_a_long_file_name_breaks_behind_its_joints_and_is_whole_when_it_is_copied() -> None:
    wheel = "onnxruntime-1.21.0-cp311-cp311-macosx_13_0_universal2.whl"
    document = example_document()
    document["verdict"]["paragraph"] = f"Compared with {wheel}."
    document["verdict"] |= {"decision": "GO", "headline": f"GO: it is {wheel}."}
    document["checks"][0]["summary"] = f"`{wheel}` is it"
    page = render(schema.parse(document))
    broken = wheel.replace("-", "-<wbr>").replace("_", "_<wbr>")
    assert f"Compared with {broken}." in page
    assert f"<h1>It is {broken}.</h1>" in page
    assert f'<p class="summary"><code>{broken}</code> is it</p>' in page
    # A short word stays whole.
    assert "candidate/<wbr>cpu" in page
    assert "verify.json" in page
