"""The list of what is compiled in: valid CycloneDX 1.6, the same every time, without hosts."""

from __future__ import annotations

import json
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given
from hypothesis import strategies as st

from build.package.manifest import Input
from build.package.sbom import make_sbom

INPUTS = (
    Input(
        name="onnxruntime",
        version="1.21.0",
        licence="MIT",
        kind="git",
        locator="https://github.com/microsoft/onnxruntime.git@" + "e" * 40,
        sha256="1" * 64,
        size=0,
    ),
    Input(
        name="fp16",
        version="0a92994",
        licence="MIT",
        kind="archive",
        locator="https://github.com/Maratyszcza/FP16/archive/0a92994.zip",
        sha256="2" * 64,
        size=7,
        sha1_only=True,
    ),
    Input(
        name="re2",
        version="20240702",
        licence="BSD-3-Clause",
        kind="debian",
        locator="pool/main/r/re2/re2_20240702.orig.tar.gz",
        sha256="3" * 64,
        size=390672,
    ),
    Input(
        name="mp11",
        version="1.8.0",
        licence="BSL-1.0",
        kind="pypi",
        locator="Boost_Histogram/boost_histogram-1.8.0.tar.gz",
        sha256="4" * 64,
        size=9,
    ),
    Input(
        name="coremltools",
        version="",
        licence="a licence without an SPDX name",
        kind="overlay",
        locator="overlays/coremltools",
        sha256="5" * 64,
        size=9,
    ),
    Input(
        name="cmake",
        version="3.31.10",
        licence="BSD-3-Clause",
        kind="tool",
        locator="cmake/cmake-3.31.10.whl",
        sha256="6" * 64,
        size=9,
    ),
)


def sbom(inputs: tuple[Input, ...] = INPUTS, version: str = "1.21.0+ortmill.0b5e77aa") -> bytes:
    return make_sbom(
        name="onnxruntime",
        version=version,
        licence="MIT",
        inputs=inputs,
        source_date_epoch=1_700_000_000,
    )


def components(content: bytes) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in json.loads(content)["components"]}


def test_it_is_valid_cyclonedx_1_6() -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom().decode()) is None


def test_the_validator_would_notice() -> None:
    broken = json.loads(sbom()) | {"components": [{"name": "no type"}]}
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(broken)) is not None


def test_every_input_but_tools_is_a_component_that_the_root_depends_on() -> None:
    data = json.loads(sbom())
    assert set(components(sbom())) == {"onnxruntime", "fp16", "re2", "mp11", "coremltools"}
    root = data["metadata"]["component"]
    assert (root["name"], root["version"]) == ("onnxruntime", "1.21.0+ortmill.0b5e77aa")
    (depends,) = [item for item in data["dependencies"] if item["ref"] == root["bom-ref"]]
    assert sorted(depends["dependsOn"]) == sorted(item["bom-ref"] for item in data["components"])


def test_components_have_hash_licence_and_package_url() -> None:
    found = components(sbom())
    assert found["re2"]["hashes"] == [{"alg": "SHA-256", "content": "3" * 64}]
    assert found["re2"]["licenses"] == [{"license": {"id": "BSD-3-Clause"}}]
    assert found["re2"]["purl"] == "pkg:deb/debian/re2@20240702"
    assert found["mp11"]["purl"] == "pkg:pypi/boost-histogram@1.8.0"
    assert found["fp16"]["purl"] == "pkg:generic/fp16@0a92994"
    assert found["coremltools"]["licenses"][0]["license"]["name"].startswith("a licence")
    trees = {
        name: {entry["name"]: entry["value"] for entry in found[name]["properties"]}
        for name in ("onnxruntime", "coremltools")
    }
    assert trees["onnxruntime"]["ortmill:tree-sha256"] == "1" * 64
    assert "hashes" not in found["coremltools"]


def test_references_point_upstream_only() -> None:
    found = components(sbom())
    assert [entry["url"] for entry in found["onnxruntime"]["externalReferences"]] == [
        "https://github.com/microsoft/onnxruntime.git"
    ]
    assert found["fp16"]["externalReferences"][0]["url"].endswith("/0a92994.zip")
    for name in ("re2", "mp11", "coremltools"):
        assert "externalReferences" not in found[name]


@given(order=st.permutations(INPUTS))
def test_order_and_repetition_do_not_count(order: list[Input]) -> None:
    assert sbom(tuple(order)) == sbom() == sbom((*INPUTS, INPUTS[2]))


def test_the_serial_number_names_the_content() -> None:
    numbers = {
        json.loads(content)["serialNumber"]
        for content in (sbom(), sbom(INPUTS[:3]), sbom(version="1.21.0+ortmill.ffffffff"))
    }
    assert len(numbers) == 3
    assert json.loads(sbom())["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
